"""kill -9, on a real broker and a real Redis: what is learned is what an undisturbed fold would have learned."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from pathlib import Path

import pytest

from alice_rl.snapshot.store import Store
from tests.logs import turns
from tests.streams import produce, shard_digests, unbroken_shards
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
EVENTS = 200_000
PARTITIONS = 6


@pytest.fixture
def environment(make_settings: Callable[..., Settings]) -> tuple[Settings, dict[str, str]]:
    """Settings of a fresh deployment, and the environment that gives a worker process the same."""
    settings = make_settings(partitions=PARTITIONS)
    variables = {
        "ALICE__KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "ALICE__KAFKA__TOPIC": settings.kafka.topic,
        "ALICE__KAFKA__DEAD_LETTER_TOPIC": settings.kafka.dead_letter_topic,
        "ALICE__KAFKA__GROUP_ID": settings.kafka.group_id,
        "ALICE__KAFKA__SESSION_TIMEOUT_MS": "1000",  # the group gives a killed worker's partitions away after this
        "ALICE__REDIS__URL": settings.redis.url,
        "ALICE__TOOL__ARMS": ",".join(settings.tool.arms),
        "ALICE__WORKER__CHECKPOINT_INTERVAL_SECONDS": "0.1",
        "ALICE__WORKER__PUBLISH_INTERVAL_SECONDS": "0.2",
        "ALICE__RULES__TOOL": "none",
    }
    return settings, os.environ | variables


async def start_worker(environ: dict[str, str], log: Path) -> Process:
    """A worker process without a configuration file; its log goes to a file."""
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "worker.cli", "worker", env=environ, stdout=output, stderr=output, cwd=log.parent
        )


async def progress(settings: Settings, store: Store) -> int:
    """Records that Redis holds the sums of."""
    lineage = settings.policy.lineage
    shards = [await store.load_shard(lineage, partition) for partition in range(PARTITIONS)]
    return sum(shard.next for shard in shards if shard is not None)


async def reach(count: int, settings: Settings, store: Store, worker: Process, log: Path) -> None:
    """Wait until so many records are checkpointed."""
    deadline = asyncio.get_running_loop().time() + 120
    while await progress(settings, store) < count:
        assert worker.returncode is None, log.read_text()[-3000:]
        assert asyncio.get_running_loop().time() < deadline, log.read_text()[-3000:]
        await asyncio.sleep(0.02)


async def test_three_kills_change_no_byte(environment: tuple[Settings, dict[str, str]], tmp_path: Path) -> None:
    """200,000 events over 6 partitions, the worker killed three times on the way: digests of an unbroken fold."""
    settings, environ = environment
    environ["PYTHONPATH"] = str(ROOT)
    log = tmp_path / "worker.log"
    store = Store.from_settings(settings.redis)
    producing = asyncio.create_task(produce(settings.kafka, turns(EVENTS, seed=4, step_ms=20)))
    worker = await start_worker(environ, log)
    for kill_at in (EVENTS // 5, EVENTS // 2, EVENTS * 4 // 5):
        await reach(kill_at, settings, store, worker, log)
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
        worker = await start_worker(environ, log)
    await producing
    await reach(EVENTS, settings, store, worker, log)
    worker.send_signal(signal.SIGTERM)
    assert await worker.wait() == 0, log.read_text()[-3000:]
    unbroken = await unbroken_shards(settings)
    assert sum(shard.counts["episodes"] for shard in unbroken.values()) == EVENTS
    assert await shard_digests(settings) == {partition: shard.digest() for partition, shard in unbroken.items()}
    head = await store.read_head()
    assert sum(head.offsets.values()) == EVENTS
    await store.close()
