"""The map: all that one partition has taught us, and `feed`, the fold over its log.

    records --intake--> events --clock--> times --joiner--> episodes --columnar--> columns --add--> sums per bucket

A shard is a pure function of a prefix of its partition's log and of the lineage: not of batches, restarts, rebalances,
or of any clock but the log's own. Its sums at offset `next` have the same bytes whoever folded them, and however often
they were interrupted.
"""

from __future__ import annotations

import zlib
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from alice_rl.clock import Clock, ClockState, Readings
from alice_rl.columns import Columnar, Columns, add
from alice_rl.episodes import Episode, Joiner
from alice_rl.errors import DependencyError
from alice_rl.events import Event, Outcome
from alice_rl.intake import Intake, Record, Rejected, Taken
from alice_rl.lineage import Lineage
from alice_rl.online.decay import Bucket, bucket_rows, coarsen
from alice_rl.online.moments import ROWS_MAX
from alice_rl.sums import Sums, digest

__all__ = ["Mark", "Shard", "ShardState"]

IntArray = npt.NDArray[np.int64]

_BATCH_RECORDS = 256  # what is decoded at once: few enough to stay in the processor's cache until it is folded


class Mark(Struct, frozen=True):
    """A place from which the log can be re-read: an offset, and the clock before it."""

    offset: int
    clock: ClockState


class ShardState(Struct, frozen=True):
    """A checkpoint without its buckets: where to go on, what to re-read first, and what else the log has fixed."""

    next: int
    low: Mark
    watermark_ms: int
    high_ms: int
    tail: str
    """Offset, time and CRC-32 of the last record that was folded: a log that was made anew is told by it."""
    intents: list[str]
    classes: list[str]
    counts: dict[str, int]


