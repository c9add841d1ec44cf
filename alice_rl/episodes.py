"""Events to episodes: a decision and what became of it, joined by id inside a window of the log.

The rules of the join. Each looks no further back than one window, so that the joiner's state is a function of the last
two windows of the log, and re-reading these after a restart rebuilds it without any storage of its own:

1. The window of a record reaches back `horizon_ms` on the log's clock, and `records_max` offsets, whichever is shorter.
2. A decision is a *duplicate* when a decision of the same id is in its window; the newest copy then stands for it.
3. An outcome is a *duplicate* when an outcome of the same id is in its window, or its decision has one already.
4. A decision and an outcome of one id make an episode when the second of them arrives, in either order: the first
   outcome wins, and an outcome serves one decision only.
5. A whole turn is its decision followed by its outcome.
6. A decision that leaves the window without an outcome is *missing* it: it is dropped, or scored by `missing_outcome`.
   An outcome that leaves it without a decision is *unmatched*.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Annotated, cast

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from alice_rl.clock import Readings
from alice_rl.events import Decision, Event, Outcome, Turn, TurnOutcome
from alice_rl.seen import SeenDecision, SeenOutcome, SeenTurn

__all__ = ["Episode", "JoinSettings", "Joiner"]

IntArray = npt.NDArray[np.int64]
_ID, _OUTCOME = attrgetter("decision_id"), attrgetter("outcome")
_TURNS, _OUTCOMES = (Turn, SeenTurn), (Outcome, SeenOutcome)


class MissingOutcome(Struct, frozen=True, forbid_unknown_fields=True):
    """What a decision whose outcome never came counts as."""

    success: bool = False
    tool_ok: bool | None = None
    latency_ms: Annotated[float, Meta(ge=0)] = 0.0
    cost_usd: Annotated[float, Meta(ge=0)] = 0.0
    cache_hit: bool = False
    guardian_flag: bool = False


class JoinSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[join]` section; part of the lineage."""

    horizon_seconds: Annotated[
        int, Meta(ge=1, le=86_400, description="how long a decision waits for its outcome, in event time")
    ] = 600
    records_max: Annotated[
        int, Meta(ge=16, le=10_000_000, description="offsets a partition looks back at most; bounds memory")
    ] = 131_072
    missing_outcome: Annotated[
        MissingOutcome | None, Meta(description="what a decision without an outcome is scored as; unset: dropped")
    ] = None


Episode = tuple[Decision | Turn, int, Outcome | TurnOutcome | MissingOutcome, int]
"""A decision, when it was taken (event time, ms), what became of it, and when that was known: the log's clock, ms."""


class _Entry:
    """What the window holds of one id: offsets of its newest decision and outcome (-1: none), and the waiting half."""

    __slots__ = ("decided_at", "ended_at", "open", "waiting")

    def __init__(self, decided_at: int, ended_at: int) -> None:
        self.decided_at = decided_at
        self.ended_at = ended_at
        self.open: tuple[Decision | Turn, int, int] | None = None  # with its time, and the clock when it arrived
        self.waiting: Outcome | TurnOutcome | None = None

    def read(self, read: Callable[[bytes], Event | None]) -> None:
        """Put events in the place of their stand-ins."""
        decision: object = None if self.open is None else self.open[0]
        if self.open is not None and isinstance(decision, SeenDecision):
            event = read(decision.value)
            self.open = (event, *self.open[1:]) if isinstance(event, Decision) else None
        outcome: object = self.waiting
        if isinstance(outcome, SeenOutcome):
            event = read(outcome.value)
            self.waiting = event if isinstance(event, Outcome) else None


