"""Drift: what users get has changed, in which signal, on which arm, since when, and by how much.

    rows --thinned--> signals in [0, 1] --ADWIN--> whether the mean has moved --largest split--> since when, from what

ADWIN (Bifet and Gavalda 2007; river's) compares the means of the older and the newer part of a growing window, at
every cut. At its alarm the window still has far more rows of before than of after, so the change
is placed where the two sides differ most: the maximum likelihood cut for one change of a mean (Hinkley 1970). Whatever
that finds is advice. No policy is learned, published or judged by it.

How often it errs is measured by `make drift`: at `delta = 0.0001`, six kinds of streams of a million rows each that do
not drift raise no alarm, and a success rate that falls from .9 to .8 is told after 408 rows (median of 100 streams).

References
----------
Bifet, Gavalda 2007, "Learning from time-changing data with adaptive windowing", section 3.
Hinkley 1970, "Inference about the change-point in a sequence of random variables".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from math import expm1, log1p
from typing import NamedTuple

from river.drift import ADWIN

__all__ = ["Drift", "Drifts", "Scale"]

_MARK_ROWS = 16  # between two marks of the lowest level
_MARKS = 32  # of a level: a change is placed to a thirty-second of how long ago it was
_LEVELS = 16  # 16 * 32 * 2^15: the latest 16 million rows


class Drift(NamedTuple):
    """One change that was found.

    Attributes
    ----------
    signal : str
    arm : str or None
        None: all turns together.
    at_ms, since_ms : int
        Event times: of the row that told, and about when it began.
    before, after : float
        Means on either side of `since_ms`, in the signal's own unit.
    rows : int
        How many rows `after` is the mean of.
    """

    signal: str
    arm: str | None
    at_ms: int
    since_ms: int
    before: float
    after: float
    rows: int


class Scale(NamedTuple):
    """A signal's known bounds, which give it a place in [0, 1].

    Attributes
    ----------
    least, most : float
    logarithmic : bool
        For what is heavy-tailed and spans decades, as a latency: means are geometric ones (of `1 + value - least`).

    Examples
    --------
    >>> Scale(-1.0, 3.0).to_unit(0.0), Scale(-1.0, 3.0).from_unit(0.5)
    (0.25, 1.0)
    >>> latency = Scale(0.0, 30_000.0, logarithmic=True)
    >>> round(latency.to_unit(500.0), 2), round(latency.from_unit(latency.to_unit(500.0)), 6)
    (0.6, 500.0)
    """

    least: float
    most: float
    logarithmic: bool = False

    def to_unit(self, value: float) -> float:
        """The value's place in [0, 1]; what is beyond a bound counts as the bound."""
        above, span = min(max(value, self.least), self.most) - self.least, self.most - self.least
        if span <= 0:
            return 0.0
        return log1p(above) / log1p(span) if self.logarithmic else above / span

    def from_unit(self, unit: float) -> float:
        """The value at a place in [0, 1]."""
        span = self.most - self.least
        return self.least + (expm1(unit * log1p(span)) if self.logarithmic else unit * span)


class _Mark(NamedTuple):
    """Before a row: how many rows there were, their sum, and the row's event time."""

    rows: int
    total: float
    ts_ms: int


class _Marks:
    """Marks of a stream: closely for its latest rows, ever more widely for those before; their number is bounded."""

    def __init__(self) -> None:
        self._levels: list[deque[_Mark]] = [deque(maxlen=_MARKS) for _ in range(_LEVELS)]

    def pass_by(self, mark: _Mark) -> None:
        """Keep a mark of a multiple of `_MARK_ROWS`, on every level whose step it is on."""
        step = mark.rows // _MARK_ROWS
        for level in self._levels:
            level.append(mark)
            if step % 2:
                break
            step //= 2

    def split(self, end: _Mark) -> _Mark:
        """Where the means on either side differ the most, in standard errors."""
        marks = sorted({mark for level in self._levels for mark in level})
        start = marks[0]

        def evidence(mark: _Mark) -> float:
            n, m = mark.rows - start.rows, end.rows - mark.rows
            if not n or not m:
                return -1.0
            apart = (mark.total - start.total) / n - (end.total - mark.total) / m
            return apart**2 * n * m / (n + m)

        return max(marks, key=evidence)

    @property
    def first(self) -> _Mark:
        """The oldest mark."""
        return min(level[0] for level in self._levels if level)


