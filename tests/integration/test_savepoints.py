"""Savepoints beside real workers on a real broker: what goes back is learned again, to the same bytes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import redis.asyncio

from alice_rl.snapshot.client import PolicyClient
from alice_rl.snapshot.head import decode_offsets
from alice_rl.snapshot.store import Store
from tests.integration.conftest import MakeSettings
from tests.logs import turns
from tests.streams import eventually, folded, produce, running, shard_digests, unbroken_digests
from worker.cli.savepoint_files import create_savepoint, read_savepoint, restore_savepoint
from worker.settings import Settings


async def flush(settings: Settings) -> None:
    """Lose everything that Redis holds."""
    async with redis.asyncio.Redis.from_url(settings.redis.url) as client:
        await client.flushdb()


async def test_restore_fences_a_running_worker(make_settings: MakeSettings, tmp_path: Path) -> None:
    """Under a worker that runs Redis goes back; the worker reloads, learns the rest again, and ends up exact."""
    settings = make_settings(partitions=2)
    file = tmp_path / "alice.savepoint"
    log = turns(900, seed=3, split=True)
    store = Store.from_settings(settings.redis)
    async with running(settings) as worker:
        await produce(settings.kafka, log[:800])
        await eventually(lambda: folded(worker) == 800)
        saved = await create_savepoint(settings, file, None, 1000)
        await produce(settings.kafka, log[800:1500])
        await eventually(lambda: folded(worker) == 1500)
        tokens = {partition: holding.token for partition, holding in worker.holdings.items()}

        restored = await restore_savepoint(settings, file, force=True, why="test")
        assert any("held by" in words for words in restored.replaced)
        for partition, next_ in saved.partitions.items():
            record = await store.load_shard("main", partition)
            assert record is not None and record.next == next_

        await produce(settings.kafka, log[1500:])
        await eventually(lambda: folded(worker) == 1800)
        assert all(holding.token > tokens[partition] for partition, holding in worker.holdings.items())
    assert await shard_digests(settings) == await unbroken_digests(settings)
    assert sum((await store.read_head()).offsets.values()) == 1800
    await store.close()


async def test_a_savepoint_of_a_running_worker_is_whole(make_settings: MakeSettings, tmp_path: Path) -> None:
    """Savepoints taken while a worker folds, checkpoints and publishes lead to the same bytes after a total loss."""
    settings = make_settings(partitions=3)
    log, files = turns(30_000, seed=5), [tmp_path / "0.savepoint"]
    await produce(settings.kafka, log[:10_000])
    async with running(settings) as worker:
        await eventually(lambda: folded(worker))
        await create_savepoint(settings, files[0], None, 100)
        producing = asyncio.create_task(produce(settings.kafka, log[10_000:]))
        while not producing.done() or folded(worker) < 30_000:
            files.append(tmp_path / f"{len(files)}.savepoint")
            await create_savepoint(settings, files[-1], None, 100)
    unbroken = await unbroken_digests(settings)
    for file in files:
        savepoint, facts = read_savepoint(settings, file)
        as_of = decode_offsets(savepoint.head.get(b"offsets", b""))
        assert all(facts.partitions[partition] >= next_ for partition, next_ in as_of.items())
    for file in (files[0], files[len(files) // 2]):
        await flush(settings)
        await restore_savepoint(settings, file, force=False, why="")
        async with running(settings) as worker:
            await eventually(lambda: folded(worker) == 30_000)
        assert await shard_digests(settings) == unbroken


async def test_after_redis_is_lost_everything_goes_on(make_settings: MakeSettings, tmp_path: Path) -> None:
    """Redis loses everything: the savepoint serves clients at once, and a worker learns the rest of the log."""
    settings = make_settings(partitions=2)
    file = tmp_path / "alice.savepoint"
    log = turns(600, seed=6, split=True)
    await produce(settings.kafka, log[:701])  # between a decision and its outcome
    async with running(settings) as worker:
        await eventually(lambda: folded(worker) == 701)
    await create_savepoint(settings, file, None, 1000)
    store = Store.from_settings(settings.redis)
    live = (await store.read_head()).live_digest
    await produce(settings.kafka, log[701:])
    await flush(settings)

    assert (await restore_savepoint(settings, file, force=False, why="")).replaced == []
    head = await store.read_head()
    assert (head.live_digest, sum(head.offsets.values())) == (live, 701)
    client = PolicyClient.from_url(settings.redis.url)
    try:
        await eventually(lambda: client.decide({"intent": "weather"}).to_event()["policy"].get("digest") == live)
    finally:
        client.close()
    async with running(settings) as worker:
        await eventually(lambda: folded(worker) == 1200)
    assert await shard_digests(settings) == await unbroken_digests(settings)
    assert sum((await store.read_head()).offsets.values()) == 1200
    await store.close()
