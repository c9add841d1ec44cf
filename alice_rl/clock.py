"""The log's own clock: event time, read off one partition's records in their order.

Time is what the events say, never what a machine says, so that a replay tells the same time as the live run did.
Producers' clocks are not trusted singly: a record further than `horizon_ms` from the clock is an *outlier*. Ahead of
the clock, its time is clamped to it; behind it, the record is late. Only when `CONFIRMATIONS` outliers in a row agree
on a side is it the clock that was wrong, and it moves to the nearest of them: a silent night is crossed after a few
records, and one bad clock among many moves nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec import Struct

__all__ = ["CONFIRMATIONS", "Clock", "ClockState", "Readings"]

CONFIRMATIONS = 8
"""Consecutive outliers on one side that move the clock."""

IntArray = npt.NDArray[np.int64]


class ClockState(Struct, frozen=True, array_like=True):
    """All that the clock remembers: its time, its latest time ever, and the run of outliers under way."""

    now_ms: int | None = None
    high_ms: int = 0
    streak: int = 0  # outliers in a row: positive ahead, negative behind
    nearest_ms: int = 0  # the one of them that is nearest to the clock


class Readings(NamedTuple):
    """What the clock made of a batch, per record.

    `times` (N,) event time to use; `now` (N,) the clock after the record, `high` (N,) its latest time ever; `late` (N,)
    bool; `clamped`, how many times were clamped; `set_back`, positions at which the clock was set back.
    """

    times: IntArray
    now: IntArray
    high: IntArray
    late: npt.NDArray[np.bool_]
    clamped: int
    set_back: tuple[int, ...]

    def on_time(self) -> tuple[npt.NDArray[np.bool_], Readings]:
        """Which records are not late, and the readings of these.

        Where the clock was set back moves to the next record that is left.
        """
        keep = ~self.late
        before: IntArray = np.cumsum(keep) - keep
        set_back = tuple(int(before[position]) for position in self.set_back)
        return keep, Readings(self.times[keep], self.now[keep], self.high[keep], self.late[keep], 0, set_back)


class Clock:
    """The clock of one partition.

    Parameters
    ----------
    horizon_ms : int
        How far from the clock a record's time is believed at once.
    state : ClockState, optional
        Where an earlier clock left off.

    Examples
    --------
    >>> clock = Clock(600_000, ClockState(now_ms=1_000_000))
    >>> readings = clock.read(np.array([1_000_500, 9_000_000_000, 1_000_700]))
    >>> readings.times.tolist(), readings.clamped
    ([1000500, 1000500, 1000700], 1)
    """

    def __init__(self, horizon_ms: int, state: ClockState | None = None) -> None:
        self.horizon_ms = horizon_ms
        self.state = state or ClockState()

    @property
    def started(self) -> bool:
        """Whether any record was read."""
        return self.state.now_ms is not None

    def start(self, ts_ms: int) -> None:
        """Set a clock that has read nothing yet."""
        self.state = ClockState(now_ms=ts_ms, high_ms=ts_ms)

    def read(self, ts_ms: IntArray) -> Readings:
        """Advance over the times of a batch, in log order.

        Notes
        -----
        The outcome does not depend on where the log is cut into batches. The common case, no outlier, is four array
        operations.
        """
        if not self.started and len(ts_ms):
            self.start(int(ts_ms[0]))
        assert self.state.now_ms is not None or not len(ts_ms)
        now = np.maximum.accumulate(np.concatenate(([self.state.now_ms or 0], ts_ms)))
        if (np.abs(ts_ms - now[:-1]) > self.horizon_ms).any():
            return self._read_singly(ts_ms)
        high = np.maximum(now[1:], self.state.high_ms)
        if len(ts_ms):
            self.state = ClockState(int(now[-1]), int(high[-1]))
        return Readings(ts_ms, now[1:], high, np.zeros(len(ts_ms), dtype=np.bool_), 0, ())

    def _read_singly(self, ts_ms: IntArray) -> Readings:
        times, nows = np.array(ts_ms), np.empty(len(ts_ms), dtype=np.int64)
        late = np.zeros(len(ts_ms), dtype=np.bool_)
        clamped, set_back, high_ms = 0, [], self.state.high_ms
        for i, ts in enumerate(ts_ms.tolist()):
            if self._step(ts):
                set_back.append(i)
            now = self.state.now_ms or 0
            if ts > now:
                times[i], clamped = now, clamped + 1
            late[i] = ts < now - self.horizon_ms
            nows[i] = now
        high = np.maximum.accumulate(np.maximum(nows, high_ms))
        return Readings(times, nows, high, late, clamped, tuple(set_back))

    def _step(self, ts: int) -> bool:
        """Take in one time; whether that set the clock back."""
        now_ms, high_ms, streak, nearest = self.state.now_ms or 0, *self._run()
        side = (ts > now_ms + self.horizon_ms) - (ts < now_ms - self.horizon_ms)
        if not side:
            now_ms, streak, nearest = max(now_ms, ts), 0, 0
        elif streak * side <= 0:
            streak, nearest = side, ts
        else:
            streak, nearest = streak + side, min(nearest, ts) if side > 0 else max(nearest, ts)
        moved = abs(streak) >= CONFIRMATIONS
        if moved:
            now_ms, streak, nearest = nearest, 0, 0
            if abs(ts - now_ms) <= self.horizon_ms:
                now_ms = max(now_ms, ts)
        self.state = ClockState(now_ms, max(high_ms, now_ms), streak, nearest)
        return moved and side < 0

    def _run(self) -> tuple[int, int, int]:
        return self.state.high_ms, self.state.streak, self.state.nearest_ms
