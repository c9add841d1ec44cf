"""Settings from four sources, each over the one before: defaults < TOML file < environment < flags.

    config.toml                     environment                      flag
    [kafka]
    topic = "alice.telemetry"       ALICE__KAFKA__TOPIC=...          {"kafka.topic": ...}

Every value is checked where it is read, so a refusal names the key, the value, what is allowed and where the value
came from; all that is wrong is said at once. A list or a table is replaced as a whole; one entry of a table may be
set by its name (`ALICE__REWARD__WEIGHTS__SUCCESS`). Secrets come from the environment alone, or from the file that
`ALICE__SECTION__KEY_FILE` names. What a model is made of is in `fields.py`.
"""

from __future__ import annotations

import math
import os
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, NoReturn, TypeVar, get_args

import msgspec
from msgspec import NODEFAULT, Struct

from alice_rl.errors import AliceError, ConfigError
from alice_rl.fields import SECRET, Field, fields_of, nearest
from alice_rl.log import SECRET_MARK, SecretText, hide_passwords
from alice_rl.toml_text import key_lines, statements, write_value

__all__ = ["SECRET", "Loaded", "Row", "describe", "load", "render_toml", "undocumented_keys"]

T = TypeVar("T", bound=Struct)

_PREFIX = "ALICE__"
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_WIDTH = 110


@dataclass(frozen=True)
class Loaded(Generic[T]):
    """Checked settings, and for each dotted key where its value came from.

    Attributes
    ----------
    settings : Struct
    origins : mapping of str to str
        "default", "config.toml:12", "environment ALICE__KAFKA__TOPIC" or "flag --kafka.topic".
    """

    settings: T
    origins: Mapping[str, str]


class Row(Struct, frozen=True):
    """One field of a model, in words, for the documentation and `alice-rl config show`."""

    key: str
    type: str
    default: str
    range: str
    description: str
    secret: bool


def load(
    model: type[T],
    *,
    path: Path | None = None,
    environ: Mapping[str, str] = _NOTHING,
    flags: Mapping[str, object] = _NOTHING,
) -> Loaded[T]:
    """Settings read from all sources and checked.

    Parameters
    ----------
    model : type of Struct
        The root, frozen; its fields are sections.
    path : Path, optional
        The TOML file.
    environ : mapping of str to str
        The process's environment; what does not begin with `ALICE__` is passed over.
    flags : mapping of str to object
        By dotted key. Texts are read as those of the environment; None means that the flag was not given.

    Raises
    ------
    ConfigError
        The file cannot be read, a key is unknown, a value is refused, a secret stands where others can read it, or
        values contradict each other.
    """
    draft = _Draft(model)
    if path is not None:
        draft.read_file(path)
    draft.read_environment(environ)
    draft.read_flags(flags)
    draft.raise_problems()
    return Loaded(_build(model, "", draft.values, draft.origins), MappingProxyType(draft.origins))


def describe(model: type[Struct]) -> list[Row]:
    """The fields of a model in words, in order of declaration."""
    return [
        Row(field.key, field.type_words, field.value_text, field.range_words, field.description, field.secret)
        for field in fields_of(model)
    ]


def render_toml(loaded: Loaded[T], *, with_origin: bool = False, with_comments: bool = False) -> str:
    """The settings as a TOML file that gives the same settings again, but for secrets: those are masked comments.

    Parameters
    ----------
    loaded : Loaded
    with_origin : bool
        End each line with where its value came from.
    with_comments : bool
        Put each field's description, type and range above it.
    """
    tables: dict[str, list[str]] = {}
    for field in fields_of(type(loaded.settings), loaded.settings):
        table, _, name = field.key.rpartition(".")
        lines = tables.setdefault(table, [])
        if with_comments:
            lines += _comment(field)
        origin = f"  # {_origin_words(field.key, loaded.origins)}" if with_origin else ""
        lines.append(f"{'# ' if field.secret else ''}{name} = {field.value_text}{origin}")
    headed = [[f"[{table}]"] * bool(table) + lines for table, lines in sorted(tables.items(), key=_root_first)]
    return "\n\n".join("\n".join(lines) for lines in headed) + "\n"


