"""A prepared topic: events in batches as `alice_rl.telemetry` writes them under load, spread by their key."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from alice_rl.events import Decision, Outcome, Turn, encode
from tests.benchmarks.workload import PARTITIONS

__all__ = ["BATCH_BYTES", "fill"]

BATCH_BYTES = 16 * 1024
"""Of a batch before compression: aiokafka's default."""

_CHUNK = 4000  # events that are encoded before their batches are sent


async def fill(bootstrap: str, topic: str, events: Iterable[Turn | Decision | Outcome], compression: str) -> None:
    """Write all events in their order."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type=compression, max_batch_size=BATCH_BYTES, max_request_size=4 << 20
    )
    await producer.start()
    stream = iter(events)
    writers = [_Writer(producer, topic, partition) for partition in range(PARTITIONS)]
    try:
        while chunk := list(islice(stream, _CHUNK)):
            for event in chunk:
                key, value = event.decision_id.encode(), encode(event)
                await writers[(murmur2(key) & 0x7FFFFFFF) % PARTITIONS].append(key, value, event.ts_ms)
        for writer in writers:
            await writer.send()
        await producer.flush()
    finally:
        await producer.stop()


class _Writer:
    """The open batch of one partition."""

    def __init__(self, producer: Any, topic: str, partition: int) -> None:
        self._producer, self._topic, self._partition = producer, topic, partition
        self._batch = producer.create_batch()

    async def append(self, key: bytes, value: bytes, ts_ms: int) -> None:
        if self._batch.append(key=key, value=value, timestamp=ts_ms) is None:
            await self.send()
            self._batch.append(key=key, value=value, timestamp=ts_ms)

    async def send(self) -> None:
        if self._batch.record_count():
            await self._producer.send_batch(self._batch, self._topic, partition=self._partition)
            self._batch = self._producer.create_batch()
