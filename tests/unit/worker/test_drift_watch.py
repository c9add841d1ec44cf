"""The watch for drift: what a shard learns goes through detectors, and what they find into the log."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
from msgspec import structs

from alice_rl.reward import RewardSettings
from alice_rl.shard import Shard
from alice_rl.snapshot.store import Store
from tests.logs import LINEAGE, START_MS, LogRecord, records, turn
from tests.unit.worker.steps import Clock, FakeConsumer, Logged
from worker.drift_settings import DriftSettings
from worker.drift_watch import DriftWatch
from worker.service import Worker
from worker.settings import Settings

Watched = Callable[..., list[Mapping[str, Any]]]

CALM, CHANGED = 2000, 1500
SETTINGS = Settings(drift=DriftSettings(rows_per_second=10_000, quiet_rows=10_000))
FIELDS = {"event", "log_level", "logger", "signal", "arm", "before", "after", "since", "at", "rows"}


def log_of(*rates: tuple[int, float], **outcome: Any) -> list[LogRecord]:
    """Turns of route micro, a second apart, at a success rate for so many of them, then at another."""
    rng, values = random.Random(7), list[dict[str, Any]]()
    for count, rate in rates:
        for _ in range(count):
            event = turn(f"t-{len(values)}", START_MS + len(values) * 1000)
            event["outcome"] |= {"success": rng.random() < rate} | outcome
            values.append(event)
    return records(values)


@pytest.fixture
def watched(logged: Logged) -> Watched:
    """What is told while a shard learns a log."""

    def told(log: list[LogRecord], settings: Settings = SETTINGS) -> list[Mapping[str, Any]]:
        shard, watch, before = Shard(LINEAGE), DriftWatch(settings), len(logged.of("drift.detected"))
        shard.watch = lambda episodes: watch.take(0, shard, episodes)
        shard.feed(log)
        return logged.of("drift.detected")[before:]

    return told


async def test_a_calm_log_is_told_nothing_of(watched: Watched) -> None:
    """Turns at one success rate raise no alarm."""
    assert watched(log_of((CALM + CHANGED, 0.9))) == []


async def test_a_change_is_told_per_arm_and_for_all_turns(watched: Watched) -> None:
    """A success rate that falls is told of the arm that was played and of all turns, with when and by how much."""
    found = [entry for entry in watched(log_of((CALM, 0.9), (CHANGED, 0.6))) if entry["signal"] == "success"]
    assert [entry["arm"] for entry in found] == [None, "micro"]
    for entry in found:
        assert entry.keys() <= FIELDS
        assert entry["log_level"] == "warning"
        assert entry["before"] == pytest.approx(0.9, abs=0.03)
        assert entry["after"] == pytest.approx(0.6, abs=0.15)
        assert "2026-01-01T00:30:00+00:00" < entry["since"] < entry["at"] < "2026-01-01T00:45:00+00:00"


async def test_a_partition_that_lags_is_no_change(logged: Logged) -> None:
    """Read one after the other, partitions that changed at the same time tell of one change, not one each."""
    settings = structs.replace(SETTINGS, drift=DriftSettings(rows_per_second=10_000, quiet_rows=0))
    watch, log = DriftWatch(settings), log_of((CALM, 0.9), (CHANGED, 0.6))
    for partition in range(2):
        shard = Shard(LINEAGE)
        shard.watch = partial(watch.take, partition, shard)
        for at in range(0, len(log), 100):
            shard.feed(log[at : at + 100])
    found = [entry for entry in logged.of("drift.detected") if entry["signal"] == "success"]
    assert [entry["arm"] for entry in found] == [None, "micro"]


async def test_hits_of_the_cache_are_no_fault_of_an_arm(watched: Watched) -> None:
    """What the cache answered counts for all turns alone, unless hits teach all."""
    log = log_of((CALM, 0.9), (CHANGED, 0.6), cache_hit=True)
    assert {entry["arm"] for entry in watched(log)} == {None}
    teaching = structs.replace(SETTINGS, worker=structs.replace(SETTINGS.worker, hits_teach_all=True))
    assert {entry["arm"] for entry in watched(log, teaching)} == {None, "micro"}


async def test_reward_has_the_weights_in_force(watched: Watched) -> None:
    """The reward that is watched is the one that policies are solved for."""
    settings = structs.replace(
        SETTINGS,
        reward=RewardSettings(
            success=10.0, tool_ok=0.0, latency_ms=0.0, cost_usd=0.0, cache_hit=0.0, guardian_flag=0.0
        ),
    )
    found = [entry for entry in watched(log_of((CALM, 0.9), (CHANGED, 0.6)), settings) if entry["signal"] == "reward"]
    assert found[0]["before"] == pytest.approx(9.0, abs=0.3)


async def test_a_torrent_is_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more turns a second are looked at than the settings say, once the rate is known."""
    clock = Clock(monkeypatch)
    watch, looked = DriftWatch(structs.replace(SETTINGS, drift=DriftSettings(rows_per_second=10))), list[Any]()

    def take(*row: Any) -> list[Any]:
        looked.append(row)
        return []

    monkeypatch.setattr(watch._drifts, "take", take)
    shard, log = Shard(LINEAGE), log_of((3000, 0.9))
    shard.watch = lambda episodes: watch.take(0, shard, episodes)
    for second in range(3):
        looked.clear()
        clock.now = 1000.0 + second
        shard.feed(log[second * 1000 : second * 1000 + 1000])
    assert len(looked) == 10


@pytest.mark.parametrize("enabled", [True, False])
async def test_the_worker_tells_and_learns_the_same(
    store: Store, settings: Settings, logged: Logged, enabled: bool
) -> None:
    """A worker tells of a change, unless it is told not to; what it learns has nothing to do with that."""
    log = log_of((CALM, 0.9), (CHANGED, 0.6))
    consumer: Any = FakeConsumer(0, end=len(log))
    worker = Worker(structs.replace(settings, drift=structs.replace(SETTINGS.drift, enabled=enabled)), consumer, store)
    await worker._assignment.settle()
    await worker._partitions.fold({0: log})
    assert bool(logged.of("drift.detected")) == enabled
    alone = Shard(settings.lineage)
    alone.feed(log)
    assert worker.holdings[0].shard.digest() == alone.digest()
