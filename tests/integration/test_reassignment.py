"""An assignment that moves while the worker is still claiming: nothing is folded from where Kafka would go on."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from alice_rl.kafka import KafkaSettings
from alice_rl.shard import Shard
from alice_rl.slots import ToolSettings
from alice_rl.snapshot.connection import RedisSettings
from tests.logs import TOOLS, LogRecord, turns
from tests.streams import eventually, folded, shard_digests
from worker.consumer import Consumer
from worker.service import Worker
from worker.settings import Settings, WorkerSettings

RECORDS, COMMITTED = 100, 60


class MovingConsumer(Consumer):
    """Two partitions whose assignment moves once, while the second is claimed.

    As aiokafka does, a new assignment goes on at the group's committed offsets until somebody seeks.
    """

    def __init__(self, logs: dict[int, list[LogRecord]]) -> None:
        self._logs = logs
        self._positions = dict.fromkeys(logs, COMMITTED)
        self._moves = 0

    @property
    def epoch(self) -> int:
        return self._moves

    @property
    def partitions(self) -> set[int]:
        return set(self._logs)

    async def start(self) -> None:
        pass

    async def fetch(self) -> dict[int, list[LogRecord]]:
        await asyncio.sleep(0.01)
        batches = {p: log[self._positions[p] :] for p, log in self._logs.items()}
        self._positions = {p: len(log) for p, log in self._logs.items()}
        return batches

    async def log_ends(self, partition: int) -> tuple[int, int]:
        if partition == 1 and not self._moves:
            self._moves += 1
            self._positions = dict.fromkeys(self._logs, COMMITTED)
        return 0, RECORDS

    def seek(self, partition: int, offset: int) -> bool:
        self._positions[partition] = offset
        return True

    def lag(self, partition: int, position: int) -> int:
        return 0

    @property
    def topic_partitions(self) -> set[int]:
        return set(self._logs)

    async def topic_id(self) -> str:
        return ""

    def park(self, partition: int) -> None:
        pass

    async def ends(self, partitions: Collection[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, RECORDS)

    async def position(self, partition: int) -> int | None:
        return self._positions[partition]

    async def commit(self, offsets: dict[int, int]) -> None:
        pass

    async def stop(self) -> None:
        pass


async def test_assignment_that_moves_while_it_is_claimed(redis_url: str) -> None:
    """Both partitions are learned from their beginning, though one was sought before the assignment moved."""
    logs = {partition: turns(RECORDS, seed=partition) for partition in (0, 1)}
    settings = Settings(
        kafka=KafkaSettings(dead_letter_topic=""),
        redis=RedisSettings(url=redis_url),
        tool=ToolSettings(arms=TOOLS),
        worker=WorkerSettings(checkpoint_interval_seconds=0.05),
    )
    worker = Worker(settings, MovingConsumer(logs))
    task = asyncio.create_task(worker.run())
    try:
        await eventually(lambda: folded(worker) == 2 * RECORDS)
    finally:
        worker.stop()
        await task
    unbroken = {partition: Shard(settings.lineage) for partition in logs}
    for partition, shard in unbroken.items():
        shard.feed(logs[partition])
    assert await shard_digests(settings) == {partition: shard.digest() for partition, shard in unbroken.items()}
