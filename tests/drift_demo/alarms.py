"""How often the detectors err on streams whose truth is known, and how late they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from alice_rl.online.drift import Drift, Drifts, Scale

__all__ = ["CALM", "SHIFTS", "Calm", "Found", "Shift", "alarms", "found"]

Draw = Callable[[np.random.Generator, int], npt.NDArray[np.float64]]

_SUCCESS = Scale(0.0, 1.0)
_LATENCY = Scale(0.0, 30_000.0, logarithmic=True)
_REWARD = Scale(-31.2, 3.4)  # of the balanced weights and the bounds of config.toml


def _successes(rate: float) -> Draw:
    return lambda rng, rows: (rng.random(rows) < rate).astype(np.float64)


def _latencies(median_ms: float, sigma: float) -> Draw:
    return lambda rng, rows: rng.lognormal(np.log(median_ms), sigma, rows)


def _rewards(rate: float) -> Draw:
    def draw(rng: np.random.Generator, rows: int) -> npt.NDArray[np.float64]:
        success, latency = _successes(rate)(rng, rows), _latencies(500.0, 0.8)(rng, rows)
        return 2.0 * success + 1.0 * _successes(0.8)(rng, rows) - 0.001 * np.minimum(latency, 30_000.0)

    return draw


class Calm(NamedTuple):
    """A stream that does not drift."""

    name: str
    scale: Scale
    draw: Draw


class Shift(NamedTuple):
    """A stream whose mean moves at once, after many rows."""

    name: str
    scale: Scale
    before: Draw
    after: Draw


class Found(NamedTuple):
    """How shifts were found: the share of them, and of those, the median and the 95th percentile of rows."""

    share: float
    rows_median: float
    rows_p95: float


CALM = (
    Calm("success .5", _SUCCESS, _successes(0.5)),
    Calm("success .9", _SUCCESS, _successes(0.9)),
    Calm("success .999", _SUCCESS, _successes(0.999)),
    Calm("latency, median 500 ms, p99 3.2 s", _LATENCY, _latencies(500.0, 0.8)),
    Calm("latency, median 500 ms, p99 16 s", _LATENCY, _latencies(500.0, 1.5)),
    Calm("reward", _REWARD, _rewards(0.9)),
)

SHIFTS = (
    Shift("success .9 to .8", _SUCCESS, _successes(0.9), _successes(0.8)),
    Shift("success .9 to .85", _SUCCESS, _successes(0.9), _successes(0.85)),
    Shift("success .8 to .9", _SUCCESS, _successes(0.8), _successes(0.9)),
    Shift("latency, median 500 to 600 ms", _LATENCY, _latencies(500.0, 0.8), _latencies(600.0, 0.8)),
    Shift("reward, success .9 to .7", _REWARD, _rewards(0.9), _rewards(0.7)),
)


def alarms(calm: Calm, rows: int, delta: float, seed: int) -> int:
    """How many alarms a stream that does not drift raises, none of them kept quiet."""
    values = calm.draw(np.random.default_rng(seed), rows).tolist()
    return len(_told(values, calm.scale, delta))


def found(shift: Shift, runs: int, calm_rows: int, rows_max: int, delta: float, seed: int) -> Found:
    """How soon a shift after `calm_rows` is told, of so many streams."""
    late = list[int]()
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        values = [*shift.before(rng, calm_rows).tolist(), *shift.after(rng, rows_max).tolist()]
        told = [drift.at_ms - calm_rows + 1 for drift in _told(values, shift.scale, delta)]
        late += [rows for rows in told if rows > 0][:1]
    if not late:
        return Found(0.0, np.nan, np.nan)
    return Found(len(late) / runs, float(np.median(late)), float(np.quantile(late, 0.95)))


def _told(values: list[float], scale: Scale, delta: float) -> list[Drift]:
    """What a stream tells; the row's number stands for its time."""
    drifts = Drifts({"signal": scale}, (), delta=delta, quiet_rows=0)
    return [drift for row, value in enumerate(values) for drift in drifts.take(None, row, {"signal": value})]