class Shard:
    """The fold over one partition.

    Parameters
    ----------
    lineage : Lineage
    start : Mark, optional
        Where reading begins; offset 0 with a clock that has read nothing, by default.

    Attributes
    ----------
    next : int
        The offset after the last record that was folded.
    buckets : dict of Bucket to Sums
        What was learned, by event time.
    changed, removed : set of Bucket
        Buckets that differ from, or are gone since, the last checkpoint.
    counts : Counter
        What became of the records, for people; no part of the digest.

    Examples
    --------
    >>> shard = Shard(Lineage())
    >>> shard.feed([]), shard.next, len(shard.digest())
    ([], 0, 64)
    """

    def __init__(self, lineage: Lineage, start: Mark | None = None) -> None:
        start = start or Mark(0, ClockState())
        self.lineage = lineage
        self.next = self.position = start.offset
        self.buckets: dict[Bucket, Sums] = {}
        self.changed: set[Bucket] = set()
        self.removed: set[Bucket] = set()
        self.counts: Counter[str] = Counter()
        self.tail = ""
        self._intake = Intake(lineage.arms)
        self._clock = Clock(lineage.join.horizon_seconds * 1000, start.clock)
        self._joiner = Joiner(lineage.join)
        self._columnar = Columnar(lineage)
        self._marks: deque[Mark] = deque([start])

    @classmethod
    def restore(cls, lineage: Lineage, state: ShardState, buckets: Mapping[str, bytes]) -> Shard:
        """The shard of a checkpoint. Feed it from `state.low.offset` on: up to `state.next` it rebuilds its joiner."""
        shard = cls(lineage, state.low)
        shard.next, shard.tail = state.next, state.tail
        shard.counts.update(state.counts)
        shard._columnar.intents.names.update(state.intents)
        shard._columnar.classes.names.update(state.classes)
        shard.buckets = {Bucket.parse(name): Sums.from_bytes(lineage, data) for name, data in buckets.items()}
        return shard

    def begin(self, offset: int) -> None:
        """Begin at another offset than 0: a topic's first, or its end. Only before anything was read."""
        assert self.position == self.next == self._marks[0].offset and not self.buckets
        self.next = self.position = offset
        self._marks[0] = Mark(offset, self._clock.state)

    @property
    def state(self) -> ShardState:
        """What a checkpoint holds beside the buckets."""
        columnar = self._columnar
        intents, classes = sorted(columnar.intents.names), sorted(columnar.classes.names)
        return ShardState(
            self.next, self._marks[0], self.watermark_ms, self.high_ms, self.tail, intents, classes, dict(self.counts)
        )

    @property
    def rebuilding(self) -> bool:
        """Whether the records read so far were all folded before."""
        return self.position < self.next

    @property
    def watermark_ms(self) -> int:
        """The log's clock, milliseconds since the epoch; 0 before the first record."""
        return self._clock.state.now_ms or 0

    @property
    def high_ms(self) -> int:
        """The latest time that the log's clock has shown."""
        return self._clock.state.high_ms

    @property
    def names_overflowed(self) -> bool:
        """Whether the log has brought more intents or query classes than may have rows of their own."""
        return self._columnar.intents.overflowed or self._columnar.classes.overflowed

    @property
    def open_episodes(self) -> int:
        """Ids that the join window holds."""
        return len(self._joiner)

    def feed(self, records: Sequence[Record]) -> list[Rejected]:
        """Fold the next records of the log; those that cannot be learned, with their reasons.

        Parameters
        ----------
        records : sequence of Record
            In the order of their offsets. Those before `position` were read already and are skipped.

        Raises
        ------
        DependencyError
            While rebuilding: the log does not hold the records that the checkpoint was made from.
        """
        rejected: list[Rejected] = []
        learned: list[Columns] = []
        self._columnar.renew()
        for part in self._parts(records):
            self._mark(part[0].offset)
            taken = self._intake.take(part)
            episodes = self._join(taken, part)
            if part[-1].offset >= self.next:
                learned += self._columns(episodes)
                self._count(len(part), taken, len(episodes))
                rejected += taken.rejected
                self.next = part[-1].offset + 1
                self.tail = _fingerprint(part[-1])
            elif part[-1].offset == self.next - 1 and _fingerprint(part[-1]) != self.tail:
                raise DependencyError(
                    f"the record at offset {part[-1].offset} is not the one that was folded: the topic was made anew",
                    code="log_recreated",
                    hint="learn the new topic under another policy.lineage",
                )
            self._joiner.counts.clear()
            self.position = part[-1].offset + 1
        self._learn(learned)
        return rejected

    def digest(self) -> str:
        """SHA-256 of the canonical sums; equal for equal prefixes of the log."""
        return digest({str(bucket): sums.digest() for bucket, sums in self.buckets.items()})

    def _parts(self, records: Sequence[Record]) -> Iterator[Sequence[Record]]:
        """The unread records, cut where rebuilding ends and at what one batch may hold."""
        if records and records[0].offset < self.position:
            records = [record for record in records if record.offset >= self.position]
        known = 0
        if self.rebuilding:
            known = sum(record.offset < self.next for record in records)
        for start, stop in ((0, known), (known, len(records))):
            for at in range(start, stop, _BATCH_RECORDS):
                yield records[at : min(stop, at + _BATCH_RECORDS)]

    def _join(self, taken: Taken, records: Sequence[Record]) -> list[Episode]:
        """Tell the time of the events and pair them up; the episodes that are complete."""
        events, offsets = taken.events, np.array(taken.offsets, dtype=np.int64)
        ts_ms = np.array([event.ts_ms for event in events], dtype=np.int64)
        if events and not self._clock.started:
            # The very first record has no clock to be held against but the broker's.
            appended = next(record.timestamp for record in records if record.offset == taken.offsets[0])
            self._clock.start(min(int(ts_ms[0]), appended) if appended > 0 else int(ts_ms[0]))
        readings = self._clock.read(ts_ms)
        self._joiner.counts["clamped"] += readings.clamped
        if readings.late.any():
            self._joiner.counts["late"] += int(readings.late.sum())
            events, offsets, readings = _on_time(events, offsets, readings)
        self._columnar.admit([event.context for event in events if not isinstance(event, Outcome)])
        return self._joiner.join(events, offsets, readings)

    def _columns(self, episodes: Sequence[Episode]) -> Iterator[Columns]:
        """The episodes as columns, in pieces that one addition may have."""
        for at in range(0, len(episodes), ROWS_MAX):
            yield self._columnar.columns(episodes[at : at + ROWS_MAX])

    def _learn(self, learned: Sequence[Columns]) -> None:
        """Add what a feed has taught to the sums of its buckets."""
        span_ms = self.lineage.bucket_seconds * 1000
        for columns in _joined(learned):
            for bucket, rows in bucket_rows(columns.ts_ms, self.high_ms, span_ms).items():
                add(self._bucket(bucket), columns, rows)
        for fine, coarse in coarsen(self.buckets, self.high_ms, span_ms).items():
            self.buckets[coarse] = self._bucket(coarse) + self.buckets.pop(fine)
            self.changed.discard(fine)
            self.removed.add(fine)

    def _bucket(self, bucket: Bucket) -> Sums:
        self.changed.add(bucket)
        self.removed.discard(bucket)
        return self.buckets.setdefault(bucket, Sums(self.lineage))

    def _mark(self, offset: int) -> None:
        """Remember this place, and forget those that no restart will need: the joiner depends on two windows."""
        joins, marks, now_ms = self.lineage.join, self._marks, self.watermark_ms
        horizon_ms = joins.horizon_seconds * 1000
        last = marks[-1]
        moved_ms = abs(now_ms - (last.clock.now_ms or 0))
        if offset - last.offset >= joins.records_max // 64 or moved_ms >= horizon_ms // 64:
            marks.append(Mark(offset, self._clock.state))
        while len(marks) > 1 and (
            (marks[1].clock.now_ms or 0) <= now_ms - 2 * horizon_ms or marks[1].offset <= offset - 2 * joins.records_max
        ):
            marks.popleft()

    def _count(self, records: int, taken: Taken, episodes: int) -> None:
        self.counts.update(records=records, episodes=episodes, rejected=len(taken.rejected))
        self.counts.update(f"rejected.{rejected.reason}" for rejected in taken.rejected)
        self.counts.update(self._joiner.counts)


def _fingerprint(record: Record) -> str:
    return f"{record.offset}:{record.timestamp}:{zlib.crc32(record.value or b''):08x}"


def _joined(parts: Sequence[Columns]) -> Iterator[Columns]:
    """The columns of a feed in as few additions as may be: what an addition costs hardly depends on its rows."""
    at, rows = 0, 0
    for end, part in enumerate(parts):
        if rows + len(part.ts_ms) > ROWS_MAX:
            yield Columns.concatenated(parts[at:end])
            at, rows = end, 0
        rows += len(part.ts_ms)
    if rows:
        yield Columns.concatenated(parts[at:])


def _on_time(events: list[Event], offsets: IntArray, readings: Readings) -> tuple[list[Event], IntArray, Readings]:
    """The same without the late records; where the clock was set back moves to the next record that is left."""
    keep = ~readings.late
    before: IntArray = np.cumsum(keep) - keep
    set_back = tuple(int(before[position]) for position in readings.set_back)
    kept = [event for event, on_time in zip(events, keep.tolist(), strict=True) if on_time]
    return kept, offsets[keep], Readings(readings.times[keep], readings.now[keep], readings.late[keep], 0, set_back)
