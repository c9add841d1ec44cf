"""The demonstration of drift, small: forgetting pays when the world changes, and the change is told."""

from __future__ import annotations

import numpy as np

from tests.drift_demo.alarms import CALM, SHIFTS, alarms, found
from tests.drift_demo.loop import Plan, play
from tests.drift_demo.recovery import recovery_of

PLAN = Plan(turns=12_000, drift_at=6_000, seed=8, turns_per_week=4_000)
DELTA = 1e-4


def test_policies_that_forget_recover_sooner() -> None:
    """After the world has changed, a half-life of half a week is back long before a policy that forgets nothing."""
    keeping, forgetting = play(PLAN, None), play(PLAN, 84.0)
    kept, forgot = recovery_of(keeping.ledger, PLAN), recovery_of(forgetting.ledger, PLAN)
    for recovery in (kept, forgot):
        assert recovery.best_before - recovery.before < 0.3
        assert recovery.after < recovery.before - 0.1  # the drift hurts
        assert recovery.end > recovery.after + 0.04
    assert forgot.turns is not None and forgot.turns <= 5000
    assert kept.turns is None or kept.turns >= forgot.turns + 600
    told = [drift for drift in keeping.drifts if keeping.turn_of(drift.at_ms) >= PLAN.drift_at]
    assert told and all(drift.arm in (None, "micro", "planner", "deep") for drift in told)
    assert abs(keeping.turn_of(told[0].since_ms) - PLAN.drift_at) <= 1500


def test_calm_streams_raise_no_alarm_and_shifts_are_told() -> None:
    """No kind of stream alarms without a drift, and each kind of shift is found, most within two thousand rows."""
    assert {stream.name: alarms(stream, 20_000, DELTA, seed=7) for stream in CALM} == {s.name: 0 for s in CALM}
    results = {shift.name: found(shift, 10, 3000, 5000, DELTA, seed=7) for shift in SHIFTS}
    assert min(result.share for result in results.values()) >= 0.6
    assert results["success .9 to .8"].share == 1.0
    assert results["success .9 to .8"].rows_p95 <= 1500
    assert np.median([result.rows_median for result in results.values()]) <= 2500
