"""`alice-rl canary` beside a real broker, a real Redis and a worker that keeps the gate."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from alice_rl.events import Decision
from alice_rl.shard import Shard
from alice_rl.snapshot import PolicyClient, digest, keys, pack
from alice_rl.snapshot.records import Publication
from alice_rl.snapshot.store import Store
from alice_rl.telemetry import Emitter
from tests.command_line import Line
from tests.conftest import MakeTopic
from tests.logs import START_MS, records, turn
from tests.services import KafkaBroker, MockBroker
from tests.stage import Stage, Users
from tests.streams import running
from worker.settings import Settings
from worker.solver import Taught, solve_policy


def breaking(decision: Decision, luck: random.Random) -> dict[str, Any]:
    """Users for whom whatever the canary serves fails, as with a tool that its release has broken."""
    fine = decision.policy.stage != "canary"
    return {"success": fine and luck.random() < 0.8, "tool_ok": fine, "latency_ms": 300.0, "cost_usd": 0.001}


def deep_fails(decision: Decision, luck: random.Random) -> dict[str, Any]:
    """Users for whom deep takes long and fails."""
    deep = decision.route is not None and decision.route.arm == "deep"
    return {"success": luck.random() < 0.9 and not deep, "latency_ms": 5000.0 if deep else 300.0}


def losing(decision: Decision, luck: random.Random) -> dict[str, Any] | None:
    """Users whose failures nobody tells of, where the canary has served them."""
    success = luck.random() < 0.5
    lost = decision.policy.stage == "canary" and not success
    return None if lost else {"success": success, "tool_ok": True, "latency_ms": 300.0, "cost_usd": 0.001}


@pytest.fixture
def line(
    redis_url: str,
    kafka: KafkaBroker | MockBroker,
    make_topic: MakeTopic,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Line:
    """The command line over a gate that is quick."""
    monkeypatch.chdir(tmp_path)
    made = Line(redis_url, kafka.bootstrap, make_topic(2), tmp_path)
    made.flags |= {
        "join.horizon_seconds": "2",
        "canary.cold_start_episodes": "200",
        "canary.shares": "0.25,0.5",
        "canary.shadow_minutes": "0.1",
        "canary.step_requests": "100000",
        "canary.stable_minutes": "0.5",
        "canary.episodes_min": "20",
        "canary.min_policy_value": "none",
        "canary.max_variance": "none",
        "canary.look_seconds": "0.05",
        "worker.checkpoint_interval_seconds": "0.1",
        "worker.publish_interval_seconds": "0.1",
    }
    return made


async def play(line: Line, users: Users) -> int:
    """Play turns until a canary has ended; its version."""
    settings = line.settings
    async with running(settings) as worker, Emitter(settings.kafka) as emitter:
        client = PolicyClient.from_url(settings.redis.url, arms=settings.lineage.arms, poll_seconds=0.05)
        try:
            await Stage(client, emitter, worker, users).play_until(lambda: ended(settings.redis.url))
        finally:
            client.close()
    version = ended(settings.redis.url)
    assert version is not None
    return version


def ended(url: str) -> int | None:
    """The version that the audit says was promoted or taken back; another one may have been opened since."""
    with redis_py.Redis.from_url(url, decode_responses=True) as client:
        entries: Any = client.xrange(keys.history("alice"))
    for _, fields in entries:
        if fields["kind"] == "rollback" or (fields["kind"] == "promote" and fields["stage"] == "prod"):
            return int(fields.get("version") or fields["from"])
    return None


def test_before_anything_was_published_there_is_no_story(alice: Line) -> None:
    """An empty Redis has a gate that waits, and no canary to explain."""
    status = alice("canary", "status", "--json")
    assert status.code == 0, status.stderr
    assert (status.json["phase"], status.json["live"]) == ("none", None)
    told = alice("canary", "explain", "--json")
    assert (told.code, told.json["error"]["code"]) == (1, "no_canary")


def test_a_broken_canary_is_told_and_its_verdicts_are_reached_again(line: Line) -> None:
    """A canary that fails is rolled back; its story says so, and the log gives the same verdict at the same offsets."""
    asyncio.run(play(line, breaking))
    status = line("canary", "status", "--json")
    assert status.code == 0, status.stderr
    assert (status.json["phase"], status.json["last"]["outcome"]) == ("none", "rolled_back")
    assert "Cooling down" in status.json["why"] and status.json["next_after_ms"] is not None
    told = line("canary", "explain", "--json", "--plot", "canary.svg", "--replay")
    assert told.code == 0, told.stderr
    assert "was rolled back" in told.json["headline"]
    assert "<svg" in (line.folder / "canary.svg").read_text()
    assert told.json["equal"] and told.json["not_replayed"] == 0
    last = told.json["replayed"][-1]
    assert (last["look"]["what"], last["verdict"]["decision"], last["parts"]) == ("rolled_back", "ROLLBACK", [])
    assert sum(last["look"]["offsets"].values()) > 400
    assert line("savepoint", "create", "late.savepoint").code == 0
    late = line("canary", "explain", "--replay", "--since", "late.savepoint", "--json")
    assert (late.code, late.json["error"]["code"]) == (1, "savepoint_too_late")


def test_other_rules_part_and_a_snapshot_that_expired_does_not(line: Line) -> None:
    """A replay that comes out otherwise is exit code 1 and says in what; a snapshot that has expired is not needed."""
    version = asyncio.run(play(line, breaking))
    otherwise = line("canary", "explain", "--json", "--replay", "--set", "canary.alpha=0.000000001")
    assert otherwise.code == 1 and not otherwise.json["equal"]
    assert otherwise.json["replayed"][-1]["parts"][0] == "decision"
    with redis_py.Redis.from_url(line.settings.redis.url) as client:
        assert client.delete(keys.snapshot("alice", version)) == 1
    shown = line("canary", "explain", version, "--replay")
    assert shown.code == 0, shown.stderr
    assert "Equal: the log gives the same verdicts at the same offsets." in shown.stdout


def test_a_lossy_stream_is_told_to_be_void(line: Line) -> None:
    """Where the canary's failures are not logged, its trial is void, and the story says whose outcomes are missing."""
    asyncio.run(play(line, losing))
    told = line("canary", "explain", "--replay")
    assert told.code == 0, told.stderr
    assert "its trial was void" in " ".join(told.stdout.split())
    assert "So the canary's outcomes are missing" in " ".join(told.stdout.split())
    assert line("canary", "status", "--json").json["last"]["outcome"] == "invalid"


