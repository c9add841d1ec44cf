"""TOML as text: where each key stands and whether a comment explains it; and values written back.

tomllib reads values but forgets their lines. A statement of TOML can be read on its own, so the text is cut
after the fewest lines that tomllib accepts; what runs over several lines needs no special case.
"""

from __future__ import annotations

import datetime
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

__all__ = ["Statement", "key_lines", "statements", "write_value"]

_COMMENTED_OUT = re.compile(r"\s*#\s*([\w\"'][\w\"'.\s-]*=.*)")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Statement(NamedTuple):
    """A table's header or a key with its value: `path` is dotted, `line` counts from 1."""

    path: str
    line: int
    documented: bool  # a comment stands at its end or on the line above
    active: bool  # False: it is commented out


def statements(text: str) -> Iterator[Statement]:
    r"""The statements of a valid TOML text, in order.

    Raises
    ------
    tomllib.TOMLDecodeError
        The text is not valid TOML.

    Examples
    --------
    >>> list(statements("[kafka]\n# Where.\ntopic = 'a'"))[1]
    Statement(path='kafka.topic', line=3, documented=True, active=True)
    """
    tomllib.loads(text)
    section: tuple[str, ...] = ()
    chunk, start, comment_above = "", 1, False
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        chunk = f"{chunk}\n{line}" if chunk else line
        start = number if chunk == line else start
        parsed = _parsed(chunk)
        if parsed is None:
            continue  # the statement goes on in the next line
        if parsed:
            path = _single_path(parsed)
            is_header = chunk.lstrip().startswith("[")
            section, path = (path, path) if is_header else (section, section + path)
            yield Statement(".".join(path), start, comment_above or _has_comment(chunk, parsed), active=True)
            comment_above = False
        elif (commented := _COMMENTED_OUT.match(line)) and (parsed := _parsed(commented[1])):
            path = section + _single_path(parsed)
            yield Statement(".".join(path), start, comment_above or _has_comment(commented[1], parsed), active=False)
            comment_above = False
        else:
            comment_above = line.strip().strip("#").strip() != ""
        chunk = ""


def key_lines(text: str) -> dict[str, int]:
    """The line on which each dotted key, or a table that holds it, is first given."""
    lines: dict[str, int] = {}
    for statement in statements(text):
        parts = statement.path.split(".") if statement.active else []
        for length in range(1, len(parts) + 1):
            lines.setdefault(".".join(parts[:length]), statement.line)
    return lines


def write_value(value: object) -> str:
    """A value as TOML.

    Raises
    ------
    TypeError
        TOML has no such value.

    Examples
    --------
    >>> print(write_value({"arms": ["micro", "deep"], "share": 0.5, "weather.lookup": True}))
    {arms = ["micro", "deep"], share = 0.5, "weather.lookup" = true}
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case datetime.date() | datetime.time():
            return value.isoformat()
        case list() | tuple():
            return f"[{', '.join(map(write_value, value))}]"
        case Mapping():
            pairs = (f"{_write_key(name)} = {write_value(item)}" for name, item in value.items() if item is not None)
            return f"{{{', '.join(pairs)}}}"
    raise TypeError(f"TOML has no value for {value!r}")


def _write_key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else write_value(name)


def _parsed(text: str) -> dict[str, object] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _single_path(parsed: Mapping[str, object]) -> tuple[str, ...]:
    """The path of the one key that a statement sets: `{"a": {"b": 1}}` is ("a", "b")."""
    path: list[str] = []
    value: object = parsed
    while isinstance(value, Mapping) and len(value) == 1:
        name, value = next(iter(value.items()))
        path.append(name)
    return tuple(path)


def _has_comment(statement: str, parsed: Mapping[str, object]) -> bool:
    """Whether a `#` ends the statement: what stands before it is then the same statement."""
    marks = (mark.start() for mark in re.finditer("#", statement))
    return any(_parsed(statement[:mark]) == parsed and statement[mark:].strip("# ") != "" for mark in marks)