class Joiner:
    """The open half of one partition's episodes.

    Parameters
    ----------
    settings : JoinSettings

    Attributes
    ----------
    counts : Counter
        How many were `duplicate`, `missing`, `unmatched`, and how many windows were `shortened`; emptied by the caller.

    Notes
    -----
    To rebuild it, stand-ins (`alice_rl.seen`) may take the place of events: who joins them throws the episodes away,
    and calls `read` before the first that count.
    """

    def __init__(self, settings: JoinSettings) -> None:
        self.settings = settings
        self.horizon_ms = settings.horizon_seconds * 1000
        self.counts: Counter[str] = Counter()
        self._entries: dict[str, _Entry | int] = {}  # an offset stands for a whole turn
        self._ids: deque[str] = deque()  # the window's records, in log order ...
        self._offsets: IntArray = np.empty(0, dtype=np.int64)
        self._now: IntArray = np.empty(0, dtype=np.int64)  # ... and the clock when each arrived
        self._left_now = 0  # the clock when the last record that left had arrived
        self._episodes: list[Episode] = []

    def __len__(self) -> int:
        """Ids that the window holds."""
        return len(self._entries)

    def join(self, events: Sequence[Event], offsets: IntArray, readings: Readings) -> list[Episode]:
        """Take in the events of a batch (none of them late); the episodes that this completes."""
        cut = 0
        for position in (*readings.set_back, len(events)):
            piece = slice(cut, position)
            self._join(events[piece], offsets[piece], readings.times[piece], readings.now[piece], readings.high[piece])
            if position < len(events):  # a clock that was set back cannot vouch for what it saw before
                self._leave(len(self._offsets), int(offsets[position]))
                self._left_now = 0
            cut = position
        episodes, self._episodes = self._episodes, []
        return episodes

    def read(self, read: Callable[[bytes], Event | None]) -> None:
        """Read in full what waits and was only looked at: from here on, its episodes count."""
        for entry in self._entries.values():
            if isinstance(entry, _Entry):
                entry.read(read)

    def _join(self, events: Sequence[Event], offsets: IntArray, times: IntArray, now: IntArray, high: IntArray) -> None:
        if not len(events):
            return
        self._offsets = np.concatenate((self._offsets, offsets))
        self._now = np.concatenate((self._now, now))
        starts = self._starts(offsets, now)
        ids = list(map(_ID, events))
        if self._all_new_turns(events, ids):  # by far the most frequent case: nothing waits, and an offset says it all
            self._entries.update(zip(ids, offsets.tolist(), strict=True))
            outcomes = map(_OUTCOME, events)
            self._episodes += zip(cast(Sequence[Turn], events), times.tolist(), outcomes, high.tolist(), strict=True)
        else:
            columns = (offsets, times, high, starts)
            self._join_singly(zip(events, *(column.tolist() for column in columns), strict=True))
        self._ids.extend(ids)
        self._leave(int(np.searchsorted(self._offsets, starts[-1])), int(starts[-1]))

    def _all_new_turns(self, events: Sequence[Event], ids: Sequence[str]) -> bool:
        """Whether all events are whole turns, of as many ids that the window does not hold."""
        whole = all(issubclass(kind, _TURNS) for kind in set(map(type, events)))
        return whole and len(set(ids)) == len(ids) and self._entries.keys().isdisjoint(ids)

    def _join_singly(self, rows: Iterable[tuple[Event, int, int, int, int]]) -> None:
        for event, offset, ts, high, start in rows:
            if isinstance(event, _OUTCOMES):
                self._outcome(event.decision_id, event, offset, high, start)
            else:
                self._decision(event, offset, ts, high, start)
                if isinstance(event, _TURNS):
                    self._outcome(event.decision_id, event.outcome, offset, high, start)

    def _starts(self, offsets: IntArray, now: IntArray) -> IntArray:
        """Where the window of each record begins, ndarray of offsets, shape (N,)."""
        horizon = now - self.horizon_ms
        by_time = self._offsets[np.searchsorted(self._now, horizon, side="right")]
        by_count = offsets - self.settings.records_max + 1
        # A window is cut short when the last record before it is still within the horizon.
        before = np.concatenate(([self._left_now], self._now))[np.searchsorted(self._offsets, by_count)]
        self.counts["shortened"] += int(np.count_nonzero(before > horizon))
        return np.maximum(by_time, by_count)

    def _decision(self, decision: Decision | Turn, offset: int, ts: int, high: int, start: int) -> None:
        entry = self._entry(decision.decision_id, start)
        ended = entry.ended_at >= start
        if entry.decided_at >= start:
            self.counts["duplicate"] += 1
        elif entry.waiting is not None:
            self._episodes.append((decision, ts, entry.waiting, high))
        entry.open = None if ended else (decision, ts, high)
        entry.waiting = None
        entry.decided_at = offset

    def _outcome(self, decision_id: str, outcome: Outcome | TurnOutcome, offset: int, high: int, start: int) -> None:
        entry = self._entry(decision_id, start)
        if entry.open is not None:
            self._episodes.append((*entry.open[:2], outcome, high))
            entry.open = None
        elif entry.decided_at >= start:
            self.counts["duplicate"] += 1
        else:
            self.counts["duplicate"] += entry.ended_at >= start
            entry.waiting = outcome
        entry.ended_at = offset

    def _entry(self, decision_id: str, start: int) -> _Entry:
        """The entry of an id, cleared of what has left the window."""
        held = self._entries.get(decision_id, -1)
        if isinstance(held, _Entry):
            self._expire(held, start)
            return held
        entry = self._entries[decision_id] = _Entry(held, held)
        return entry

    def _expire(self, entry: _Entry, start: int) -> None:
        if entry.decided_at < start and entry.open is not None:
            self.counts["missing"] += 1
            if (default := self.settings.missing_outcome) is not None:
                decision, ts, high = entry.open
                # Known from the moment its window had passed, however long the log then was silent.
                self._episodes.append((decision, ts, default, high + self.horizon_ms))
            entry.open = None
        if entry.ended_at < start and entry.waiting is not None:
            self.counts["unmatched"] += 1
            entry.waiting = None

    def _leave(self, count: int, start: int) -> None:
        """Let the first `count` records leave the window, which now begins at `start`."""
        entries, popleft = self._entries, self._ids.popleft
        for _ in range(count):
            decision_id = popleft()
            held = entries.get(decision_id, start)
            if isinstance(held, int):
                if held < start:
                    del entries[decision_id]
            else:
                self._expire(held, start)
                if held.decided_at < start and held.ended_at < start:
                    del entries[decision_id]
        if count:
            self._left_now = int(self._now[count - 1])
        self._offsets, self._now = self._offsets[count:], self._now[count:]
