"""Faults of Redis, and of what lies between it and the workers."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import msgspec
import pytest
import redis

from alice_rl.errors import DependencyError
from alice_rl.snapshot import PolicyClient, keys, scripts
from alice_rl.snapshot.connection import RedisSettings
from alice_rl.snapshot.store import Store
from tests.integration.conftest import MakeSettings
from tests.integration.faults.conftest import Events
from tests.integration.faults.exact import assert_exact, read_shards
from tests.logs import turns
from tests.proxy import Proxy
from tests.services import RedisServer, unique_name
from tests.streams import eventually, folded, produce, running
from worker.service import Worker
from worker.settings import PolicySettings, Settings, WorkerSettings


async def test_redis_loses_the_last_second(make_settings: MakeSettings, events: Events) -> None:
    """A machine that dies takes what was not flushed with it, acknowledged checkpoints included: the log has it."""
    log = turns(900, seed=31, split=True)
    with RedisServer(appendonly=True) as server:
        settings = make_settings(partitions=2, redis=RedisSettings(url=server.url, retries_max=0))
        async with running(settings) as worker:
            await produce(settings.kafka, log[:600])
            await eventually(lambda: folded(worker) == 600 and worker.publisher.version)
            flushed = [(path, path.stat().st_size) for path in sorted(server.folder.rglob("*.incr.aof"))]
            await produce(settings.kafka, log[600:1200])
            await eventually(lambda: folded(worker) == 1200)
            await asyncio.to_thread(server.kill)
            for path, size in flushed:
                cut_file(path, size)
            await asyncio.to_thread(server.restart)
            await produce(settings.kafka, log[1200:])
            await eventually(lambda: folded(worker) == 1800)
        assert events("partition.fenced")
        await assert_exact(settings)


def cut_file(path: Path, size: int) -> None:
    """Take away what was written after the first `size` bytes."""
    assert path.stat().st_size > size
    with path.open("r+b") as file:
        file.truncate(size)


async def test_a_promoted_replica_lacks_acknowledged_writes(make_settings: MakeSettings, events: Events) -> None:
    """The worker goes over to a replica that is behind: what it lacks is read again, and the head is told anew."""
    log = turns(900, seed=32, split=True)
    with RedisServer() as primary, RedisServer(args=["--replicaof", "127.0.0.1", str(primary.port)]) as replica:
        async with Proxy(primary.port) as proxy:
            url = f"redis://127.0.0.1:{proxy.port}/0"
            settings = make_settings(
                partitions=2,
                redis=RedisSettings(url=url, retries_max=1),
                worker=WorkerSettings(0.1, 0.1, lease_seconds=1.0),  # the next renewal finds out
            )
            async with running(settings) as worker:
                await produce(settings.kafka, log[:600])
                await eventually(lambda: folded(worker) == 600)
                promoted = redis.Redis.from_url(replica.url)
                await eventually(lambda: offsets_told(promoted) == 600)
                promoted.replicaof("NO", "ONE")
                await produce(settings.kafka, log[600:])
                await eventually(lambda: folded(worker) == 1800)
                await eventually(lambda: offsets_told(redis.Redis.from_url(primary.url)) == 1800)
                proxy.target = replica.port
                proxy.cut()
                assert offsets_stored(promoted) == 600
                await eventually(lambda: offsets_told(promoted) == offsets_stored(promoted) == 1800)
            assert events("partition.fenced")
            await assert_exact(settings)


def offsets_told(client: redis.Redis) -> int:
    """Records behind the newest snapshot."""
    offsets = client.hget(keys.head("alice"), "offsets")
    return sum(msgspec.json.decode(offsets).values()) if offsets else 0


def offsets_stored(client: redis.Redis) -> int:
    """Records behind the checkpoints of two partitions."""
    return sum(int(client.hget(keys.shard("alice", "main", p), "next") or 0) for p in (0, 1))


async def test_a_redis_that_evicts_is_refused(make_settings: MakeSettings) -> None:
    """A worker does not start on a Redis that would delete what was learned, and says what to set."""
    with RedisServer(maxmemory="100mb", maxmemory_policy="allkeys-lru") as server:
        settings = make_settings(partitions=1, redis=RedisSettings(url=server.url))
        with pytest.raises(DependencyError, match="allkeys-lru") as caught:
            await Worker(settings).run()
        assert caught.value.code == "redis_evicts"
        assert "noeviction" in caught.value.hint


async def test_redis_is_full_for_a_while(make_settings: MakeSettings, events: Events) -> None:
    """Checkpoints and snapshots that a full Redis refuses leave no trace; with memory again they are written."""
    log = turns(600, seed=33, split=True)
    with RedisServer(maxmemory="100mb") as server:
        settings = make_settings(partitions=2, redis=RedisSettings(url=server.url, retries_max=0))
        async with running(settings) as worker:
            await produce(settings.kafka, log[:400])
            await eventually(lambda: folded(worker) == 400 and worker.publisher.version)
            await asyncio.to_thread(server.configure, "maxmemory", "1mb")
            await produce(settings.kafka, log[400:])
            await eventually(lambda: worker.waiting and sum(h.shard.next for h in worker.holdings.values()) == 1200)
            assert sum(shard.next for shard in (await read_shards(settings)).values()) == 400
            await asyncio.to_thread(server.configure, "maxmemory", "100mb")
            await eventually(lambda: folded(worker) == 1200)
        assert events("redis.unreachable") and events("worker.recovered")
        await assert_exact(settings)


async def test_scripts_are_flushed(make_settings: MakeSettings) -> None:
    """A Redis that forgets its scripts again and again is told them again."""
    log = turns(800, seed=34, split=True)
    settings = make_settings(partitions=2)
    with redis.Redis.from_url(settings.redis.url) as client:
        async with running(settings) as worker:
            for upto in range(200, 1601, 200):
                await produce(settings.kafka, log[upto - 200 : upto])
                client.script_flush()
                await eventually(lambda upto=upto: folded(worker) == upto)  # type: ignore[misc]
    await assert_exact(settings)


async def test_notifications_go_nowhere(make_settings: MakeSettings) -> None:
    """A client whose subscription hears nothing adopts every version all the same, because it polls."""
    name = unique_name("policy")
    settings = make_settings(partitions=1, policy=PolicySettings(name=name))
    port, database = settings.redis.url.rsplit(":", 1)[1].split("/")
    async with Proxy(int(port)) as proxy:
        proxy.deaf_after = b"SUBSCRIBE"
        url = f"redis://127.0.0.1:{proxy.port}/{database}"
        client = await asyncio.to_thread(PolicyClient.from_url, url, name, poll_seconds=0.1)
        try:
            async with running(settings) as worker:
                for upto in (50, 100, 150):
                    await produce(settings.kafka, turns(50, seed=upto))
                    await eventually(lambda upto=upto: offsets_at(settings, worker) == upto)  # type: ignore[misc]
                    await eventually(lambda: client.version == worker.publisher.version)
            await eventually(lambda: proxy.swallowed >= 2)
        finally:
            await asyncio.to_thread(client.close)
    await assert_exact(settings)


def offsets_at(settings: Settings, worker: Worker) -> int:
    """Records behind what this worker has published."""
    with redis.Redis.from_url(settings.redis.url) as client:
        offsets = client.hget(keys.head(settings.policy.name), "offsets")
    return sum(msgspec.json.decode(offsets).values()) if offsets else 0


async def test_two_deployments_learn_one_policy(make_settings: MakeSettings) -> None:
    """Two groups that learn the same lineage fence each other, but both get on, and nothing counts twice."""
    log = turns(1200, seed=35, split=True)
    settings = make_settings(partitions=2, worker=WorkerSettings(0.5, 0.1))
    other = msgspec.structs.replace(
        settings, kafka=msgspec.structs.replace(settings.kafka, group_id=unique_name("group"))
    )
    store = Store.from_settings(settings.redis)
    async with running(settings) as first, running(other) as second:
        await eventually(lambda: first.holdings and second.holdings)
        for upto in range(800, 2401, 800):
            await produce(settings.kafka, log[upto - 800 : upto])
            await eventually(lambda upto=upto: offsets_at(settings, first) == upto, 60)  # type: ignore[misc]
    assert sum((await store.read_head()).offsets.values()) == 2400
    await store.close()
    await assert_exact(settings)


class SuspectRefused(Proxy):
    """A proxy to Redis that breaks the connection of whoever leaves word of what is about to be folded."""

    left = 3
    _suspect = hashlib.sha1(scripts.source("suspect").encode()).hexdigest().encode()

    def _passes(self, data: bytes, heard: bytearray, *, answers: bool) -> bool:
        return answers or self._suspect not in data or self.left == 0

    def _breaks(self) -> bool:
        self.left -= 1
        return True


async def test_redis_fails_amid_a_careful_fold(make_settings: MakeSettings) -> None:
    """What was fetched and not folded, because Redis was away in between, is fetched again."""
    settings = make_settings(partitions=2)
    port, database = settings.redis.url.rsplit(":", 1)[1].split("/")
    store = Store.from_settings(settings.redis)
    for _ in range(2):  # claims in vain make the next worker careful
        for partition in range(2):
            await store.claim("main", partition, nonce=unique_name(), worker="w", epoch=1, lease_ms=1000)
    await store.close()
    await produce(settings.kafka, turns(1500, seed=36, split=True))
    async with SuspectRefused(int(port)) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/{database}"
        proxied = msgspec.structs.replace(settings, redis=RedisSettings(url=url, retries_max=0))
        async with running(proxied) as worker:
            await eventually(lambda: folded(worker) == 3000)
        assert proxy.left < SuspectRefused.left
    await assert_exact(settings)
