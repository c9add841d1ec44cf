"""What `--from` and `--to` mean: the beginning, the present end, an offset, or a time."""

from __future__ import annotations

from typing import NamedTuple

from alice_rl.errors import ConfigError
from worker.times import moment_ms

__all__ = ["Bound"]

_WORDS = ("earliest", "now")


class Bound(NamedTuple):
    """One end of a stretch of the log: an offset, a time (ms since the epoch), or neither: as far as the log goes.

    Examples
    --------
    >>> Bound.parse("1500").offset, Bound.parse("earliest")
    (1500, Bound(text='earliest', offset=None, time_ms=None))
    >>> Bound.parse("2026-01-01T00:00:00Z").time_ms
    1767225600000
    """

    text: str
    offset: int | None = None
    time_ms: int | None = None

    @classmethod
    def parse(cls, text: str) -> Bound:
        """The bound that a user wrote.

        Raises
        ------
        ConfigError
            It is none of these.
        """
        if text in _WORDS:
            return cls(text)
        if text.isdecimal():
            return cls(text, offset=int(text))
        try:
            return cls(text, time_ms=moment_ms(text))
        except ValueError:
            raise ConfigError(
                f"{text!r} is no place in a log",
                hint="give earliest, now, an offset (1500), or a time (2026-01-31, 2026-01-31T12:00:00+01:00)",
            ) from None
