"""The sources of settings, read one over the other: a TOML file, the environment, flags.

`Draft` holds the value and the origin of every field while they are read. A value is converted as soon as it
is seen, so that a refusal can say where it stands; what is wrong is gathered, and said when all is read.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import NODEFAULT, Struct

from alice_rl.errors import AliceError, ConfigError
from alice_rl.log import SecretText
from alice_rl.settings import refusals
from alice_rl.settings.fields import Field, fields_of
from alice_rl.settings.toml_text import key_lines

__all__ = ["Draft"]


class _Given(NamedTuple):
    """What a source says, as it was written there."""

    value: object
    origin: str
    text: bool  # the source knows texts only


class Draft:
    """Values and origins by dotted key, and what was wrong with the sources read so far.

    Parameters
    ----------
    model : type of Struct
        The root; its defaults are the first source.
    """

    def __init__(self, model: type[Struct]) -> None:
        self.fields = {field.key: field for field in fields_of(model)}
        self.sections = {key[: dot.start()] for key in self.fields for dot in re.finditer(r"\.", key)}
        self.values = {key: field.value for key, field in self.fields.items()}
        self.origins = dict.fromkeys(self.fields, "default")
        self.problems: list[ConfigError] = []

    def read_file(self, path: Path) -> None:
        """Read a TOML file.

        Raises
        ------
        ConfigError
            It cannot be read or is not TOML; there is nothing to gather then.
        """
        text = _file_text(path, "the configuration file")
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"at line (\d+)", str(error))
            line = int(found[1]) if found else text.count("\n") + 1  # "at end of document"
            raise ConfigError(f"{path}:{line} is not valid TOML: {error}", code="config_file_invalid") from None
        places = {key: f"{path}:{line}" for key, line in key_lines(text).items()}
        self._read_table(table, "", places, str(path))

    def read_environment(self, environ: Mapping[str, str]) -> None:
        """Read the variables that begin with `ALICE__`; secrets also from the files that they name."""
        for name in sorted(name for name in environ if name.startswith(refusals.PREFIX)):
            key = name.removeprefix(refusals.PREFIX).replace("__", ".").lower()
            if key not in self.fields and self._is_secret(key.removesuffix("_file")):
                self._read_secret_file(key.removesuffix("_file"), name, environ)
            elif environ[name] or not self._is_secret(key):  # compose files pass an unset secret as ""
                self._put(key, _Given(environ[name], f"environment {name}", text=True))

    def read_flags(self, flags: Mapping[str, object]) -> None:
        """Read flags by dotted key; None means that a flag was not given."""
        for key, value in sorted(flags.items()):
            if self._is_secret(key) and value is not None:
                self._refuse(key, refusals.secret_exposed(key, f"flag --set {key}"))
            elif value is not None:
                self._put(key, _Given(value, f"flag --set {key}", text=isinstance(value, str)))

    def check(self) -> None:
        """Raise what was wrong, as one error.

        Raises
        ------
        ConfigError
        """
        missing = [refusals.key_missing(key) for key, value in self.values.items() if value is NODEFAULT]
        refusals.raise_all([*self.problems, *missing])

    def _read_table(self, table: Mapping[str, object], prefix: str, places: Mapping[str, str], path: str) -> None:
        for name, value in table.items():
            key = prefix + name
            origin = places.get(key, path)
            if isinstance(value, dict) and key in self.sections:
                self._read_table(value, f"{key}.", places, path)
            elif isinstance(value, dict) and key not in self.fields:
                self._refuse(key, refusals.section_unknown(key, origin, sorted(self.sections), self.fields))
            elif self._is_secret(key):
                self._refuse(key, refusals.secret_exposed(key, origin))
            else:
                self._put(key, _Given(value, origin, text=False))

    def _read_secret_file(self, key: str, name: str, environ: Mapping[str, str]) -> None:
        direct = name[: -len("_FILE")]
        if environ.get(direct):
            self._refuse(key, ConfigError(f"{key} is given twice", hint=f"unset {direct} or {name}"))
            return
        try:
            text = _file_text(Path(environ[name]), f"the file that {name} names,")
        except ConfigError as error:
            self._refuse(key, error)
        else:
            self._put(key, _Given(text.rstrip("\r\n"), f"environment {name}", text=True))

    def _put(self, key: str, given: _Given) -> None:
        field = self.fields.get(key)
        if field is not None:
            self._accept(field, key, field.read(given.value, text=given.text), given)
            return
        owners = (table for table in self.fields.values() if table.is_table and key.startswith(f"{table.key}."))
        owner = next(owners, None)
        if owner is None:
            self._refuse(key, refusals.key_unknown(key, given.origin, self.fields))
            return
        held = self.values.get(owner.key)
        table = dict(held) if isinstance(held, Mapping) else {}
        name = key.removeprefix(f"{owner.key}.")
        name = next((known for known in table if known.lower() == name), name)  # variables cannot say the case
        table[name] = owner.read_entry(given.value, text=given.text)
        self._accept(owner, f"{owner.key}.{name}", table, given)

    def _accept(self, field: Field, key: str, read: object, given: _Given) -> None:
        """Convert and keep what was read, or note why it is refused."""
        try:
            value = msgspec.convert(read, field.hint, strict=not given.text)
            if not _is_finite(msgspec.to_builtins(value)):
                raise ValueError("numbers must be finite")
        except (ValueError, AliceError) as error:
            self._refuse(field.key, refusals.value_refused(field, key, given.value, given.origin, error))
            return
        self.values[field.key] = SecretText(value) if field.secret and isinstance(value, str) else value
        if key == field.key:  # the entries that were set one by one are gone with the table they were in
            old = [known for known in self.origins if known.startswith(f"{key}.")]
            self.origins = {known: place for known, place in self.origins.items() if known not in old}
        self.origins[key] = given.origin

    def _refuse(self, key: str, problem: ConfigError) -> None:
        self.problems.append(problem)
        self.values.pop(key, None)  # so that it is not reported as missing as well

    def _is_secret(self, key: str) -> bool:
        return key in self.fields and self.fields[key].secret


def _file_text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # editors on Windows put a byte-order mark first
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"cannot read {what} {str(path)!r}: {reason}", code="config_file_unreadable") from None


def _is_finite(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
