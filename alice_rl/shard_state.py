"""What a checkpoint holds of a shard beside its sums, and the places from which its log can be re-read."""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from alice_rl.clock import ClockState
from alice_rl.episodes import JoinSettings

__all__ = ["Mark", "Marks", "ShardState"]


class Mark(Struct, frozen=True):
    """A place from which the log can be re-read: an offset, and the clock before it."""

    offset: int
    clock: ClockState


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
    digests : dict of str to str
        SHA-256 of each bucket's bytes, by the bucket's name.
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
    digests: dict[str, str] = {}


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
        marks, now_ms, last = self._marks, clock.now_ms or 0, self._marks[-1]
        moved_ms = abs(now_ms - (last.clock.now_ms or 0))
        if offset - last.offset >= self._records_max // 64 or moved_ms >= self._horizon_ms // 64:
            marks.append(Mark(offset, clock))
        while len(marks) > 1 and (
            (marks[1].clock.now_ms or 0) <= now_ms - 2 * self._horizon_ms
            or marks[1].offset <= offset - 2 * self._records_max
        ):
            marks.popleft()
