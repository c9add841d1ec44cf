"""Kafka or Redis away while the worker runs: it keeps its place, and carries on when they return."""

from __future__ import annotations

import asyncio

import msgspec

from alice_rl.snapshot.connection import RedisSettings
from tests.integration.conftest import MakeSettings
from tests.logs import turns
from tests.services import KafkaBroker, RedisServer
from tests.streams import eventually, folded, produce, running, shard_digests, unbroken_digests


async def test_redis_dies_and_comes_back(make_settings: MakeSettings) -> None:
    """Learning goes on in memory while Redis is dead; what a crash of Redis lost is learned again from the log."""
    log = turns(900, seed=6, split=True)
    with RedisServer(appendonly=True) as server:
        settings = make_settings(partitions=2, redis=RedisSettings(url=server.url, retries_max=0))
        await produce(settings.kafka, log[:600])
        async with running(settings) as worker:
            await eventually(lambda: folded(worker) == 600)
            await asyncio.to_thread(server.kill)
            await produce(settings.kafka, log[600:1200])
            await eventually(lambda: sum(h.shard.next for h in worker.holdings.values()) == 1200)
            await asyncio.to_thread(server.restart)
            await produce(settings.kafka, log[1200:])
            await eventually(lambda: folded(worker) == 1800)
        assert await shard_digests(settings) == await unbroken_digests(settings)


async def test_kafka_stops_and_comes_back(make_settings: MakeSettings, real_kafka: KafkaBroker) -> None:
    """A broker that is gone for a while costs nothing but time."""
    log = turns(600, seed=7, split=True)
    settings = make_settings(partitions=2)
    await produce(settings.kafka, log[:800])
    async with running(settings) as worker:
        await eventually(lambda: folded(worker) == 800)
        await asyncio.to_thread(real_kafka.restart)
        await produce(settings.kafka, log[800:])
        await eventually(lambda: folded(worker) == 1200, timeout_seconds=60)
    assert await shard_digests(settings) == await unbroken_digests(settings)


async def test_full_redis_loses_nothing(make_settings: MakeSettings) -> None:
    """A Redis without memory refuses the checkpoint; with memory again, the worker writes what it has learned."""
    log = turns(300, seed=8)
    with RedisServer(maxmemory="100mb") as server:
        settings = make_settings(partitions=1, redis=RedisSettings(url=server.url, retries_max=0))
        async with running(settings) as worker:
            await eventually(lambda: worker.holdings)
            await asyncio.to_thread(server.configure, "maxmemory", "1mb")
            await produce(settings.kafka, log)
            await eventually(lambda: worker.holdings[0].shard.next == 300)
            await eventually(lambda: worker.waiting)
            await asyncio.to_thread(server.configure, "maxmemory", "100mb")
            await eventually(lambda: folded(worker) == 300)
        assert await shard_digests(settings) == await unbroken_digests(settings)


async def test_two_workers_share_the_partitions(make_settings: MakeSettings) -> None:
    """A second worker takes its share, a departure gives it back, and every partition stays exact."""
    log = turns(1200, seed=9, split=True)
    settings = make_settings(partitions=4)
    settings = msgspec.structs.replace(settings, kafka=msgspec.structs.replace(settings.kafka, session_timeout_ms=2000))
    await produce(settings.kafka, log[:800])
    async with running(settings) as first:
        await eventually(lambda: folded(first) == 800)
        async with running(settings) as second:
            await eventually(lambda: len(first.holdings) == len(second.holdings) == 2, timeout_seconds=60)
            await produce(settings.kafka, log[800:1600])
            await eventually(lambda: folded(first) + folded(second) == 1600, timeout_seconds=60)
        await eventually(lambda: len(first.holdings) == 4, timeout_seconds=60)
        await produce(settings.kafka, log[1600:])
        await eventually(lambda: folded(first) == 2400, timeout_seconds=60)
    assert await shard_digests(settings) == await unbroken_digests(settings)
