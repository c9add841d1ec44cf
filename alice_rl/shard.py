"""The map: all that one partition has taught us, and `feed`, the fold over its log.

    records --intake--> events --clock--> times --joiner--> episodes --columnar--> columns --add--> sums per bucket
                                                               |
                                                               +--trials--> who was compared with whom, per pane

What a restart reads again goes as far as the joiner, as stand-ins for events, and teaches nothing.

A shard is a pure function of a prefix of its partition's log and of the lineage (with the offsets at which that was
extended): not of batches, restarts, rebalances, or of any clock but the log's own. Its sums at offset `next` have the
same bytes whoever folded them, and however often they were interrupted.

The file is longer than others so that the whole way, and what interrupts it, is on one page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress

import numpy as np

from alice_rl.buckets import Buckets
from alice_rl.clock import Clock, ClockState
from alice_rl.columns import Columnar, Columns
from alice_rl.episodes import Episode, Joiner
from alice_rl.errors import DependencyError
from alice_rl.events import Outcome
from alice_rl.intake import Intake, Record, Rejected, Rereading, Taken, fingerprint, index_of
from alice_rl.lineage import Lineage
from alice_rl.online.moments import ROWS_MAX
from alice_rl.parts import AllParts
from alice_rl.shard_state import Growth, Mark, Marks, RejectedOffsets, ShardState, grown_at
from alice_rl.sums import digest
from alice_rl.trials import Trials

__all__ = ["Shard"]

_BLOCK_OFFSETS = 384  # what is decoded at once: few enough to stay in the processor's cache until it is folded


class Shard:
    """The fold over one partition.

    Parameters
    ----------
    lineage : Lineage
    start : Mark, optional
        Where reading begins; offset 0 with a clock that has read nothing, by default.
    source : str
        The file that is folded; empty for a partition of the topic.

    Attributes
    ----------
    start : int
        The offset at which the fold began.
    next : int
        The offset after the last record that was folded.
    position : int
        The offset after the last record that was read; behind `next` while a restart rebuilds the joiner.
    topic_id : str
        What tells the topic from another one of the same name; empty where nobody knows.
    recognised : bool
        Whether the last record of the checkpoint was read again, and was the one that was folded.
    buckets : Buckets
        What was learned, by event time.
    trials : Trials
        What the comparisons of policies have shown, by event time.
    parts : AllParts
        Both, as a checkpoint stores them.
    skipped : set of int
        Offsets that are passed over as rejected, without being looked at.
    grown : list of Growth
        The structures that the fold had, and from which offset on.
    counts : Counter
        What became of the records, for people; no part of the digest.
    watch : callable, optional
        Is shown the episodes as they are learned, never again those that a restart reads again; `next` is still the
        offset before them.

    Examples
    --------
    >>> shard = Shard(Lineage())
    >>> shard.feed([]), shard.next, len(shard.digest())
    ([], 0, 64)
    """

    def __init__(self, lineage: Lineage, start: Mark | None = None, source: str = "") -> None:
        start = start or Mark(0, ClockState())
        self.lineage = lineage
        self.source = source
        self.topic_id = ""
        self.recognised = False
        self.start = self.next = self.position = start.offset
        self.buckets = Buckets(lineage)
        self.trials = Trials(lineage)
        self.parts = AllParts(self.buckets, self.trials)
        self.counts: Counter[str] = Counter()
        self.tail = ""
        self.skipped: set[int] = set()
        self.grown = [Growth(start.offset, len(lineage.features.numerics))]
        self.watch: Callable[[Sequence[Episode]], object] | None = None
        self._intake = Intake(lineage.arms, self.skipped)
        self._rereading: Rereading | None = None
        self._rejected = RejectedOffsets()
        self._clock = Clock(lineage.join.horizon_seconds * 1000, start.clock)
        self._joiner = Joiner(lineage.join)
        self._columnar = Columnar(lineage)
        self._marks = Marks(lineage.join, start)
        self._block = min(_BLOCK_OFFSETS, lineage.join.records_max)

    @classmethod
    def restore(cls, lineage: Lineage, state: ShardState, parts: Mapping[str, bytes]) -> Shard:
        """The shard of a checkpoint, of before the lineage was extended or after.

        Feed it from `state.low.offset` on: up to `state.next` it rebuilds its joiner.
        """
        declared = state.structure(lineage)
        shard = cls(declared, state.low, state.source)
        shard.start, shard.next, shard.tail = state.start, state.next, state.tail
        shard.topic_id = state.topic_id
        shard.skipped.update(state.skipped)
        shard.counts.update(state.counts)
        if state.rejected is not None:
            shard._rereading = Rereading(set(state.rejected), shard.skipped)
            shard._rejected.add(state.rejected)
        shard._columnar.intents.names.update(state.intents)
        shard._columnar.classes.names.update(state.classes)
        shard.parts.restore(parts)
        shard.grown = state.grown or [Growth(state.start, len(declared.features.numerics))]
        if declared != lineage:
            shard.grow(lineage)
        return shard

    def grow(self, lineage: Lineage) -> None:
        """Go on from `next` with numerics appended, which are zero in all that was folded; open decisions have them."""
        self.buckets.grow(lineage)
        self.lineage, self._columnar = lineage, self._columnar.grown(lineage)
        self.grown = grown_at(self.grown, self.next, len(lineage.features.numerics))

    def begin(self, offset: int) -> None:
        """Begin at another offset than 0: a topic's first, or its end. Only before anything was read."""
        assert self.position == self.next == self._marks.low.offset and not self.buckets
        self.start = self.next = self.position = offset
        self.grown = [Growth(offset, len(self.lineage.features.numerics))]
        self._marks = Marks(self.lineage.join, Mark(offset, self._clock.state))

    @property
    def state(self) -> ShardState:
        """What a checkpoint holds beside the buckets."""
        return ShardState(
            next=self.next,
            low=self._marks.low,
            watermark_ms=self.watermark_ms,
            high_ms=self.high_ms,
            tail=self.tail,
            intents=sorted(self._columnar.intents.names),
            classes=sorted(self._columnar.classes.names),
            counts=dict(sorted(self.counts.items())),
            start=self.start,
            source=self.source,
            topic_id=self.topic_id,
            skipped=sorted(self.skipped),
            rejected=self._rejected.since(self._marks.low.offset),
            digests=self.parts.digests(),
            grown=self.grown,
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
            if part[-1].offset < self.next:
                self._rebuild(part)
            else:
                taken, episodes = self._fold(part)
                learned += self._columns(episodes)
                rejected += taken.rejected
            self._joiner.counts.clear()
            self.position = part[-1].offset + 1
        self.buckets.learn(learned, self.high_ms)
        self.trials.settle(self.high_ms)
        return rejected

    def arrive(self, position: int) -> bool:
        """Pass by a gap: the log holds nothing before `position` that was not read. Whether that ends a rebuild."""
        before, self.position = self.position, max(self.position, min(position, self.next))
        return before < self.position == self.next

    def digest(self) -> str:
        """SHA-256 of the canonical sums; equal for equal prefixes of the log."""
        return digest(self.parts.digests())

    def _parts(self, records: Sequence[Record]) -> Iterator[Sequence[Record]]:
        """The unread records, cut where rebuilding ends and where blocks of offsets do."""
        at = index_of(records, self.position)
        for record in records[:at]:
            self._recognise(record)
        while at < len(records):
            offset = records[at].offset
            end = (offset // self._block + 1) * self._block
            start, at = at, index_of(records, min(end, self.next) if offset < self.next else end, at)
            yield records[start:at]

    def _rebuild(self, part: Sequence[Record]) -> None:
        """Tell the joiner again of records that were folded before."""
        self._mark(part[0].offset)
        taken = (self._rereading or self._intake).take(part)
        self._join(taken, part)
        self._rejected.add(record.offset for record in taken.rejected)
        self._recognise(part[-1])

    def _fold(self, part: Sequence[Record]) -> tuple[Taken, list[Episode]]:
        """What a part of the log brings: its events, and the episodes that they complete."""
        if self._rereading is not None:
            self._joiner.read(self._intake.read)
            self._rereading = None
        if self._mark(part[0].offset):
            self._marks.forget(part[0].offset, self._clock.state)
        taken = self._intake.take(part)
        episodes = self._join(taken, part, self._columnar)
        self.trials.take(episodes)
        self._rejected.add(record.offset for record in taken.rejected)
        self._count(len(part), taken, len(episodes))
        if self.watch is not None:
            self.watch(episodes)
        self.next = part[-1].offset + 1
        self.tail = fingerprint(part[-1])
        return taken, episodes

    def _mark(self, offset: int) -> bool:
        """Come by an offset: the first of its block may become a mark. Whether it is; batches have no say in that."""
        first = offset // self._block != (self.position - 1) // self._block
        if first:
            self._marks.pass_by(offset, self._clock.state)
        return first

    def _join(self, taken: Taken, records: Sequence[Record], naming: Columnar | None = None) -> list[Episode]:
        """Tell the time of the events, admit their names, and pair them up; the episodes that are complete."""
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
            keep, readings = readings.on_time()
            events, offsets = list(compress(events, keep.tolist())), offsets[keep]
        if naming is not None:  # the names of what is read again came with the checkpoint
            naming.admit([event.context for event in events if not isinstance(event, Outcome)])
        return self._joiner.join(events, offsets, readings)

    def _columns(self, episodes: Sequence[Episode]) -> Iterator[Columns]:
        """The episodes as columns, in pieces that one addition may have."""
        for at in range(0, len(episodes), ROWS_MAX):
            yield self._columnar.columns(episodes[at : at + ROWS_MAX])

    def _recognise(self, record: Record) -> None:
        """Refuse a log whose record before `next` is not the one that was folded."""
        if record.offset != self.next - 1 or not self.tail:
            return
        self.recognised = fingerprint(record) == self.tail
        if not self.recognised:
            raise DependencyError(
                f"the record at offset {record.offset} is not the one that was folded: the log was made anew",
                code="log_recreated",
                hint="learn the new log under another policy.lineage",
            )

    def _count(self, records: int, taken: Taken, episodes: int) -> None:
        self.counts.update(records=records, episodes=episodes, rejected=len(taken.rejected))
        self.counts.update(f"rejected.{rejected.reason}" for rejected in taken.rejected)
        self.counts.update(self._joiner.counts)
        self.counts.update(self.trials.counts)
        self.trials.counts.clear()
