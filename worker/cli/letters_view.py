"""Dead letters on a terminal. What they hold was written by anyone: nothing of it reaches the terminal unescaped."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from alice_rl.events import REASONS
from worker.cli.letters import Letter
from worker.cli.letters_listing import LetterSeen, Listing
from worker.cli.letters_retry import Retried
from worker.cli.letters_verdict import HELD
from worker.cli.output import number_words, size_words
from worker.cli.status_view import columns, facts, headed, time_words

__all__ = ["letter_facts", "letter_view", "list_view", "printable", "retried_view"]

_DETAIL_CHARACTERS = 100
_VALUE_CHARACTERS = 20_000


def printable(text: str) -> str:
    r"""A text whose control characters are written out, line ends but for.

    Examples
    --------
    >>> printable("väder \x1b[2J\x00")
    'väder \\x1b[2J\\x00'
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def list_view(listing: Listing) -> RenderableType:
    """Counts by reason, then the newest letters."""
    topic = escape(listing.topic)
    if not listing.reasons:
        return f"{topic}: no such dead letters"
    reasons = columns("reason", "letters", "retried", "first", "last", text=1)
    for seen in listing.reasons:
        reasons.add_row(
            _cell(seen.reason),
            number_words(seen.letters),
            number_words(seen.retried),
            time_words(seen.first_ms),
            time_words(seen.last_ms),
        )
    title = f"{listing.letters:,} dead letters in {topic}, {listing.retried:,} of them sent again"
    parts = [headed(title, reasons)]
    if listing.records:
        records = columns("id", "set aside", "reason", "detail", "size", text=4)
        for letter in listing.records:
            records.add_row(
                _cell(letter.id), time_words(letter.at_ms), _reason(letter), _cell(letter.detail), _size(letter)
            )
        parts.append(headed(f"The newest {len(listing.records)}", records))
    return Group(*parts)


def _cell(text: str) -> str:
    shown = printable(text).replace("\n", "\\n")
    return escape(shown if len(shown) <= _DETAIL_CHARACTERS else shown[: _DETAIL_CHARACTERS - 1] + "…")


def _reason(letter: LetterSeen) -> str:
    return f"{_cell(letter.reason)}{' [green](retried)[/]' if letter.retried_ms is not None else ''}"


def _size(letter: LetterSeen) -> str:
    return f"{'over ' if letter.truncated else ''}{size_words(letter.size_bytes)}"


def letter_facts(letter: Letter, retried_ms: int | None) -> dict[str, Any]:
    """All of a letter as JSON values: its value as an object where it is JSON, and as Base64 in any case."""
    value = letter.value
    return {
        "id": letter.id,
        "at_ms": letter.at_ms,
        "reason": letter.reason,
        "meaning": REASONS.get(letter.reason),
        "detail": letter.detail,
        "lineage": letter.lineage or None,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "key": None if letter.key is None else letter.key.decode(errors="backslashreplace"),
        "timestamp_ms": letter.timestamp_ms,
        "size_bytes": len(value or b""),
        "truncated": letter.truncated,
        "retried_ms": retried_ms,
        "value": _parsed(value),
        "value_base64": None if value is None else base64.b64encode(value).decode(),
    }


def letter_view(letter: Letter, retried_ms: int | None) -> RenderableType:
    """Why a record was set aside, where it came from, and what it says."""
    meaning = REASONS.get(letter.reason)
    size = size_words(len(letter.value or b""))
    key = "none" if letter.key is None else letter.key.decode(errors="backslashreplace")
    rows = [
        ("reason", f"{letter.reason}: {meaning}" if meaning else letter.reason),
        ("detail", letter.detail),
        ("from", f"{letter.topic}, partition {letter.partition}, offset {letter.offset:,}"),
        ("key", key),
        ("written", time_words(letter.timestamp_ms)),
        ("set aside", f"{time_words(letter.at_ms)}{f', by lineage {letter.lineage}' if letter.lineage else ''}"),
        ("retried", "not yet" if retried_ms is None else time_words(retried_ms)),
        ("size", f"the first {size}; the rest is not in the topic any more" if letter.truncated else size),
    ]
    return Group(facts([(name, printable(text)) for name, text in rows]), Text(), Text(_value_words(letter.value)))


def _parsed(value: bytes | None) -> Any:
    try:
        return msgspec.json.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _value_words(value: bytes | None) -> str:
    """The record as indented JSON when it is JSON, and escaped otherwise."""
    if value is None:
        return "(no value)"
    if _parsed(value) is None:
        text = value[:_VALUE_CHARACTERS].decode(errors="backslashreplace")
    else:
        text = msgspec.json.format(value, indent=2).decode()
    cut = len(value) > _VALUE_CHARACTERS
    return printable(text[:_VALUE_CHARACTERS]) + ("\n... (--raw prints all of it)" if cut else "")


def retried_view(retried: Retried) -> RenderableType:
    """What went back, what did not and why, and what can be done about it."""
    table = columns("letters", "what became of them", text=0)
    table.columns[1].justify = "left"
    sent = "would be sent" if retried.dry_run else "sent"
    rows = [(retried.sent, f"[bold green]{sent}[/]{_restamped(retried)}")]
    for why, count in sorted(retried.held.items(), key=lambda item: -item[1]):
        words = HELD[why]
        if why == "rejected_again":
            words += f" ({', '.join(f'{_cell(reason)} {n:,}' for reason, n in retried.reasons.items())})"
        rows.append((count, words))
    for count, words in rows:
        table.add_row(number_words(count), words)
    parts: list[RenderableType] = [headed(f"{retried.letters:,} dead letters", table)]
    if retried.examples:
        held = columns("id", "held back", "detail", text=3)
        for example in retried.examples:
            held.add_row(_cell(example.id), example.why, _cell(example.detail))
        parts.append(headed(_held_title(retried), held))
    return Group(*parts, *(Text(words, style="bold") for words in _advice(retried)))


def _held_title(retried: Retried) -> str:
    held = sum(count for why, count in retried.held.items() if why != "retried")
    return "Held back" if held <= len(retried.examples) else f"Held back, the first {len(retried.examples)} of {held:,}"


def _restamped(retried: Retried) -> str:
    if not retried.restamped:
        return ""
    return f", {retried.restamped:,} of them with the present time of their partition's clock in place of their own"


def _advice(retried: Retried) -> list[str]:
    late = retried.held.get("late", 0)
    words = []
    if late:
        words.append(
            f"{late:,} of {late + retried.sent:,} are older than the join window and would be dropped as late: "
            "--restamp gives them the present time, or learn them by a replay"
        )
    if retried.unmarked:
        words.append(f"{retried.unmarked:,} were sent but could not be marked: a second retry would send them again")
    if retried.missing:
        words.append(f"there is no dead letter {', '.join(map(printable, retried.missing))}")
    return words
