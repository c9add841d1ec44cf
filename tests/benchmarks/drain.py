"""Reading a topic and doing nothing with it: aiokafka's `getmany` in a process of its own, as fast as it goes.

python -m tests.benchmarks.drain BOOTSTRAP TOPIC RECORDS      prints records per second
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter

from aiokafka import AIOKafkaConsumer

from tests.benchmarks.workload import SETTINGS

__all__ = ["drain", "reading"]


@asynccontextmanager
async def reading(bootstrap: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of the whole topic, with fetch settings as the worker's, and the CRC checked."""
    kafka = SETTINGS.kafka
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=kafka.fetch_wait_ms,
        max_partition_fetch_bytes=kafka.partition_fetch_bytes,
        check_crcs=True,
    )
    await consumer.start()  # without a group, it is given every partition
    try:
        yield consumer
    finally:
        await consumer.stop()


async def drain(bootstrap: str, topic: str, count: int) -> float:
    """Records per second, from the first that arrive to the last."""
    async with reading(bootstrap, topic) as consumer:
        gc.freeze()
        read, started = 0, 0.0
        while read < count:
            batches = await consumer.getmany(timeout_ms=200)
            if not started and batches:
                started, count = perf_counter(), count - sum(map(len, batches.values()))
                continue
            read += sum(map(len, batches.values()))
        return read / (perf_counter() - started)


if __name__ == "__main__":
    print(asyncio.run(drain(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
