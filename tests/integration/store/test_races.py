"""Several workers at once, and Redis or the network failing in the middle."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
import redis.asyncio

from alice_rl.errors import DependencyError
from alice_rl.snapshot import keys
from alice_rl.snapshot.connection import RedisSettings, connect_async
from alice_rl.snapshot.records import Applied, Moved, Pin, Published
from alice_rl.snapshot.store import Store
from tests.integration.store.steps import (
    change,
    claim,
    publication,
    publish_many,
    ready,
    save,
    state,
)
from tests.services import RedisServer


async def test_many_publishers_race_harmlessly(store: Store) -> None:
    """However publishers interleave, versions are consecutive and offsets only grow."""

    async def publish_until_settled(offset: int) -> Published:
        while True:
            seq = (await store.read_head()).seq
            blob = b"%d@%d" % (seq + 1, offset)
            done = await store.publish(publication(seq, offset=offset, digest=f"o{offset}", blob=blob))
            if done.applied is not Applied.CAS:
                return done

    # Every offset has two publishers, as when a rebalance leaves two workers sure that they publish.
    answers = await asyncio.gather(*(publish_until_settled(offset // 2) for offset in range(40)))
    issued = sorted(done.version for done in answers if done.applied is Applied.OK)
    head = await store.read_head()
    assert issued == list(range(1, head.seq + 1))
    assert head.live == head.seq and head.offsets == {0: 19}
    blobs = [await store.get_snapshot(version) for version in issued]
    offsets = [int((blob or b"").split(b"@")[1]) for blob in blobs]
    assert [int((blob or b"").split(b"@")[0]) for blob in blobs] == issued
    assert offsets == sorted(set(offsets))


async def test_racing_checkpoints_advance_one_step_at_a_time(store: Store) -> None:
    """Of many checkpoints from one offset exactly one lands, and the others are told."""
    token = await claim(store)
    await save(store, token, change("c", None, 0))
    for step in range(5):
        answers = await asyncio.gather(*(save(store, token, change(f"c{step}-{i}", step, step + 1)) for i in range(8)))
        assert sorted(answers) == [Applied.CAS] * 7 + [Applied.OK]


async def test_a_rollback_racing_publishers_stands(store: Store) -> None:
    """Whatever is published around a rollback, the version it pinned is live at the end."""
    await publish_many(store, 3)

    async def publisher(name: int) -> None:
        for _ in range(5):
            seq = (await store.read_head()).seq
            await store.publish(publication(seq, digest=f"{name}-{seq}"))

    work = [publisher(name) for name in range(4)]
    await asyncio.gather(*work[:2], store.rollback(request="r", to=1), *work[2:])
    head = await store.read_head()
    assert (head.live, head.pinned, head.live_digest) == (1, 1, "d1")
    assert head.seq > 3


async def test_scripts_survive_a_flush(client: Any, store: Store) -> None:
    """SCRIPT FLUSH in mid-run costs a round trip and nothing else."""
    token = await claim(store)
    await publish_many(store, 2)
    for step in range(3):
        await client.script_flush()
        assert await save(store, token, change(f"c{step}", step or None, step + 1)) is Applied.OK
        await client.script_flush()
        await publish_many(store, 1)
    assert (await store.read_head()).seq == 5
    await client.script_flush()
    assert (await store.rollback(request="r")).applied is Applied.OK


async def test_a_full_redis_refuses_and_nothing_changes() -> None:
    """Out of memory, checkpoint, claim and publish are refused whole; reading and rolling back still work."""
    with RedisServer() as server:
        client = connect_async(RedisSettings(url=server.url))
        store = await ready(Store(client))
        token = await claim(store)
        await save(store, token, change("c1", None, 10, buckets={"1": b"a", "2": b"b"}))
        await publish_many(store, 2)
        before = await state(client)
        await client.config_set("maxmemory", 1)
        for refused in (
            save(store, token, change("c2", 10, 20, buckets={"3": b"x"}, removed_buckets=("1",))),
            store.claim("main", 0, nonce="n2", worker="w", epoch=2, lease_ms=9),
            store.publish(publication(2)),
            store.declare_lineage("other", "f", b"{}"),
        ):
            with pytest.raises(DependencyError) as caught:
                await refused
            assert caught.value.code == "redis_out_of_memory"
        assert await state(client) == before
        shard = await store.load_shard("main", 0)
        assert shard is not None and shard.next == 10
        assert await store.rollback(request="r") == Moved(Applied.OK, 1, None)
        assert await store.promote(2, request="p", pin=Pin.UNPIN) == Moved(Applied.OK, 2, None)
        await client.config_set("maxmemory", 0)
        assert await save(store, token, change("c2", 10, 20)) is Applied.OK
        await store.close()


async def test_other_errors_of_redis_are_bugs(client: Any, store: Store) -> None:
    """A key of the wrong type is nobody's outage and comes through as it is."""
    await client.set(keys.head("alice"), "not a hash")
    with pytest.raises(redis.ResponseError):
        await store.read_head()
