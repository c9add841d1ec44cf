"""The gate on real services: a client is served by live and canary, and users decide by what happens to them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from alice_rl.episodes import JoinSettings
from alice_rl.errors import DependencyError
from alice_rl.events import Decision
from alice_rl.shard import Shard
from alice_rl.snapshot import PolicyClient, digest, pack
from alice_rl.snapshot.canary_state import CanaryState
from alice_rl.snapshot.records import Publication
from alice_rl.snapshot.store import Store
from alice_rl.telemetry import Emitter
from tests.integration.conftest import MakeSettings
from tests.logs import START_MS, records, turn
from tests.stage import Stage
from tests.streams import eventually, running
from worker.canary_settings import CanarySettings
from worker.service import Worker
from worker.settings import Settings
from worker.solver import Taught, solve_policy

ROUTES = [{"arm": arm, "p": 0.33, "available": ["micro", "planner", "deep"]} for arm in ("deep", "micro", "planner")]
# Minutes of event time as short as the stage's turns allow: twenty a second, six hundred in half a minute.
QUICK = CanarySettings(
    cold_start_episodes=0,
    shadow_minutes=0.1,
    step_minutes=0.1,
    step_requests=300,
    stable_minutes=0.2,
    cooldown_minutes=600.0,
    episodes_min=50,
    min_policy_value=None,
    max_variance=None,
    look_seconds=0.05,
)


class Played(Stage):
    """The stage, and what lies behind it."""

    store: Store
    client: PolicyClient
    worker: Worker

    async def follow(self, worker: Worker) -> None:
        """Wait for another worker from here on, once it has read all that was played so far."""
        await eventually(lambda: sum(holding.shard.next for holding in worker.holdings.values()) == self._events)
        self.worker = self._worker = worker
        self._events = worker.counts["records"]

    @property
    def state(self) -> CanaryState | None:
        """How the canary stands."""
        return self.worker.gatekeeper.state

    async def until_serving(self) -> CanaryState:
        """Play until a canary serves somebody."""
        await self.play_until(lambda: self.served["canary"])
        assert self.state is not None
        return self.state

    async def until_ended(self) -> CanaryState:
        """Play until a canary has ended."""
        await self.play_until(lambda: self.state is not None and self.state.phase == "ended")
        assert self.state is not None
        return self.state


@asynccontextmanager
async def played(settings: Settings) -> AsyncIterator[Played]:
    """A stage on which the live policy is in error."""
    store = Store.from_settings(settings.redis)
    async with running(settings) as worker, Emitter(settings.kafka) as emitter:
        with PolicyClient.from_url(settings.redis.url, poll_seconds=0.05) as client:
            stage = Played(client, emitter, worker, deep_is_bad)
            stage.store, stage.client, stage.worker = store, client, worker
            yield stage
    await store.close()


@pytest.fixture
async def gated(make_settings: MakeSettings) -> Settings:
    """Settings of a fresh deployment with a quick gate, where a policy is live that believes in deep."""
    settings = make_settings(partitions=2, join=JoinSettings(horizon_seconds=2), canary=QUICK)
    log = records([turn(f"t-{i}", outcome=praise(deep=i % 3 == 0), route=ROUTES[i % 3]) for i in range(300)])
    shard = Shard(settings.lineage)
    shard.feed(log)
    blob = pack(solve_policy({0: Taught.of(shard)}, settings, version=1))
    store = Store.from_settings(settings.redis)
    await store.declare_lineage("main", settings.lineage.fingerprint, settings.lineage.to_json())
    await store.activate_lineage("main")
    published = await store.publish(
        Publication(expected_seq=0, lineage="main", offsets={}, digest=digest(blob), blob=blob)
    )
    await store.close()
    assert published.live
    return settings


def praise(*, deep: bool) -> dict[str, object]:
    """What became of a turn where deep is by far the best."""
    return {
        "ts_ms": START_MS + 40,
        "success": deep,
        "latency_ms": 300.0 if deep else 20_000.0,
        "cost_usd": 0.0,
        "cache_hit": False,
        "guardian_flag": False,
    }


def deep_is_bad(decision: Decision, luck: random.Random) -> dict[str, object] | None:
    """Deep takes long and fails, whatever the live policy believes of it."""
    deep = decision.route is not None and decision.route.arm == "deep"
    return {"success": luck.random() < 0.9 and not deep, "latency_ms": 5000.0 if deep else 300.0}


def all_the_same(decision: Decision, luck: random.Random) -> dict[str, object] | None:
    """Whatever is decided, every other turn succeeds."""
    return {"success": luck.random() < 0.5, "latency_ms": 300.0, "tool_ok": True}


def canary_is_broken(decision: Decision, luck: random.Random) -> dict[str, object] | None:
    """What the canary calls fails."""
    if decision.policy.stage == "canary":
        return {"success": False, "latency_ms": 9000.0, "tool_ok": False}
    return all_the_same(decision, luck)


def canarys_failures_are_lost(decision: Decision, luck: random.Random) -> dict[str, object] | None:
    """The canary fails, and of its failures nobody hears."""
    return None if decision.policy.stage == "canary" and luck.random() < 0.8 else all_the_same(decision, luck)


async def test_a_better_candidate_is_promoted(gated: Settings) -> None:
    """What has learned that live is in error is opened as a shadow, serves a share, and goes live by itself."""
    async with played(gated) as stage:
        await stage.play_until(lambda: stage.state is not None)
        assert stage.state is not None
        assert (stage.state.phase, stage.state.share) == ("shadow", 0.0)
        ended = await stage.until_ended()
        head = await stage.store.read_head()
        assert ended.outcome == "promoted", ended.reason
        assert (head.live, head.previous, head.canary) == (ended.version, 1, None)
        audit = (await stage.store.history(1000))[::-1]
        steps = [(e.kind, e.fields["stage"], e.fields["share"]) for e in audit if e.kind != "publish"]
        assert steps[:2] == [("promote", "canary", "0.0"), ("promote", "canary", "0.05")]
        assert steps[-1][:2] == ("promote", "prod")
        points = await stage.store.canary_points()
        assert points[-1].verdict["decision"] == "PROMOTE"
        assert ended.window is not None
        assert ended.window.keys() == {"canary", "live", "rules"}


async def test_a_broken_canary_is_rolled_back_and_users_are_rid_of_it(gated: Settings) -> None:
    """Its arms are no worse, but what it calls fails: it goes by itself, and the client serves it no more."""
    async with played(gated) as stage:
        stage.users = canary_is_broken
        serving = await stage.until_serving()
        ended = await stage.until_ended()
        assert ended.outcome == "rolled_back", ended.reason
        assert (ended.version, ended.refused) == (serving.version, (serving.digest,))
        assert (await stage.store.read_head()).live == serving.live_version
        await eventually(lambda: stage.client.stats()["canary_version"] is None)
        before = stage.served["canary"]
        await stage.play(500)
        assert stage.served["canary"] == before


async def test_a_trial_that_loses_outcomes_is_void(gated: Settings) -> None:
    """Where the canary's outcomes do not come, nothing is concluded from those that do."""
    async with played(gated) as stage:
        stage.users = canarys_failures_are_lost
        assert (await stage.until_ended()).outcome == "invalid"


