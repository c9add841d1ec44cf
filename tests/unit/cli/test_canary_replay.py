"""`alice-rl canary explain --replay`: which verdicts are reached again."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from alice_rl.errors import AliceError
from alice_rl.online.canary import Decision
from tests.canaries import ended, looks, opened, state, stories, verdict
from tests.logs import START_MS
from worker.cli.canary_record import record_of
from worker.cli.canary_replay import looks_of, reach_again
from worker.settings import Settings


def test_the_verdicts_of_steps_and_the_last_look_are_reached() -> None:
    """Where a canary ended on a verdict, that one; under way, the last that is known; each at its offsets."""
    [over] = looks_of(stories()["rolled back"])
    assert (over.what, over.minutes, over.offsets) == ("rolled_back", 6.0, {0: 6000})
    assert over.verdict.decision is Decision.ROLLBACK
    [last] = looks_of(stories()["held"])
    assert (last.what, last.minutes, last.offsets) == ("last look", 40.0, {0: 40_000})


def test_an_end_that_nobody_judged_adds_none() -> None:
    """Somebody's rollback is no verdict; the gate's last look before it is."""
    [last] = looks_of(stories()["by a person"])
    assert (last.what, last.minutes) == ("last look", 20.0)


def test_an_end_that_the_audit_has_forgotten_is_no_look() -> None:
    """What only the gate's memory knows has no offsets to be judged at; the last look has."""
    over = state(phase="ended", outcome="rolled_back", ended_ms=START_MS, verdict=asdict(verdict(Decision.ROLLBACK)))
    assert [look.what for look in looks_of(record_of(None, over, [], looks(5, -0.1)))] == ["last look"]
    assert looks_of(record_of(None, over, [], [])) == []


def test_a_pair_that_nobody_knows_cannot_be_reached() -> None:
    """Without the digest of the version it was compared with, the log's trials cannot be told apart."""
    moves = [entry for entry in opened() if entry.kind != "publish"]
    record = record_of(42, None, [*moves, ended(6, "rolled_back", verdict(Decision.ROLLBACK))], [])
    with pytest.raises(AliceError, match="which policies were compared"):
        reach_again(Settings(), record, [], None, 1)
