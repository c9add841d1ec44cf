"""Restoring a whole topic's shards as a restart does: checkpoints out of Redis, their join windows out of Kafka.

python -m tests.benchmarks.reread BOOTSTRAP TOPIC REDIS_URL      prints records re-read per second
"""

from __future__ import annotations

import asyncio
import gc
import sys
from time import perf_counter

from aiokafka import TopicPartition

from alice_rl.shard import Shard
from alice_rl.snapshot.connection import RedisSettings
from alice_rl.snapshot.store import Store
from tests.benchmarks.drain import reading
from tests.benchmarks.workload import PARTITIONS, SETTINGS
from worker.checkpoint import restored

__all__ = ["reread"]


async def reread(bootstrap: str, topic: str, redis_url: str) -> float:
    """Records per second, from asking Redis for the checkpoints until every joiner is rebuilt."""
    store = Store.from_settings(RedisSettings(url=redis_url))
    try:
        async with reading(bootstrap, topic) as consumer:
            gc.freeze()
            started = perf_counter()
            shards = {
                TopicPartition(topic, partition): await _load(store, partition) for partition in range(PARTITIONS)
            }
            records = sum(shard.next - shard.position for shard in shards.values())
            for part, shard in shards.items():
                consumer.seek(part, shard.position)
            while any(shard.rebuilding for shard in shards.values()):
                for part, batch in (await consumer.getmany(timeout_ms=200)).items():
                    shards[part].feed(batch)
            return records / (perf_counter() - started)
    finally:
        await store.close()


async def _load(store: Store, partition: int) -> Shard:
    record = await store.load_shard(SETTINGS.policy.lineage, partition)
    assert record is not None, f"partition {partition} has no checkpoint"
    return restored(SETTINGS.lineage, record)


if __name__ == "__main__":
    print(asyncio.run(reread(*sys.argv[1:])))