async def test_a_death_between_head_and_state_is_mended(gated: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time that the head was moved, Redis is away before the state is written: the canary still gets through."""
    async with played(gated) as stage:
        write, lost = Store.write_canary, list[str]()

        async def sometimes(store: Store, state: CanaryState) -> None:
            step = f"{state.phase} {state.share}"
            if step not in lost:
                lost.append(step)
                raise DependencyError("gone", code="redis_unreachable")
            await write(store, state)

        monkeypatch.setattr(Store, "write_canary", sometimes)
        ended = await stage.until_ended()
        assert ended.outcome == "promoted", ended.reason
        assert lost[:2] == ["shadow 0.0", "trial 0.05"]
        requests = [entry.fields["request"] for entry in await stage.store.history(1000) if entry.kind != "publish"]
        assert len(requests) == len(set(requests))


async def test_another_worker_takes_the_gate_over(gated: Settings) -> None:
    """The worker that looked ends in the middle of a trial; who publishes from then on carries it to its end."""
    async with played(gated) as stage:
        serving = await stage.until_serving()
        first, store = stage.worker, stage.store
        async with running(gated) as second:
            await eventually(lambda: len(first.holdings) == len(second.holdings) == 1)
            first.stop()
            await stage.follow(second)
            await stage.play_until(lambda: second.gatekeeper.state is not None)
            ended = await stage.until_ended()
            assert (ended.version, ended.outcome) == (serving.version, "promoted"), ended.reason
            assert (await store.read_head()).live == serving.version
