"""Drift: silent while nothing changes; a change is told once, with its place, direction and size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from alice_rl.online.drift import Drift, Drifts, Scale

DELTA = 1e-4
SUCCESS = {"success": Scale(0.0, 1.0)}
LATENCY = Scale(0.0, 30_000.0, logarithmic=True)
SECOND_MS = 1000


def successes(*stretches: tuple[int, float], seed: int = 7) -> list[float]:
    """Zeros and ones, at a rate for a number of rows, then at another."""
    rng = np.random.default_rng(seed)
    return [float(value) for rows, rate in stretches for value in rng.random(rows) < rate]


def told(values: list[float], drifts: Drifts, arm: str | None = None, start: int = 0) -> list[Drift]:
    """What a stream of one signal tells; row i has second i for its event time."""
    name = next(iter(drifts._signals))
    return [drift for i, value in enumerate(values, start) for drift in drifts.take(arm, i * SECOND_MS, {name: value})]


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.999])
def test_a_stream_that_does_not_drift_raises_no_alarm(rate: float) -> None:
    """Fifty thousand rows at one rate are told nothing of."""
    assert told(successes((50_000, rate)), Drifts(SUCCESS, [], delta=DELTA, quiet_rows=0)) == []


def test_a_heavy_tailed_stream_that_does_not_drift_raises_no_alarm() -> None:
    """A latency whose tail is a hundred times its median is told nothing of."""
    values = np.random.default_rng(7).lognormal(np.log(500.0), 1.5, 50_000).tolist()
    assert told(values, Drifts({"latency_ms": LATENCY}, [], delta=DELTA, quiet_rows=0)) == []


@pytest.mark.parametrize(("rate", "then"), [(0.9, 0.8), (0.8, 0.9)])
@pytest.mark.parametrize("calm", [3000, 40_000])
def test_a_shift_is_found_with_its_direction_and_size(rate: float, then: float, calm: int) -> None:
    """A success rate that falls or rises by .1 is told within 1,500 rows: once, since when, from what and to what."""
    found = told(successes((calm, rate), (4000, then)), Drifts(SUCCESS, [], delta=DELTA, quiet_rows=10_000))
    assert len(found) == 1
    drift = found[0]
    assert (drift.signal, drift.arm) == ("success", None)
    assert 0 < drift.at_ms - calm * SECOND_MS <= 1500 * SECOND_MS
    assert abs(drift.since_ms - calm * SECOND_MS) <= 300 * SECOND_MS
    assert drift.rows == (drift.at_ms - drift.since_ms) // SECOND_MS + 1
    assert drift.before == pytest.approx(rate, abs=0.02)
    assert drift.after == pytest.approx(then, abs=0.06)


def test_a_latency_is_told_in_its_own_unit() -> None:
    """Before and after of a latency that doubles are its geometric means, in milliseconds."""
    rng = np.random.default_rng(7)
    values = np.concatenate([rng.lognormal(np.log(median), 0.8, 4000) for median in (500.0, 1000.0)]).tolist()
    (drift,) = told(values, Drifts({"latency_ms": LATENCY}, [], delta=DELTA, quiet_rows=10_000))
    assert drift.before == pytest.approx(500.0, rel=0.1)
    assert drift.after == pytest.approx(1000.0, rel=0.15)


def test_the_arm_that_changed_is_named() -> None:
    """Where one arm of two gets worse, that arm and all turns together are told, the other arm is not."""
    drifts = Drifts(SUCCESS, ["micro", "deep"], delta=DELTA, quiet_rows=20_000)
    micro, deep = successes((3000, 0.9), (3000, 0.6)), successes((6000, 0.9), seed=8)
    found = [
        drift
        for i, pair in enumerate(zip(micro, deep, strict=True))
        for arm, value in zip(("micro", "deep"), pair, strict=True)
        for drift in drifts.take(arm, i, {"success": value})
    ]
    assert {drift.arm for drift in found} == {"micro", None}


def test_an_unknown_arm_counts_for_all_turns_alone() -> None:
    """An arm that nobody declared gets no detector of its own."""
    values = successes((3000, 0.9), (3000, 0.6))
    found = told(values, Drifts(SUCCESS, ["micro"], delta=DELTA, quiet_rows=10_000), arm="other")
    assert [drift.arm for drift in found] == [None]


def told_at(values: list[float], quiet_rows: int) -> list[tuple[int, Drift]]:
    """What a stream tells, and at which row."""
    drifts = Drifts(SUCCESS, [], delta=DELTA, quiet_rows=quiet_rows)
    return [(i, drift) for i, value in enumerate(values) for drift in drifts.take(None, i, {"success": value})]


def test_a_change_is_not_told_again_while_it_is_quiet() -> None:
    """Of shifts up and down in quick succession one is told per stretch of quiet rows."""
    values = successes(*[(1500, 0.9 - 0.4 * (i % 2)) for i in range(8)])
    often, seldom = told_at(values, 0), told_at(values, 5000)
    assert len(often) >= 7
    assert len(seldom) == 3
    assert all(b - a == 5000 for (a, _), (b, _) in itertools.pairwise(seldom))


def test_a_change_while_it_is_quiet_is_told_when_that_is_over() -> None:
    """A fall soon after a rise is told at the end of the quiet rows, and nothing after it."""
    (row, rise), (later, fall) = told_at(successes((2000, 0.6), (1500, 0.9), (12_000, 0.5)), 5000)
    assert rise.before < rise.after
    assert fall.before > fall.after
    assert later == row + 5000
    assert 3300 <= fall.since_ms <= fall.at_ms <= 3700


def test_what_is_kept_is_bounded() -> None:
    """After many rows a stream has no more marks than its levels hold, and still finds a shift."""
    drifts = Drifts(SUCCESS, [], delta=DELTA, quiet_rows=0)
    told(successes((100_000, 0.9)), drifts)
    levels = drifts._streams["success", None]._marks._levels
    assert sum(map(len, levels)) <= 16 * 32
    assert told(successes((1500, 0.7)), drifts, start=100_000)


@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_scale_keeps_to_its_bounds(logarithmic: bool) -> None:
    """What is beyond a bound counts as the bound, and a scale without a span as 0."""
    scale = Scale(-2.0, 6.0, logarithmic)
    assert [scale.to_unit(value) for value in (-9.0, -2.0, 6.0, 99.0)] == [0.0, 0.0, 1.0, 1.0]
    assert scale.from_unit(scale.to_unit(1.25)) == pytest.approx(1.25)
    assert Scale(1.0, 1.0, logarithmic).to_unit(1.0) == 0.0