def undocumented_keys(model: type[Struct], text: str) -> list[str]:
    """The model's keys that a TOML text lacks, or gives without a comment above or beside them; secrets are exempt.

    A field whose default is None may stand commented out, as `# name = example`.
    """
    documented = [found for found in statements(text) if found.documented]
    return [
        field.key
        for field in fields_of(model)
        if not field.secret
        and not any(
            f"{found.path}.".startswith(f"{field.key}.") and (found.active or field.value is None)
            for found in documented
        )
    ]


class _Draft:
    """Values and origins by dotted key while the sources are read, and all that was wrong with them."""

    def __init__(self, model: type[Struct]) -> None:
        self.fields = {field.key: field for field in fields_of(model)}
        self.tables = {key[:dot.start()] for key in self.fields for dot in re.finditer(r"\.", key)}
        self.values = {key: field.value for key, field in self.fields.items()}
        self.origins = dict.fromkeys(self.fields, "default")
        self.problems: list[ConfigError] = []

    def read_file(self, path: Path) -> None:
        text = _file_text(path, "the configuration file", hint="give the path of a file, or leave --config out")
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            place = f"{path}:{line[1] if line else text.count(chr(10)) + 1}"
            raise ConfigError(f"{place} is not valid TOML: {error}", code="config_file_invalid") from None
        lines = key_lines(text)
        self._read_table(table, "", {key: f"{path}:{line}" for key, line in lines.items()}, str(path))

    def _read_table(self, table: Mapping[str, object], prefix: str, places: Mapping[str, str], path: str) -> None:
        for name, value in table.items():
            key = prefix + name
            place = places.get(key, path)
            if isinstance(value, dict) and key in self.tables:
                self._read_table(value, f"{key}.", places, path)
            elif isinstance(value, dict) and key not in self.fields:
                self._unknown_table(key, place)
            elif key in self.fields and self.fields[key].secret:
                self._refuse_exposed(key, place)
            else:
                self._put(key, value, place)

    def read_environment(self, environ: Mapping[str, str]) -> None:
        for name in sorted(name for name in environ if name.startswith(_PREFIX)):
            key = name.removeprefix(_PREFIX).replace("__", ".").lower()
            secret = self.fields.get(key.removesuffix("_file"))
            if key not in self.fields and secret is not None and secret.secret:
                self._read_secret_file(secret, name, environ)
            elif key in self.fields and self.fields[key].secret and not environ[name]:
                continue  # compose files pass a secret that nobody set as an empty text
            else:
                self._put(key, environ[name], f"environment {name}", from_text=True)

    def _read_secret_file(self, field: Field, name: str, environ: Mapping[str, str]) -> None:
        if environ.get(name.removesuffix("_FILE")):
            self._problem(f"{field.key} is given twice", hint=f"unset {name} or {name.removesuffix('_FILE')}")
            return
        try:
            text = _file_text(Path(environ[name]), f"the file that {name} names", hint="it must hold the secret")
        except ConfigError as error:
            self.problems.append(error)
            return
        self._put(field.key, text.rstrip("\r\n"), f"environment {name}", from_text=True)

    def read_flags(self, flags: Mapping[str, object]) -> None:
        for key, value in sorted(flags.items()):
            if value is None:
                continue
            if key in self.fields and self.fields[key].secret:
                self._refuse_exposed(key, f"flag --{key}")
            else:
                self._put(key, value, f"flag --{key}", from_text=isinstance(value, str))

    def _put(self, key: str, value: object, origin: str, *, from_text: bool = False) -> None:
        field = self.fields.get(key)
        if field is not None:
            given = field.from_text(value) if from_text and isinstance(value, str) else value
            given = None if field.optional and given == field.none_word else given
            self._accept(field, given, value, origin, lax=from_text)
        elif (owner := self._table_field(key)) is not None:
            self._put_entry(owner, key.removeprefix(f"{owner.key}."), value, origin, lax=from_text)
        else:
            self._unknown_key(key, origin)

    def _put_entry(self, field: Field, name: str, value: object, origin: str, *, lax: bool) -> None:
        """One entry of a field that is a table: the environment cannot say its case, so a known entry's is kept."""
        table: dict[str, object] = dict(self.values[field.key] or {}) if self.values[field.key] is not NODEFAULT else {}
        name = next((known for known in table if known.lower() == name), name)
        item = field.entry_from_text(value) if lax and isinstance(value, str) else value
        self._accept(field, {**table, name: item}, value, origin, lax=lax, entry=name)

    def _table_field(self, key: str) -> Field | None:
        owners = (field for field in self.fields.values() if key.startswith(f"{field.key}."))
        return next((field for field in owners if field.is_table), None)

    def _accept(
        self, field: Field, given: object, shown: object, origin: str, *, lax: bool, entry: str | None = None
    ) -> None:
        """Convert `given` and keep it, or note why it is refused, showing the value as it was written."""
        key = field.key if entry is None else f"{field.key}.{entry}"
        try:
            value = msgspec.convert(given, field.hint, strict=not lax)
            if not _is_finite(value):
                raise ValueError("numbers must be finite")
        except (ValueError, AliceError) as error:
            self._refuse(field, key, shown, origin, error)
            return
        self.values[field.key] = SecretText(value) if field.secret and isinstance(value, str) else value
        if entry is None:
            for old in [old for old in self.origins if old.startswith(f"{key}.")]:
                del self.origins[old]
        self.origins[key] = origin

    def _refuse(self, field: Field, key: str, shown: object, origin: str, error: Exception) -> None:
        allowed = ", ".join(words for words in (field.type_words, field.range_words) if words)
        text = SECRET_MARK if field.secret else hide_passwords(_shown(shown))
        detail = str(error)
        plain = field.secret or (detail.startswith("Expected ") and "`$" not in detail)
        self._problem(
            f"{key} = {text} ({origin}) is refused: {allowed} is allowed" + ("" if plain else f"; {detail}"),
            code="config_value_refused",
        )

    def _refuse_exposed(self, key: str, origin: str) -> None:
        name = _variable(key)
        self._problem(
            f"{key} is a secret and must not be given by {origin}",
            code="config_secret_exposed",
            hint=f"set {name} in the environment, or {name}_FILE naming a file",
        )

    def _unknown_key(self, key: str, origin: str) -> None:
        if key in self.tables:
            keys = ", ".join(known for known in self.fields if known.startswith(f"{key}."))
            self._problem(f"{key} ({origin}) is a section, not a key", code="config_key_unknown", hint=f"it has {keys}")
            return
        spell = _variable if origin.startswith("environment ") else str
        self._problem(
            f"unknown key {key!r} ({origin})",
            code="config_key_unknown",
            hint=_suggestion([spell(near) for near in nearest(key, self.fields)]) or self._siblings(key),
        )

    def _unknown_table(self, key: str, origin: str) -> None:
        tables = sorted(self.tables | {field.key for field in self.fields.values() if field.is_table})
        near = nearest(key, tables) or nearest(key, self.fields)
        hint = _suggestion(near) or f"sections are {', '.join(sorted(self.tables))}"
        self._problem(f"unknown section {key!r} ({origin})", code="config_key_unknown", hint=hint)

    def _siblings(self, key: str) -> str:
        section = key.rpartition(".")[0]
        names = [known.removeprefix(f"{section}.") for known in self.fields if known.startswith(f"{section}.")]
        if names:
            return f"[{section}] has {', '.join(names)}"
        return f"sections are {', '.join(sorted(self.tables))}"

    def _problem(self, message: str, *, code: str | None = None, hint: str = "") -> None:
        self.problems.append(ConfigError(message, code=code, hint=hint))

    def raise_problems(self) -> None:
        missing = [key for key, value in self.values.items() if value is NODEFAULT]
        for key in missing:
            if not any(problem.message.startswith(f"{key} ") for problem in self.problems):
                self._problem(f"{key} is required", code="config_key_missing", hint=f"set it, or {_variable(key)}")
        if len(self.problems) == 1:
            raise self.problems[0]
        if self.problems:
            raise ConfigError(f"{len(self.problems)} problems:\n" + "\n".join(f"- {p}" for p in self.problems))
