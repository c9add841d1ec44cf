"""`alice-rl verify` on a real broker and a real Redis: equal, or where the log and what is stored part."""

from __future__ import annotations

import asyncio
import hashlib
import signal
from typing import Any

import msgspec
import pytest
import redis as redis_py

from alice_rl.snapshot import keys
from tests.command_line import Line
from tests.integration.test_replay import eventually, nexts
from tests.logs import turns
from tests.services import KafkaBroker
from tests.streams import produce

SHARD = keys.shard("alice", "main", 1)


@pytest.fixture
def learned(alice: Line) -> Line:
    """A command line over 1600 turns that a worker has learned and published."""
    asyncio.run(produce(alice.settings.kafka, turns(1600, seed=2, step_ms=20_000)))  # some hours: several buckets
    with alice.start("worker") as worker:
        eventually(lambda: sum(map(int, nexts(alice, "main").values())) == 1600)
        worker.send_signal(signal.SIGTERM)
    return alice


@pytest.fixture
def client(learned: Line) -> Any:
    return redis_py.Redis.from_url(learned.settings.redis.url)


def a_bucket(client: Any) -> tuple[str, bytes]:
    """The name and bytes of a bucket of partition 1."""
    fields = {name.decode(): value for name, value in client.hgetall(SHARD).items()}
    names = sorted(name for name in fields if name.startswith("bucket:"))
    return names[1], fields[names[1]]


def test_what_was_learned_is_equal(learned: Line) -> None:
    """Checkpoints and live policy are what the log says; every partition and its offsets are told."""
    done = learned("verify", "--json")
    assert done.code == 0, done.stderr
    assert done.json["equal"] and done.json["snapshot"]["equal"]
    assert [p["equal"] for p in done.json["partitions"]] == [True, True]
    assert sum(p["records"] for p in done.json["partitions"]) == 1600
    shown = learned("verify")
    assert "Equal: what is stored is what the log says." in shown.stdout
    assert "solved from exactly" in shown.stdout


def test_one_changed_byte_is_found(learned: Line, client: Any) -> None:
    """A byte changed by hand makes it unequal, and its bucket and the offsets behind it are named."""
    name, data = a_bucket(client)
    client.hset(SHARD, name, data[:-1] + bytes([data[-1] ^ 1]))
    done = learned("verify", "--json")
    assert done.code == 1
    assert not done.json["equal"]
    parting = done.json["partitions"][1]["parting"]
    assert f"bucket:{parting['bucket']}" == name
    assert "not those that were checkpointed" in parting["what"]
    assert 0 <= parting["first"] <= parting["last"] < 1600
    shown = learned("verify", "--partition", 1)
    assert shown.code == 1
    assert "NOT equal" in shown.stdout and f"in bucket {parting['bucket']}" in shown.stdout
    assert learned("verify", "--partition", 0).code == 0


def test_sums_that_the_log_does_not_have_are_found(learned: Line, client: Any) -> None:
    """Bytes that agree with their checksum, but not with the log, are not equal either."""
    name, data = a_bucket(client)
    forged = data[:-1] + bytes([data[-1] ^ 1])
    state = msgspec.json.decode(client.hget(SHARD, "extra:state") or b"")
    state["digests"][name.removeprefix("bucket:")] = hashlib.sha256(forged).hexdigest()
    client.hset(SHARD, mapping={name: forged, "extra:state": msgspec.json.encode(state)})
    done = learned("verify", "--json")
    assert done.code == 1
    assert "not those of the log" in done.json["partitions"][1]["parting"]["what"]
    assert done.json["snapshot"]["equal"]  # it was solved before


def test_a_changed_policy_is_found(learned: Line, client: Any) -> None:
    """A live policy whose bytes were changed is not what was published."""
    version = int(client.hget(keys.head("alice"), "live") or 0)
    blob = bytes(client.get(keys.snapshot("alice", version)) or b"")
    client.set(keys.snapshot("alice", version), blob[:-1] + bytes([blob[-1] ^ 1]))
    done = learned("verify", "--json")
    assert done.code == 1
    assert done.json["snapshot"]["equal"] is False


def test_a_worker_refuses_a_damaged_checkpoint(learned: Line, client: Any) -> None:
    """Nobody learns on from sums that were changed: the worker ends, and names the bucket."""
    name, data = a_bucket(client)
    client.hset(SHARD, name, data[:-1] + bytes([data[-1] ^ 1]))
    with learned.start("worker") as worker:
        _, errors = worker.communicate(timeout=60)
    assert worker.returncode == 3
    assert f"bucket {name.removeprefix('bucket:')} does not have the bytes" in errors


def test_a_log_that_lost_its_beginning_is_verified_from_a_savepoint(learned: Line, real_kafka: KafkaBroker) -> None:
    """When retention has passed the beginning it cannot be equal, but what came after a savepoint can be."""
    assert learned("savepoint", "create", "early.savepoint").code == 0
    asyncio.run(produce(learned.settings.kafka, turns(300, seed=3, step_ms=20_000)))
    with learned.start("worker") as worker:
        eventually(lambda: sum(map(int, nexts(learned, "main").values())) == 1900)
        worker.send_signal(signal.SIGTERM)
    real_kafka.delete_records(learned.settings.kafka.topic, {0: 10, 1: 10})
    done = learned("verify")
    assert done.code == 1
    assert "begins at 10 by now" in done.stderr and "--since FILE" in done.stderr
    since = learned("verify", "--since", "early.savepoint", "--json")
    assert since.code == 0, since.stderr
    assert since.json["equal"] and since.json["snapshot"]["equal"]
    assert sum(p["records"] for p in since.json["partitions"]) < 1900


def test_what_is_not_known_is_told(learned: Line) -> None:
    """A partition or lineage without checkpoints cannot be verified."""
    unknown = learned("verify", "--partition", 7)
    assert unknown.code == 2 and "those that have one: 0, 1" in unknown.stderr
    nothing = learned("verify", "--set", "policy.lineage=other")
    assert nothing.code == 1 and "has no checkpoints" in nothing.stderr
    structure = learned("verify", "--set", "features.feature_dim=32")
    assert structure.code == 2 and "another configuration" in structure.stderr


def test_a_lost_checkpoint_is_not_equal(learned: Line, client: Any) -> None:
    """A partition whose sums are gone is not passed over."""
    client.delete(SHARD)
    done = learned("verify")
    assert done.code == 1 and "checkpoint of partition 1" in done.stderr
