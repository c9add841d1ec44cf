"""The windows: a fair, bounded sample of the latest turns, and estimates on those that a policy has not seen."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from msgspec import structs

from alice_rl.episodes import Episode
from alice_rl.events import Decision, Turn
from alice_rl.shard import Shard
from alice_rl.snapshot.format import digest, pack
from alice_rl.snapshot.policy import Policy
from tests.logs import LINEAGE, START_MS, TOOLS, records, turn, turns
from tests.snapshots import make_snapshot
from tests.unit.worker.steps import Clock, Logged
from worker.canary_settings import CanarySettings
from worker.known_policies import Known, Standing
from worker.settings import Settings
from worker.window_estimate import estimated
from worker.windows import Sample, Windows


def fed(sample: Sample, count: int, *, seed: int = 1, partition: int = 0) -> Shard:
    """A shard that has learned a log of turns before the sample's eyes."""
    shard = Shard(LINEAGE)
    shard.watch = lambda episodes: sample.take(partition, shard, episodes)
    shard.feed(turns(count, seed=seed))
    return shard


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is thinned out."""
    monkeypatch.setattr("worker.windows._KEPT_PER_SECOND", 100_000)


async def test_little_traffic_is_kept_whole() -> None:
    """Below 200 turns a second nothing is left out."""
    sample = Sample(1000)
    fed(sample, 150)
    assert len(sample.since(0, {})) == 150


async def test_much_traffic_is_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """About 200 turns a second are kept, evenly spread once the rate is known; the memory is bounded."""
    clock = Clock(monkeypatch)
    clock.now = 1000.0
    sample = Sample(500)
    shard = Shard(LINEAGE)
    shard.watch = lambda episodes: sample.take(0, shard, episodes)
    log = turns(8000)
    for second in range(4):
        clock.now = 1000.0 + second
        for part in range(4):
            at = second * 2000 + part * 500
            shard.feed(log[at : at + 500])
    rows = sample.since(0, {})
    assert len(rows) == 500
    times = [row.episode[1] for row in rows if row.episode[1] >= START_MS + 6000 * 1000]
    assert len(times) == 200
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {10_000}


async def test_a_burst_is_thinned_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within one second ever fewer are kept of ever more."""
    Clock(monkeypatch)
    sample = Sample(100_000)
    fed(sample, 20_000)
    assert 500 < len(sample.since(0, {})) < 3000


@pytest.mark.usefixtures("whole")
async def test_what_a_policy_has_learned_from_is_left_out() -> None:
    """Per partition, only turns after the as-of offset count as unseen; and only those of the window."""
    sample = Sample(5000)
    fed(sample, 400)
    fed(sample, 400, seed=2, partition=3)
    assert len(sample.since(0, {0: 384})) == 400 + 16
    assert len(sample.since(0, {0: 400, 3: 400})) == 0
    assert len(sample.since(START_MS + 390_000, {3: 400})) == 10


def known(seed: int, **manifest: Any) -> Known:
    """A policy over the arms of the tests' logs."""
    snapshot = make_snapshot(seed, arms=LINEAGE.arms, intents=("weather", "code"), **manifest)
    return Known(seed, digest(pack(snapshot)), snapshot, Policy(snapshot))


async def evaluated(windows: Windows, standing: Standing) -> None:
    """Let an evaluation begin, and wait for its end."""
    windows.evaluate_when_due(standing, START_MS + 600_000)
    assert windows._task is not None
    await windows._task


@pytest.fixture
async def windows(settings: Settings, whole: None) -> Windows:
    """Windows that have seen 600 turns."""
    made = Windows(structs.replace(settings, canary=CanarySettings(episodes_min=100)))
    fed(made.sample, 600)
    return made


