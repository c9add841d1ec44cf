"""What a checkpoint holds of a shard beside its sums, and the places from which its log can be re-read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Struct

from alice_rl.clock import ClockState
from alice_rl.episodes import JoinSettings
from alice_rl.lineage import Lineage

__all__ = ["REJECTED_MAX", "Growth", "Mark", "Marks", "RejectedOffsets", "ShardState", "grown_at"]

REJECTED_MAX = 4096
"""Offsets of rejected records that a checkpoint lists; where there are more, it does not say which they are."""


class Mark(Struct, frozen=True):
    """A place from which the log can be re-read: an offset, and the clock before it."""

    offset: int
    clock: ClockState


class Growth(NamedTuple):
    """A structure of the fold: from `offset` on, `x` has `numerics` numeric features."""

    offset: int
    numerics: int


def grown_at(history: list[Growth], offset: int, numerics: int) -> list[Growth]:
    """The history with one more structure; one under which nothing was folded is forgotten.

    Examples
    --------
    >>> grown_at([Growth(0, 2), Growth(7, 3)], 7, 4)
    [Growth(offset=0, numerics=2), Growth(offset=7, numerics=4)]
    """
    return [*(growth for growth in history if growth.offset != offset), Growth(offset, numerics)]


class ShardState(Struct, frozen=True):
    """A checkpoint without its buckets.

    Attributes
    ----------
    next : int
        Offset after the last record that was folded.
    low : Mark
        Where a restart begins to re-read, to rebuild the joiner.
    watermark_ms, high_ms : int
        The log's clock, and the latest time that it has shown.
    tail : str
        Offset, time and CRC-32 of the last record that was folded: a log that was made anew is told by it.
    intents, classes : list of str
        The names that have rows of their own.
    counts : dict of str to int
        What became of the records, for people.
    start : int
        Offset at which the fold began.
    source : str
        The file that was folded; empty for a partition of the topic.
    topic_id : str
        The id that the brokers gave to the topic that was folded; empty where they give none.
    skipped : list of int
        Offsets that the fold passes over, because they killed the worker.
    rejected : list of int, optional
        Offsets from `low` on that the fold has rejected; None when there were too many to list, or it is not known.
    digests : dict of str to str
        SHA-256 of each bucket's bytes, by the bucket's name.
    grown : list of Growth
        The structures of the fold, the first from `start` on, the last that of the buckets. Empty: always the
        lineage's.

    Notes
    -----
    Like the sums, it is a function of the log alone: neither batches nor restarts change a byte of it.
    """

    next: int
    low: Mark
    watermark_ms: int
    high_ms: int
    tail: str
    intents: list[str]
    classes: list[str]
    counts: dict[str, int]
    start: int = 0
    source: str = ""
    topic_id: str = ""
    skipped: list[int] = []
    rejected: list[int] | None = None
    digests: dict[str, str] = {}
    grown: list[Growth] = []

    def structure(self, lineage: Lineage) -> Lineage:
        """The structure that the buckets have, of a lineage that may have been extended since.

        Raises
        ------
        ConfigError
            They have more numerics than the lineage given.
        """
        return lineage.with_numerics(self.grown[-1].numerics) if self.grown else lineage


class Marks:
    """The places of one log that a restart may need: the joiner depends on two windows, so those before are forgotten.

    Parameters
    ----------
    settings : JoinSettings
    start : Mark
        Where reading begins.
    """

    def __init__(self, settings: JoinSettings, start: Mark) -> None:
        self._records_max = settings.records_max
        self._horizon_ms = settings.horizon_seconds * 1000
        self._marks: deque[Mark] = deque([start])

    @property
    def low(self) -> Mark:
        """The oldest place that is kept."""
        return self._marks[0]

    def pass_by(self, offset: int, clock: ClockState) -> None:
        """Come by an offset; every now and then it becomes a mark."""
        last = self._marks[-1]
        moved_ms = abs((clock.now_ms or 0) - (last.clock.now_ms or 0))
        if offset - last.offset >= self._records_max // 64 or moved_ms >= self._horizon_ms // 64:
            self._marks.append(Mark(offset, clock))

    def forget(self, offset: int, clock: ClockState) -> None:
        """Forget the marks that a restart from this offset does not need."""
        marks, now_ms = self._marks, clock.now_ms or 0
        while len(marks) > 1 and (
            (marks[1].clock.now_ms or 0) <= now_ms - 2 * self._horizon_ms
            or marks[1].offset <= offset - 2 * self._records_max
        ):
            marks.popleft()


class RejectedOffsets:
    """Which records were rejected, as far back as a restart would read.

    Examples
    --------
    >>> rejected = RejectedOffsets()
    >>> rejected.add([3, 7])
    >>> rejected.since(5)
    [7]
    """

    def __init__(self) -> None:
        self._offsets: deque[int] = deque(maxlen=REJECTED_MAX + 1)  # one more than is listed tells that it is too many

    def add(self, offsets: Iterable[int]) -> None:
        """Take in the next rejected offsets, in their order."""
        self._offsets.extend(offsets)

    def since(self, low: int) -> list[int] | None:
        """Those from `low` on, None when there were too many; what lies before is forgotten."""
        while self._offsets and self._offsets[0] < low:
            self._offsets.popleft()
        return None if len(self._offsets) > REJECTED_MAX else list(self._offsets)