class _Stream:
    """One signal of one arm."""

    def __init__(self, delta: float) -> None:
        self._adwin = ADWIN(delta=delta)
        self._marks = _Marks()
        self._rows, self._total = 0, 0.0

    def update(self, ts_ms: int, unit: float) -> tuple[_Mark, float, float, int] | None:
        """Take a row; where its mean changed, the means in [0, 1] before and after, and the rows after, if it did."""
        if self._rows % _MARK_ROWS == 0:
            self._marks.pass_by(_Mark(self._rows, self._total, ts_ms))
        self._rows, self._total = self._rows + 1, self._total + unit
        self._adwin.update(unit)
        if not self._adwin.drift_detected:
            return None
        first, split = self._marks.first, self._marks.split(_Mark(self._rows, self._total, ts_ms))
        before = (split.total - first.total) / max(1, split.rows - first.rows)
        rows = self._rows - split.rows
        after = (self._total - split.total) / rows
        self._marks, self._rows, self._total = _Marks(), 0, 0.0  # as river's ADWIN does at its next row
        return split, before, after, rows


class Drifts:
    """Detectors of every signal: one for all turns, and one per arm.

    Parameters
    ----------
    signals : mapping of str to Scale
    arms : iterable of str
        Rows of other arms count for all turns alone, so the number of detectors is bounded.
    delta : float, in (0, 1)
        ADWIN's: the smaller, the fewer false alarms, and the later true ones.
    quiet_rows : int
        A signal of an arm that was told of is not told of again within so many of its rows.

    Examples
    --------
    >>> drifts = Drifts({"success": Scale(0.0, 1.0)}, ["micro"], delta=0.002, quiet_rows=1000)
    >>> told = [d for i in range(2000) for d in drifts.take("micro", i * 1000, {"success": float(i < 1000)})]
    >>> sorted({d.arm or "all" for d in told}), 900 <= told[0].since_ms / 1000 <= 1024
    (['all', 'micro'], True)
    """

    def __init__(self, signals: Mapping[str, Scale], arms: Iterable[str], *, delta: float, quiet_rows: int) -> None:
        self._signals = dict(signals)
        self._quiet_rows = quiet_rows
        self._streams = {(name, arm): _Stream(delta) for name in signals for arm in (None, *arms)}
        self._quiet = dict.fromkeys(self._streams, 0)  # rows for which nothing is told

    def take(self, arm: str | None, ts_ms: int, values: Mapping[str, float]) -> list[Drift]:
        """Take a turn: its arm (None: it counts for all turns alone), event time and signals; what it tells."""
        found = list[Drift]()
        for name, scale in self._signals.items():
            unit = scale.to_unit(values[name])
            for of in (None,) if arm is None else (None, arm):
                drift = self._update((name, of), scale, ts_ms, unit)
                if drift is not None:
                    found.append(drift)
        return found

    def _update(self, key: tuple[str, str | None], scale: Scale, ts_ms: int, unit: float) -> Drift | None:
        stream = self._streams.get(key)
        if stream is None:
            return None
        self._quiet[key] = max(0, self._quiet[key] - 1)
        change = stream.update(ts_ms, unit)
        if change is None or self._quiet[key]:
            return None
        self._quiet[key] = self._quiet_rows
        split, before, after, rows = change
        return Drift(*key, ts_ms, split.ts_ms, scale.from_unit(before), scale.from_unit(after), rows)
