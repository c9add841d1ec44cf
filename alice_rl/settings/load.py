"""Settings loaded: all sources read, checked, and built into the model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import fields

from alice_rl.errors import ConfigError
from alice_rl.settings.fields import sections_of
from alice_rl.settings.sources import Draft

__all__ = ["Loaded", "load"]

T = TypeVar("T", bound=Struct)

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Loaded(Generic[T]):
    """Checked settings, and for each dotted key where its value came from.

    Attributes
    ----------
    settings : Struct
    origins : mapping of str to str
        "default", "config.toml:12", "environment ALICE__KAFKA__TOPIC" or "flag --set kafka.topic". An entry of a
        table that was set by its name has its own.
    """

    settings: T
    origins: Mapping[str, str]


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
        The file cannot be read, a key is unknown, a value is refused, a secret stands where others can read
        it, or values contradict each other.
    """
    draft = Draft(model)
    if path is not None:
        draft.read_file(path)
    draft.read_environment(environ)
    draft.read_flags(flags)
    draft.check()
    return Loaded(_built(model, "", draft), MappingProxyType(draft.origins))


def _built(model: type[T], section: str, draft: Draft) -> T:
    sections = sections_of(model)
    prefix = f"{section}." if section else ""
    arguments = {
        field.name: _built(sections[field.name], prefix + field.name, draft)
        if field.name in sections
        else draft.values[prefix + field.name]
        for field in fields(model)
    }
    try:
        return model(**arguments)
    except (ConfigError, ValueError) as error:
        raise _contradiction(error, section, arguments, draft.origins) from error


def _contradiction(
    error: Exception, section: str, names: Mapping[str, object], origins: Mapping[str, str]
) -> ConfigError:
    """A check across fields failed: its message, with the section and where the fields it names came from."""
    message = error.message if isinstance(error, ConfigError) else str(error)
    named = [name for name in names if re.search(rf"\b{re.escape(name)}\b", message)]
    places = [f"{name}: {origins[f'{section}.{name}']}" for name in named if f"{section}.{name}" in origins]
    told = message if not section or message.startswith(f"[{section}]") else f"[{section}] {message}"
    return ConfigError(
        f"{told} ({', '.join(places)})" if places else told,
        code=error.code if isinstance(error, ConfigError) else None,
        hint=error.hint if isinstance(error, ConfigError) else None,
    )
