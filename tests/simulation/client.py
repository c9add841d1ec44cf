"""aiokafka's consumer as far as `worker.consumer` uses it, on the brokers of the world."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    IllegalStateError,
    KafkaConnectionError,
    KafkaTimeoutError,
    NoOffsetForPartitionError,
    UnknownError,
)

from tests.logs import LogRecord
from tests.simulation.clock import outside
from tests.simulation.kafka import HEARTBEAT_SECONDS, Broker

__all__ = ["Client"]

_POLL_SECONDS = 0.05
_TOPIC = "telemetry"


class Client:
    """What stands in for `aiokafka.AIOKafkaConsumer`."""

    def __init__(self, broker: Broker, *topics: str, **options: Any) -> None:
        process = outside()
        assert process is not None
        self.process = process
        self.stuck = False
        self._broker = broker
        self._rng: Random = broker.rng
        self._listener: Any = None
        self._closed = False
        self._reassigning = True
        self._positions: dict[int, int | None] = {}
        self._paused: set[int] = set()
        self._unknown: set[int] = set()  # partitions that neither a seek nor the group has given a position
        self._client = _Connections(self)

    async def start(self) -> None:
        await self._travel()
        if self._broker.away or ("fetch_error" in self._broker.errors and self._rng.random() < 0.5):
            raise KafkaConnectionError("nobody answers")

    async def stop(self) -> None:
        outside()
        if not self._closed:
            self._closed = True
            self._broker.leave(self)
            await self._travel()

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(len(self._broker.logs)))

    def subscribe(self, topics: Iterable[str] = (), pattern: str | None = None, listener: Any = None) -> None:
        outside()
        self._listener = listener
        self._broker.later(self._rng.uniform(0.0, 0.2), self._join)

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(TopicPartition(_TOPIC, partition) for partition in self._positions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._held(partition)
        self._positions[partition.partition] = offset
        self._unknown.discard(partition.partition)

    def pause(self, *partitions: TopicPartition) -> None:
        for tp in partitions:
            self._held(tp)
            self._paused.add(tp.partition)

    def resume(self, *partitions: TopicPartition) -> None:
        for tp in partitions:
            self._held(tp)
            self._paused.discard(tp.partition)

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[LogRecord]]:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_ms / 1000
        while True:
            outside()
            if self._closed:
                raise ConsumerStoppedError
            if not self._reassigning:
                if drained := self._drain():
                    return drained
                if loop.time() >= until:
                    return {}
            await asyncio.sleep(_POLL_SECONDS)

    def _drain(self) -> dict[TopicPartition, list[LogRecord]]:
        broker, drained = self._broker, {}
        if broker.away or self.stuck:
            return {}
        if "fetch_error" in broker.errors and self._rng.random() < 0.3:
            raise UnknownError("not now")
        if self._unknown:
            raise NoOffsetForPartitionError(*self._unknown)
        for partition, position in self._positions.items():
            if position is None or partition in self._paused or self._rng.random() < 0.2:
                continue
            records = broker.read(partition, position, self._rng.randint(1, broker.batch_max))
            if records:
                drained[TopicPartition(_TOPIC, partition)] = records
                self._positions[partition] = records[-1].offset + 1
            else:
                self._positions[partition] = max(position, broker.ends[partition])
        return drained

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        await self._ask("ends_error")
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        await self._ask("ends_error")
        return {tp: self._broker.ends[tp.partition] for tp in partitions}

    def last_stable_offset(self, partition: Any) -> int | None:
        self._held(partition)
        end: int = self._broker.ends[partition.partition]
        return end

    def highwater(self, partition: TopicPartition) -> int | None:
        return self.last_stable_offset(partition)

    async def position(self, partition: TopicPartition) -> int:
        while (position := self._held(partition)) is None:
            await asyncio.sleep(_POLL_SECONDS)
        return position

    async def commit(self, offsets: dict[TopicPartition, Any] | None = None) -> None:
        await self._ask("commit_error")
        for tp in offsets or {}:
            self._held(tp)
        if self not in self._broker.members:
            raise CommitFailedError
        self._broker.committed |= {tp.partition: what.offset for tp, what in (offsets or {}).items()}

    def revoke(self) -> None:
        """The group says that it deals anew."""
        if not self._closed:
            self._reassigning = True
            self._listener.on_partitions_revoked(set(self.assignment()))

    def assign(self, share: frozenset[int]) -> None:
        """The group says what is ours now; where to read, it will say in a moment."""
        if self._closed:
            return
        positions: dict[int, int | None] = dict.fromkeys(sorted(share))
        self._positions, self._reassigning, self._unknown, self._paused = positions, False, set(), set()
        self._listener.on_partitions_assigned(set(self.assignment()))
        asyncio.get_running_loop().call_later(self._rng.uniform(0.0, 0.2), self._look_up, positions)

    def expelled(self) -> None:
        """The group has given our partitions away. We learn of it by the next heartbeat, and come back."""
        asyncio.get_running_loop().call_later(self._rng.uniform(0.0, HEARTBEAT_SECONDS), self._come_back)

    def _come_back(self) -> None:
        if not self._closed and not self.process.dead:
            self.revoke()
            self._broker.join(self)

    def _join(self) -> None:
        if not self._closed and not self.process.dead:
            self._broker.join(self)

    def _look_up(self, positions: dict[int, int | None]) -> None:
        """Go to where the group has committed, wherever nobody has sought meanwhile."""
        if positions is self._positions:
            for partition in [p for p, position in positions.items() if position is None]:
                positions[partition] = self._broker.committed.get(partition)
                if positions[partition] is None:
                    self._unknown.add(partition)

    def _held(self, partition: Any) -> int | None:
        if partition.partition not in self._positions:
            raise IllegalStateError(f"{partition} is not assigned")
        position: int | None = self._positions[partition.partition]
        return position

    async def _ask(self, error: str) -> None:
        await self._travel()
        if self._closed:
            raise KafkaConnectionError("the client is closed")
        if self._broker.away:
            await asyncio.sleep(1.0)
            raise KafkaTimeoutError
        if error in self._broker.errors and self._rng.random() < 0.5:
            raise UnknownError("not now")

    async def _travel(self) -> None:
        outside()
        await asyncio.sleep(self._rng.expovariate(1 / 0.003))
        outside()


class _Connections:
    """The connections below a client, for the one request that it has no method for: which topic is this?"""

    def __init__(self, client: Client) -> None:
        self._asking = client

    def get_random_node(self) -> int:
        return 0

    async def send(self, node: int, request: Any, *, group: int = 0) -> Any:
        await self._asking._ask("ends_error")
        return SimpleNamespace(topics=[(0, _TOPIC, bytes(16))])
