"""What commands print: JSON for machines, tables for people, and one clear block for an error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["age_words", "console", "number_words", "print_error", "print_json", "size_words"]

_PIPED_WIDTH = 160  # of a table that goes to a file: nothing is to be cut off


def print_json(value: object) -> None:
    """A value as one line of JSON on stdout."""
    import msgspec

    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def print_error(code: str, message: str, hint: str, *, as_json: bool) -> None:
    """What went wrong and what to do about it on stderr; with `as_json` also as one object on stdout."""
    from alice_rl.log import hide_passwords

    message, hint = hide_passwords(message), hide_passwords(hint)
    if as_json:
        print_json({"error": {"code": code, "message": message, "hint": hint}})
    errors = console(stderr=True)
    errors.print(_line("error", "bold red", message), soft_wrap=True)
    if hint:
        errors.print(_line(" hint", "bold cyan", hint), soft_wrap=True)


def console(*, stderr: bool = False) -> Console:
    """A console that prints as wide as the terminal, and does not guess at colours or cut lines elsewhere."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else _PIPED_WIDTH)


def _line(label: str, style: str, text: str) -> Text:
    from rich.text import Text

    return Text.assemble((f"{label}: ", style), text)


def age_words(seconds: float | None) -> str:
    """A span of time in words.

    Examples
    --------
    >>> age_words(3.21), age_words(250), age_words(7500), age_words(400_000), age_words(None)
    ('3.2 s', '4 min 10 s', '2 h 5 min', '4 d 15 h', '-')
    """
    if seconds is None:
        return "-"
    whole = int(seconds)
    if whole < 60:
        return f"{max(seconds, 0.0):.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def size_words(size_bytes: float) -> str:
    """A number of bytes in words.

    Examples
    --------
    >>> size_words(812), size_words(290_000), size_words(5 << 20)
    ('812 B', '283.2 KiB', '5.0 MiB')
    """
    for unit in ("B", "KiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} MiB"


def number_words(value: float | None) -> str:
    """A count with thousands apart, or "-" for none.

    Examples
    --------
    >>> number_words(1234567), number_words(None)
    ('1,234,567', '-')
    """
    return "-" if value is None else f"{value:,.0f}"
