"""Savepoints: a lineage out of Redis and back, byte for byte, in one step or not at all."""

from __future__ import annotations

from typing import Any

import pytest
import redis.exceptions

from alice_rl.errors import AliceError, DependencyError
from alice_rl.snapshot import keys
from alice_rl.snapshot.connection import RedisSettings, connect_async
from alice_rl.snapshot.records import Applied, Stage
from alice_rl.snapshot.savepoint import pack, unpack
from alice_rl.snapshot.savepoints import SavepointStore
from alice_rl.snapshot.store import Retention
from tests.integration.store.steps import change, claim, publish_many, ready, save, state
from tests.services import RedisServer

_OWNER = b":owner:"


@pytest.fixture
async def store(client: Any) -> SavepointStore:
    """A store with a lineage that has learned, published, and has a canary."""
    made = SavepointStore(client, retention=Retention(versions_max=4, expire_seconds=1000))
    await ready(made)
    for partition in (0, 11):
        token = await claim(made, f"n{partition}", partition)
        what = change(f"c{partition}", None, 100 + partition, extra={"state": b"s"}, buckets={"1": bytes(range(256))})
        applied = await made.checkpoint("main", partition, token=token, fingerprint="f1", change=what)
        assert applied is Applied.OK
    await client.hset(keys.shard("alice", "main", 0), "added:later", b"\xff\x00")
    await publish_many(made, 3)
    await made.promote(2, request="r1", stage=Stage.CANARY, share=0.1)
    return made


async def contents(client: Any) -> dict[str, Any]:
    """What every key holds, in an order of its own, and whether it expires; owners and the audit's restores apart."""
    found = {}
    for name in await client.keys("*"):
        if _OWNER in name:
            continue
        kind = (await client.type(name)).decode()
        value = await {
            "hash": client.hgetall,
            "string": client.get,
            "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
            "stream": client.xrange,
        }[kind](name)
        if kind == "stream":
            value = [(id_, fields) for id_, fields in value if fields[b"kind"] != b"restore"]
        if name == keys.head("alice").encode():
            value = {field: of for field, of in value.items() if field != b"run_id"}
        found[name.decode()] = (kind, value, await client.pttl(name) >= 0)
    return found


async def restore(store: SavepointStore, data: bytes, request: str = "q1", force: bool = False) -> Applied:
    return await store.restore(unpack(data), request=request, force=force, who="me", why="test")


async def saved(store: SavepointStore) -> bytes:
    return pack(await store.save("main", 1000))


async def test_an_empty_redis_gets_back_what_was_lost(client: Any, store: SavepointStore) -> None:
    """After Redis lost everything each key is as it was; owners are not, the head's life and the audit are new."""
    before, run_id = await contents(client), (await store.read_head()).run_id
    data = await saved(store)
    await client.flushdb()
    assert await restore(store, data) is Applied.OK
    assert await contents(client) == before
    assert not [name for name in await client.keys("*") if _OWNER in name]
    assert (await store.read_head()).run_id not in ("", run_id)
    (entry, *_) = await store.history()
    assert (entry.kind, entry.fields["who"], entry.fields["why"]) == ("restore", "me", "test")


async def test_small_values_are_equal_as_redis_serialises_them(client: Any, store: SavepointStore) -> None:
    """DUMP gives the same bytes for everything whose order Redis keeps."""
    ordered = [keys.lineage_config("alice", "main"), keys.snapshots("alice"), keys.digests("alice")]
    ordered += [keys.meta("alice"), *(keys.snapshot("alice", version) for version in (1, 2, 3))]
    before = [await client.dump(name) for name in ordered]
    data = await saved(store)
    await client.flushdb()
    await client.hset(keys.meta("alice"), "active_lineage", "main")  # the first field of `meta`, as a worker writes it
    assert await restore(store, data) is Applied.OK
    assert [await client.dump(name) for name in ordered] == before


