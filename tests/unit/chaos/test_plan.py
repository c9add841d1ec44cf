"""The plan of a chaos run."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.chaos.plan import DECK, KAFKA_RESTARTS_MAX, SESSION_SECONDS, Fault, plan

SEEDS = range(20)


def test_seed_fixes_the_plan() -> None:
    """One seed is one plan, and another seed another one."""
    assert plan(1, 120) == plan(1, 120)
    assert plan(1, 120) != plan(2, 120)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_is_mended_in_time(seed: int) -> None:
    """Every fault begins after the start, in order, and is mended before the end."""
    faults = plan(seed, 60)
    assert all(earlier.at <= later.at for earlier, later in pairwise(faults))
    assert all(fault.at >= 0 and fault.at + fault.seconds < 60 for fault in faults)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_target_has_one_fault_at_a_time(seed: int) -> None:
    """Nothing is killed while it is frozen, so that each fault is mended by whoever caused it."""
    by_target: dict[str, list[Fault]] = {}
    for fault in plan(seed, 300):
        by_target.setdefault(fault.target, []).append(fault)
    for faults in by_target.values():
        assert all(earlier.at + earlier.seconds < later.at for earlier, later in pairwise(faults))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_kind_comes_and_kafka_seldom(seed: int) -> None:
    """Five minutes bring every kind of fault, and the broker's restart twice at most."""
    kinds = [fault.kind for fault in plan(seed, 300)]
    assert set(kinds) == set(DECK)
    assert kinds.count("restart_kafka") <= KAFKA_RESTARTS_MAX


def test_frozen_workers_lose_their_session() -> None:
    """A freeze outlasts the session timeout: whoever wakes up is a zombie."""
    frozen = [fault for fault in plan(3, 600) if fault.kind == "freeze_worker"]
    assert frozen
    assert all(fault.seconds > SESSION_SECONDS for fault in frozen)
