"""The log's clock: what moves it and what does not."""

from __future__ import annotations

import numpy as np

from alice_rl.clock import CONFIRMATIONS, Clock, ClockState
from tests.logs import START_MS

HORIZON = 600_000
YEAR_2099 = 4_070_908_800_000


def clock() -> Clock:
    return Clock(HORIZON, ClockState(now_ms=START_MS))


def test_disorder_within_the_horizon_is_kept() -> None:
    """Times within the horizon are used as they are, and the clock never goes back for them."""
    readings = clock().read(np.array([START_MS + 5000, START_MS - 1000, START_MS + 4000]))
    assert readings.times.tolist() == [START_MS + 5000, START_MS - 1000, START_MS + 4000]
    assert readings.now.tolist() == [START_MS + 5000] * 3
    assert not readings.late.any()


def test_one_future_time_is_clamped() -> None:
    """A timestamp of the year 2099 moves nothing: its record is placed at the clock."""
    readings = clock().read(np.array([YEAR_2099, START_MS + 1000]))
    assert readings.times.tolist() == [START_MS, START_MS + 1000]
    assert readings.clamped == 1


def test_one_bad_clock_among_many_never_wins() -> None:
    """Every other record from a bad clock still moves nothing, however many there are."""
    good = START_MS + 1000 * np.arange(500)
    mixed = np.ravel(np.column_stack([good, np.full(500, YEAR_2099)]))
    readings = clock().read(mixed)
    assert readings.now[-1] == good[-1]
    assert not readings.late.any()


def test_late_records_are_told() -> None:
    """A record further behind than the horizon is late."""
    assert clock().read(np.array([START_MS - HORIZON - 1, START_MS - HORIZON])).late.tolist() == [True, False]


def test_a_silent_night_is_crossed() -> None:
    """When enough records in a row agree that it is later, it is: the clock moves to the earliest of them."""
    morning = START_MS + 8 * 3_600_000 + 1000 * np.arange(CONFIRMATIONS + 2)
    readings = clock().read(morning)
    assert readings.times[: CONFIRMATIONS - 1].tolist() == [START_MS] * (CONFIRMATIONS - 1)
    assert readings.times[CONFIRMATIONS - 1 :].tolist() == morning[CONFIRMATIONS - 1 :].tolist()


def test_a_wrong_clock_is_set_back() -> None:
    """A log whose first record came from 2099 finds its way back, and says where."""
    wrong = Clock(HORIZON, ClockState(now_ms=YEAR_2099))
    readings = wrong.read(START_MS + 1000 * np.arange(CONFIRMATIONS + 1))
    assert readings.set_back == (CONFIRMATIONS - 1,)
    assert readings.late.tolist() == [True] * (CONFIRMATIONS - 1) + [False, False]
    assert wrong.state.now_ms == START_MS + 1000 * CONFIRMATIONS