async def test_a_repeated_restore_writes_nothing(client: Any, store: SavepointStore) -> None:
    """The same request twice leaves the same bytes, also when something has moved since."""
    data = await saved(store)
    await client.flushdb()
    assert await restore(store, data) is Applied.OK
    await publish_many(store, 1)
    before = await state(client)
    assert await restore(store, data) is Applied.ALREADY
    assert await restore(store, data, force=True) is Applied.ALREADY
    assert await state(client) == before


@pytest.mark.parametrize("left", ["config", "known", "head", "other"])
async def test_a_living_lineage_is_not_replaced_without_force(client: Any, store: SavepointStore, left: str) -> None:
    """A lineage, its partitions, a head, or another lineage that is active: each alone is enough."""
    data = await saved(store)
    head = await client.hgetall(keys.head("alice"))
    await client.flushdb()
    if left == "config":
        await store.declare_lineage("main", "f1", b"{}")
    elif left == "known":
        await client.hset(keys.meta("alice"), "partition:main:4", "1")
    elif left == "head":
        await client.hset(keys.head("alice"), mapping=head)
    else:
        await store.activate_lineage("other")
    before = await state(client)
    assert await store.living(unpack(data)) is not None
    assert await restore(store, data) is Applied.CAS
    assert await state(client) == before
    assert await restore(store, data, force=True, request="q2") is Applied.OK
    assert await store.active_lineage() == "main"
    assert await store.known_partitions("main") == {0, 11}


async def test_another_lineage_beside_is_left_alone(client: Any, store: SavepointStore) -> None:
    """A lineage that was not active brings no head, and touches neither head nor shards of others."""
    await store.declare_lineage("replay", "f1", b"{}")
    got = await store.claim("replay", 0, nonce="n", worker="w", epoch=1, lease_ms=1000)
    what = change("c", None, 7)
    await store.checkpoint("replay", 0, token=got.token, fingerprint="f1", change=what)
    data = pack(await store.save("replay", 1000))
    assert (unpack(data).active, unpack(data).head, unpack(data).versions) == (False, {}, ())
    before = await contents(client)
    shard_keys = [keys.lineage_config("alice", "replay"), keys.shard("alice", "replay", 0)]
    await client.delete(*shard_keys)
    await client.hdel(keys.meta("alice"), "partition:replay:0")
    assert await store.living(unpack(data)) is None
    assert await restore(store, data) is Applied.OK
    assert await contents(client) == before


async def test_force_goes_back_and_fences_whoever_runs(client: Any, store: SavepointStore) -> None:
    """Shards go back, a partition that came later is gone, and no token of before can write any more."""
    data, before = await saved(store), await contents(client)
    tokens = {partition: await claim(store, f"m{partition}", partition) for partition in (0, 11, 12)}
    for partition, at in ((0, 100), (11, 111), (12, None)):
        what = change(f"d{partition}", at, 500, buckets={"9": b"new"})
        applied = await store.checkpoint("main", partition, token=tokens[partition], fingerprint="f1", change=what)
        assert applied is Applied.OK
    assert await restore(store, data, force=True) is Applied.OK
    assert await contents(client) == before
    for partition, at in ((0, 500), (0, 100), (11, 111), (12, None)):
        what = change("e", at, 600)
        applied = await store.checkpoint("main", partition, token=tokens[partition], fingerprint="f1", change=what)
        assert applied is Applied.FENCED
        owner = await store.owner("main", partition)
        assert owner is not None and owner.token > tokens[partition]
    living = await store.living(unpack(data))
    assert living is not None and living.workers == ()
    assert await save(store, await claim(store, "k"), change("f", 100, 120)) is Applied.OK


async def test_later_versions_leave_the_lists_and_expire(client: Any, store: SavepointStore) -> None:
    """Versions that the savepoint does not have are not confused with those that get their numbers again."""
    data = await saved(store)
    await publish_many(store, 2)
    assert await restore(store, data, force=True) is Applied.OK
    head = await store.read_head()
    assert (head.seq, head.live, head.canary, head.canary_share) == (3, 3, 2, 0.1)
    assert [kept.version for kept in await store.list_snapshots()] == [1, 2, 3]
    assert await store.get_snapshot(5) == b"blob-5"  # somebody may be reading it
    assert 0 < await client.pttl(keys.snapshot("alice", 5)) <= 1_000_000
    await publish_many(store, 1)
    assert await client.pttl(keys.snapshot("alice", 4)) == -1
    assert (await store.read_head()).live == 4


