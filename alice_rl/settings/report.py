"""Settings shown to people: rows for the documentation, a TOML file, whether a file explains every key."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from alice_rl.settings.fields import Field, fields_of
from alice_rl.settings.load import Loaded
from alice_rl.settings.toml_text import statements

__all__ = ["Row", "describe", "render_toml", "undocumented_keys"]

_COMMENT_WIDTH = 108


class Row(Struct, frozen=True):
    """One field of a model in words. `default` is TOML, empty for a required field; `range` may be empty."""

    key: str
    type: str
    default: str
    range: str
    description: str
    secret: bool


def describe(model: type[Struct]) -> list[Row]:
    """The fields of a model in words, in order of declaration."""
    return [
        Row(field.key, field.type_words, field.value_text, field.range_words, field.description, field.secret)
        for field in fields_of(model)
    ]


def render_toml(loaded: Loaded[Any], *, with_origin: bool = False, with_comments: bool = False) -> str:
    """The settings as a TOML file that loads to the same settings; secrets are masked, in comments.

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
        comment = _comment(field) if with_comments else []
        origin = f"  # {_origin_words(field.key, loaded.origins)}" if with_origin else ""
        line = f"{'# ' if field.secret else ''}{name} = {field.value_text}{origin}"
        tables.setdefault(table, []).extend([*comment, line])
    root = tables.pop("", [])  # TOML wants the keys of no table first
    blocks = [root] if root else []
    blocks += [[f"[{table}]", *lines] for table, lines in tables.items()]
    return "\n\n".join("\n".join(lines) for lines in blocks) + "\n"


def undocumented_keys(model: type[Struct], text: str) -> list[str]:
    """The model's keys that a TOML text lacks, or gives without a comment above or beside them.

    Secrets are exempt. A field whose default is None may stand commented out, as `# name = "example"`.

    Raises
    ------
    tomllib.TOMLDecodeError
        The text is not valid TOML.
    """
    documented = [found for found in statements(text) if found.documented]

    def is_documented(field: Field) -> bool:
        return any(
            f"{found.path}.".startswith(f"{field.key}.") and (found.active or field.value is None)
            for found in documented
        )

    return [field.key for field in fields_of(model) if not field.secret and not is_documented(field)]


def _comment(field: Field) -> list[str]:
    facts = ", ".join(words for words in (field.type_words, field.range_words) if words)
    secret = " Secret: set in the environment only." if field.secret else ""
    about = f"{field.description.rstrip('.')} ({facts})" if field.description else facts
    first = about.split(maxsplit=1)[0] if about else ""
    starts = about[:1].upper() if first.rstrip(",;").isalpha() else about[:1]  # an address is not a word
    sentence = f"{starts}{about[1:]}.{secret}"
    return [f"# {line}" for line in textwrap.wrap(sentence, _COMMENT_WIDTH)]


def _origin_words(key: str, origins: Mapping[str, str]) -> str:
    entries = [
        f"{name.removeprefix(key)[1:]}: {place}" for name, place in origins.items() if name.startswith(f"{key}.")
    ]
    return "; ".join([origins[key], *entries])