def test_a_promoted_canary_is_told_step_by_step(line: Line) -> None:
    """A better canary is given its share and then goes live; every step's verdict comes out of the log again."""
    line.flags |= {"canary.cold_start_episodes": "0", "canary.step_requests": "300", "canary.step_minutes": "0.1"}
    line.flags |= {"canary.stable_minutes": "0.2"}
    asyncio.run(publish_in_error(line.settings))
    version = asyncio.run(play(line, deep_fails))
    told = line("canary", "explain", version, "--json", "--replay")
    assert told.code == 0, told.stderr
    assert "was promoted" in told.json["headline"]
    steps = [step["what"] for step in told.json["record"]["steps"]]
    assert (steps[0], set(steps[1:-1]), steps[-1]) == ("opened", {"share"}, "promoted")
    assert told.json["replayed"][-1]["verdict"]["decision"] == "PROMOTE"
    assert told.json["record"]["live_version"] == 1


async def publish_in_error(settings: Settings) -> None:
    """Make a policy live that believes in deep."""
    shard = Shard(settings.lineage)
    fine = {"ts_ms": START_MS + 40, "cost_usd": 0.0, "cache_hit": False, "guardian_flag": False}
    for i in range(300):
        arm = ("deep", "micro", "planner")[i % 3]
        ended = fine | {"success": arm == "deep", "latency_ms": 300.0 if arm == "deep" else 20_000.0}
        route = {"arm": arm, "p": 0.33, "available": ["micro", "planner", "deep"]}
        shard.feed(records([turn(f"t-{i}", outcome=ended, route=route)], first=i))
    blob = pack(solve_policy({0: Taught.of(shard)}, settings, version=1))
    store = Store.from_settings(settings.redis)
    await store.declare_lineage("main", settings.lineage.fingerprint, settings.lineage.to_json())
    await store.activate_lineage("main")
    await store.publish(Publication(expected_seq=0, lineage="main", offsets={}, digest=digest(blob), blob=blob))
    await store.close()