async def test_only_what_is_kept_is_saved(client: Any, store: SavepointStore) -> None:
    """Versions that are about to expire are left out, unless the head names them."""
    await publish_many(store, 5)
    savepoint = await store.save("main", 2)
    assert [kept.version for kept in savepoint.versions] == [2, 5, 6, 7, 8]
    assert [fields[b"version"] for _, fields in savepoint.history] == [b"7", b"8"]


async def test_what_is_not_whole_is_not_saved(client: Any, store: SavepointStore) -> None:
    """A lineage that is not there, or that lost a partition's state, is refused."""
    with pytest.raises(AliceError) as caught:
        await store.save("nowhere", 0)
    assert caught.value.code == "lineage_missing"
    await client.delete(keys.shard("alice", "main", 11))
    with pytest.raises(DependencyError, match="partition 11") as lost:
        await store.save("main", 0)
    assert lost.value.code == "checkpoint_lost"


async def test_staged_values_that_are_gone_change_nothing(client: Any, store: SavepointStore) -> None:
    """Should what was prepared be gone at the last step, nothing is changed by it."""
    savepoint = unpack(await saved(store))
    before = await state(client)

    class Forgetful(SavepointStore):
        async def _stage(self, key: str, fields: dict[bytes, bytes]) -> None:
            if not key.endswith(":11"):
                await super()._stage(key, fields)

    with pytest.raises(DependencyError, match="shard:11 was gone"):
        await Forgetful(client).restore(savepoint, request="q", force=True)
    assert await state(client) == before


@pytest.mark.parametrize("living", [True, False])
async def test_a_full_redis_refuses_and_nothing_changes(living: bool) -> None:
    """Where memory runs short the restore is refused, what was there stays, and what was prepared is gone."""
    with RedisServer() as server:
        client = connect_async(RedisSettings(url=server.url))
        store = SavepointStore(client)
        await ready(store)
        for partition in range(4):
            token = await claim(store, f"n{partition}", partition)
            buckets = {str(i): bytes([i]) * 400_000 for i in range(5)}
            what = change("c", None, 100, buckets=buckets)
            applied = await store.checkpoint("main", partition, token=token, fingerprint="f1", change=what)
            assert applied is Applied.OK
        await publish_many(store, 2)
        data, whole = await saved(store), await contents(client)
        if not living:
            await client.flushdb()
        before = await state(client)
        used = int((await client.info("memory"))["used_memory"])
        server.configure("maxmemory", str(used + 3_000_000))
        with pytest.raises(DependencyError) as caught:
            await restore(store, data, force=True)
        assert caught.value.code == "redis_out_of_memory"
        assert await state(client) == before
        server.configure("maxmemory", str(used + 64_000_000))
        assert await restore(store, data, force=True, request="q2") is Applied.OK
        assert await contents(client) == whole
        await store.close()


async def test_memory_that_runs_out_at_the_last_step_is_no_matter() -> None:
    """Once everything is prepared the step itself cannot be refused half-way: it is carried out whole."""
    with RedisServer() as server:
        client = connect_async(RedisSettings(url=server.url))

        class Filled(SavepointStore):
            async def _run(self, name: str, script_keys: list[str], arguments: list[Any]) -> list[Any]:
                if name == "restore":
                    server.configure("maxmemory", "100kb")
                    with pytest.raises(redis.exceptions.OutOfMemoryError):
                        await client.set("other", b"x")
                return await super()._run(name, script_keys, arguments)

        store = Filled(client)
        await ready(store)
        assert await save(store, await claim(store), change("c", None, 100, buckets={"1": b"x"})) is Applied.OK
        await publish_many(store, 3)
        data, whole = await saved(store), await contents(client)
        await client.flushdb()
        assert await restore(store, data) is Applied.OK
        assert await contents(client) == whole
        await store.close()
