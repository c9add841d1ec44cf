"""What other workers have taught, out of their checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from alice_rl.snapshot import keys
from alice_rl.snapshot.store import Store
from tests.logs import START_MS, records, turn, turns
from tests.unit.worker.steps import Logged, makes_checkpoints, taught
from worker.checkpoint import Checkpoints
from worker.peers import Peers
from worker.settings import Settings
from worker.solver import Taught

LOG = turns(40, step_ms=600_000)
LAST_MS = START_MS + 39 * 600_000


@pytest.fixture
def checkpoints(store: Store, settings: Settings) -> Checkpoints:
    """The checkpoints of the other worker."""
    return makes_checkpoints(store, settings, worker="other")


@pytest.fixture
def peers(store: Store, settings: Settings) -> Peers:
    """What reads them."""
    return Peers(store, settings.lineage, "main")


@pytest.fixture
def fetched(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the buckets that were fetched, per reading."""
    readings: list[list[str]] = []
    load = store.load_buckets

    async def noted(lineage: str, partition: int, names: Sequence[str]) -> dict[str, bytes]:
        readings.append(list(names))
        return await load(lineage, partition, names)

    monkeypatch.setattr(store, "load_buckets", noted)
    return readings


async def test_a_checkpoint_is_read_as_its_worker_has_it(checkpoints: Checkpoints, peers: Peers) -> None:
    """Offset, clock, sums and episodes are those of the shard that was checkpointed."""
    holding = await taught(checkpoints, LOG)
    read = await peers.read(0)
    assert read is not None
    assert read._replace(buckets={}) == Taught.of(holding.shard)._replace(buckets={})
    assert {b: s.to_bytes() for b, s in read.buckets.items()} == {
        b: s.to_bytes() for b, s in holding.shard.buckets.items()
    }


async def test_a_partition_without_a_checkpoint_has_taught_nothing(peers: Peers, logged: Logged) -> None:
    """That is no fault, and not worth a line."""
    assert await peers.read(0) is None
    assert logged.names == []


async def test_only_changed_buckets_are_fetched(
    checkpoints: Checkpoints, peers: Peers, fetched: list[list[str]]
) -> None:
    """All of them once; afterwards those that were added to; none when nothing moved."""
    holding = await taught(checkpoints, LOG)
    await peers.read(0)
    assert fetched == [sorted(map(str, holding.shard.buckets))]
    holding.shard.feed(records([turn("next", LAST_MS)], 40))
    [changed] = holding.shard.buckets.changed
    await checkpoints.write(0, holding)
    for _ in range(2):
        read = await peers.read(0)
    assert fetched[1:] == [[str(changed)]]
    assert read is not None and read.next == 41
    assert {b: s.digest() for b, s in read.buckets.items()} == {b: s.digest() for b, s in holding.shard.buckets.items()}


async def test_the_offset_moves_without_buckets(
    checkpoints: Checkpoints, peers: Peers, fetched: list[list[str]]
) -> None:
    """Records that teach nothing move the as-of offset, and cost no bucket."""
    holding = await taught(checkpoints, LOG)
    await peers.read(0)
    holding.shard.feed(records([b"garbage"], 40))
    await checkpoints.write(0, holding)
    read = await peers.read(0)
    assert read is not None and read.next == 41
    assert len(fetched) == 1


async def test_merged_buckets_are_dropped(checkpoints: Checkpoints, peers: Peers) -> None:
    """What a worker has merged away is not added a second time."""
    holding = await taught(checkpoints, LOG)
    await peers.read(0)
    holding.shard.feed(records([turn(f"d-{i}", LAST_MS + i * 500_000) for i in range(100)], 40))
    assert holding.shard.buckets.removed
    await checkpoints.write(0, holding)
    read = await peers.read(0)
    assert read is not None and read.buckets.keys() == holding.shard.buckets.keys()


@pytest.mark.parametrize("damage", [b"other", None])
async def test_a_damaged_bucket_is_said_and_nothing_is_read(
    checkpoints: Checkpoints, peers: Peers, client: Any, logged: Logged, damage: bytes | None
) -> None:
    """A bucket with other bytes, or without any, makes the whole partition unreadable, and an error names it."""
    holding = await taught(checkpoints, LOG)
    bucket, key = str(min(holding.shard.buckets)), keys.shard("alice", "main", 0)
    await (client.hdel(key, f"bucket:{bucket}") if damage is None else client.hset(key, f"bucket:{bucket}", damage))
    assert await peers.read(0) is None
    [entry] = logged.of("checkpoint.damaged")
    assert (entry["log_level"], entry["partition"], entry["bucket"]) == ("error", 0, bucket)


async def test_a_checkpoint_that_lands_in_between_is_read_anew(
    checkpoints: Checkpoints, peers: Peers, store: Store, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """Buckets that are newer than the state that was read are no damage: the state is read again."""
    holding = await taught(checkpoints, LOG)
    load = store.load_buckets

    async def overtaken(lineage: str, partition: int, names: Sequence[str]) -> dict[str, bytes]:
        if holding.shard.next == 40:
            holding.shard.feed(records([turn("next", LAST_MS)], 40))
            assert (await checkpoints.write(0, holding)).done
        return await load(lineage, partition, names)

    monkeypatch.setattr(store, "load_buckets", overtaken)
    read = await peers.read(0)
    assert read is not None
    assert (read.next, read.digest) == (41, holding.shard.digest())
    assert "checkpoint.damaged" not in logged.names


async def test_what_is_forgotten_is_fetched_anew(
    checkpoints: Checkpoints, peers: Peers, fetched: list[list[str]]
) -> None:
    """Only the partitions that are kept need not be read again."""
    for partition in (0, 1):
        await taught(checkpoints, LOG, partition)
        await peers.read(partition)
    peers.forget(frozenset({1}))
    for partition in (0, 1):
        assert await peers.read(partition) is not None
    assert fetched == [fetched[0]] * 3