async def test_canary_live_and_rules_are_estimated_on_the_same_turns(windows: Windows, logged: Logged) -> None:
    """All three on the turns that the canary has not seen, each with a line in the log."""
    assert LINEAGE.arms.tool == TOOLS
    canary = known(3, offsets={0: 384})
    await evaluated(windows, Standing(known(1), canary, None))
    found = windows.estimates_of(canary.digest)
    assert {name: estimate.episodes for name, estimate in found.items()} == {"canary": 216, "live": 216, "rules": 216}
    assert all(estimate.value is not None for estimate in found.values())
    assert windows.estimates_of("another") == {}
    lines = logged.of("window.evaluated")
    assert [(line["policy"], line["version"], line["episodes"]) for line in lines] == [
        ("canary", 3, 216),
        ("live", 1, 216),
        ("rules", None, 216),
    ]


@pytest.mark.usefixtures("whole")
async def test_a_candidate_stays_in_view_until_enough_is_known(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer one would have to wait just as long; once it is estimated, the newest comes into view."""
    clock = Clock(monkeypatch)
    windows = Windows(structs.replace(settings, canary=CanarySettings(episodes_min=100, min_policy_value=None)))
    live, first = known(1), known(2, offsets={0: 384})
    fed(windows.sample, 400)
    windows.evaluate_when_due(Standing(live, None, first), START_MS)
    assert (windows.complaint(), windows.due) == ("", False)
    clock.now += 10
    fed(windows.sample, 600, seed=5)
    windows.evaluate_when_due(Standing(live, None, known(3)), START_MS + 600_000)
    assert windows._task is not None
    await windows._task
    assert "candidate" in windows.estimates_of(first.digest)


async def test_a_bad_candidate_is_complained_of(windows: Windows, settings: Settings) -> None:
    """What fails a quality gate says which one."""
    strict = Windows(structs.replace(settings, canary=CanarySettings(episodes_min=100, min_policy_value=99.0)))
    fed(strict.sample, 600)
    for made, words in ((windows, ""), (strict, "min_policy_value = 99")):
        await evaluated(made, Standing(known(1), None, known(2, offsets={0: 0})))
        assert words in made.complaint()
        assert bool(words) == bool(made.complaint())


async def test_evaluation_gives_the_loop_back(windows: Windows) -> None:
    """Others come to their turn many times while the window is evaluated."""
    windows.evaluate_when_due(Standing(known(1), known(3, offsets={0: 0}), None), START_MS)
    assert windows._task is not None
    turns_taken = 0
    while not windows._task.done():
        turns_taken += 1
        await asyncio.sleep(0)
    assert turns_taken > 20


async def test_a_bug_in_it_is_the_workers(windows: Windows, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong in the background is raised at the next look."""

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(windows, "_evaluate", broken)
    standing = Standing(known(1), known(3, offsets={0: 0}), None)
    windows.evaluate_when_due(standing, START_MS)
    await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError):
        windows.evaluate_when_due(standing, START_MS)


@pytest.mark.parametrize(("served", "supported"), [(1.0, False), (0.34, True)])
async def test_only_what_chance_cannot_do_is_doubted(settings: Settings, served: float, supported: bool) -> None:
    """Weights that are small because the policies disagree are no proof; a logger that never explores is one."""
    log = [
        turn(f"d-{i}", START_MS + i, route={"arm": "micro", "p": served, "available": ["micro"]}) for i in range(300)
    ]
    rare = turn("rare", START_MS + 300, route={"arm": "deep", "p": 0.005, "available": ["micro", "deep"]})
    shard, seen = Shard(LINEAGE), list[Episode]()
    shard.watch = seen.extend
    slots = dict.fromkeys(("tool", "cache"))
    shard.feed(records([event | slots for event in (*log, *([rare] if supported else []))]))
    found = await estimated(seen, Disagreeing(), settings.reward)
    assert found.mean_weight is not None
    assert found.mean_weight < 0.1
    assert found.supported is supported


class Disagreeing:
    """A policy that would hardly ever have done what was done."""

    def probability(self, decision: Decision | Turn) -> float:
        return 0.01

    def routes(self, decision: Decision | Turn) -> dict[str, float]:
        return {"micro": 0.01, "deep": 0.99}
