"""Producing to, and reading, the topics of tests; and waiting for conditions, never for time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from alice_rl.kafka import KafkaSettings
from alice_rl.shard import Shard
from alice_rl.snapshot.store import Store
from tests.logs import LogRecord
from worker.checkpoint import restored
from worker.service import Worker
from worker.settings import Settings

__all__ = [
    "eventually",
    "folded",
    "key_of",
    "produce",
    "read_log",
    "running",
    "shard_digests",
    "unbroken_digests",
    "unbroken_shards",
]


async def eventually(condition: Callable[[], object], timeout_seconds: float = 60.0) -> None:
    """Wait until the condition holds."""
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"not within {timeout_seconds} s")
        await asyncio.sleep(0.02)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Worker]:
    """A worker that runs beside the test, and drains at the end."""
    worker = Worker(settings)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await task


def folded(worker: Worker) -> int:
    """Records that Redis has from this worker."""
    return sum(holding.stored_next or 0 for holding in worker.holdings.values())


async def produce(kafka: KafkaSettings, log: Sequence[LogRecord]) -> None:
    """Write records to the telemetry topic, keyed as an orchestrator keys them."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, linger_ms=5, max_request_size=2 << 20, enable_idempotence=True
    )
    await producer.start()
    try:
        for record in log:
            await producer.send(kafka.topic, record.value, key_of(record.value))
        await producer.flush()
    finally:
        await producer.stop()


def key_of(value: bytes | None) -> bytes:
    """The decision id of an event, or nothing for what is none."""
    try:
        return str(msgspec.json.decode(value or b"")["decision_id"]).encode()
    except (msgspec.DecodeError, KeyError, TypeError):
        return b""


async def read_log(kafka: KafkaSettings) -> dict[int, list[LogRecord]]:
    """The whole topic, by partition."""
    consumer = AIOKafkaConsumer(
        kafka.topic,
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()  # without a group, it is given every partition
    try:
        parts = sorted(consumer.assignment())
        ends = await consumer.end_offsets(parts)
        log: dict[int, list[LogRecord]] = {part.partition: [] for part in parts}
        while any([await consumer.position(part) < ends[part] for part in parts]):
            for part, batch in (await consumer.getmany(timeout_ms=200)).items():
                log[part.partition] += [LogRecord(r.offset, r.timestamp, r.value) for r in batch]
        return log
    finally:
        await consumer.stop()


async def shard_digests(settings: Settings) -> dict[int, str]:
    """The digest of every shard that Redis holds."""
    store = Store.from_settings(settings.redis, settings.policy.name)
    try:
        digests = {}
        for partition in await store.known_partitions(settings.policy.lineage):
            record = await store.load_shard(settings.policy.lineage, partition)
            assert record is not None
            digests[partition] = restored(settings.lineage, record).digest()
        return digests
    finally:
        await store.close()


async def unbroken_shards(settings: Settings) -> dict[int, Shard]:
    """What an undisturbed fold over the whole topic learns, by partition."""
    shards = {}
    for partition, log in (await read_log(settings.kafka)).items():
        shards[partition] = Shard(settings.lineage)
        shards[partition].feed(log)
    return shards


async def unbroken_digests(settings: Settings) -> dict[int, str]:
    """The digests of `unbroken_shards`."""
    return {partition: shard.digest() for partition, shard in (await unbroken_shards(settings)).items()}
