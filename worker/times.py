"""Instants as people write them: a date, a date and a time, or how long ago."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

__all__ = ["instant_ms", "moment_ms", "span_ms"]

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(rf"(\d+(?:\.\d+)?) ?({'|'.join(_UNITS)})")


def moment_ms(text: str) -> int:
    """A date, or a date and a time, as milliseconds since the epoch.

    Raises
    ------
    ValueError
        It is neither.

    Examples
    --------
    >>> moment_ms("2026-01-01"), moment_ms("2026-01-01T01:00+01:00")
    (1767225600000, 1767225600000)
    """
    moment = datetime.fromisoformat(text.strip())
    # A time without a zone is UTC: the same words mean the same on every machine.
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def span_ms(text: str) -> int:
    """A span of time as milliseconds.

    Raises
    ------
    ValueError
        It is none.

    Examples
    --------
    >>> span_ms("90min"), span_ms("1.5h")
    (5400000, 5400000)
    """
    span = _SPAN.fullmatch(text.strip())
    if span is None:
        raise ValueError(f"{text!r} is no span of time: write 90s, 10min, 1h, 7d")
    return int(float(span[1]) * _UNITS[span[2]] * 1000)


def instant_ms(text: str, now_ms: int | None = None) -> int:
    """The same, or how long ago.

    Raises
    ------
    ValueError
        It is neither.

    Examples
    --------
    >>> instant_ms("2026-01-01"), instant_ms("1.5h", now_ms=10_000_000)
    (1767225600000, 4600000)
    """
    if _SPAN.fullmatch(text.strip()):
        now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        return now_ms - span_ms(text)
    try:
        return moment_ms(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no time: write 2026-01-31, 2026-01-31T12:00 (UTC), or 90min, 2h, 7d ago"
        ) from None
