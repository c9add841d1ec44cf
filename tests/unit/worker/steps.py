"""What tests of the worker do again and again: look at logs, make checkpoints, and stand in for Kafka and for time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

from alice_rl.errors import DependencyError
from alice_rl.intake import Record, Rejected
from alice_rl.snapshot.store import Store
from worker.checkpoint import Checkpoints, Holding
from worker.settings import Settings

__all__ = ["Clock", "FakeConsumer", "FakeDeadLetters", "Logged", "held", "makes_checkpoints", "taught"]


class Logged:
    """Log entries by the event's name."""

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self._entries = entries

    @property
    def names(self) -> list[str]:
        """The events in their order."""
        return [entry["event"] for entry in self._entries]

    def of(self, name: str) -> list[Mapping[str, Any]]:
        """The entries of one event."""
        return [entry for entry in self._entries if entry["event"] == name]


class Clock:
    """The running loop's clock, moved by the test alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = asyncio.get_running_loop().time()
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)


class FakeConsumer:
    """A consumer whose group, log and positions the test sets."""

    def __init__(self, *partitions: int, first: int = 0, end: int = 1000) -> None:
        self.epoch = 1
        self.partitions = set(partitions)
        self.first, self.end = dict.fromkeys(range(8), first), dict.fromkeys(range(8), end)
        self.positions: dict[int, int | None] = {}
        self.seeks: list[tuple[int, int]] = []
        self.parked: list[int] = []
        self.committed: list[dict[int, int]] = []
        self.away = False
        self.topic = "the-topic"

    @property
    def topic_partitions(self) -> set[int]:
        return set(self.end)

    async def topic_id(self) -> str:
        return self.topic

    def assign(self, *partitions: int) -> None:
        """Rebalance."""
        self.partitions = set(partitions)
        self.epoch += 1

    def seek(self, partition: int, offset: int) -> bool:
        self.seeks.append((partition, offset))
        return True

    def park(self, partition: int) -> None:
        self.parked.append(partition)

    async def log_ends(self, partition: int) -> tuple[int, int]:
        return self.first[partition], self.end[partition]

    async def ends(self, partitions: Collection[int]) -> dict[int, int]:
        if self.away:
            raise DependencyError("no broker answers", code="kafka_unreachable")
        return {partition: self.end[partition] for partition in partitions}

    async def position(self, partition: int) -> int | None:
        return self.positions.get(partition, 0)

    def lag(self, partition: int, position: int) -> int:
        return self.end[partition] - position

    async def commit(self, offsets: dict[int, int]) -> None:
        self.committed.append(offsets)


class FakeDeadLetters:
    """Keeps what was rejected."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Rejected]] = []

    async def send(self, partition: int, rejected: Sequence[Rejected]) -> None:
        self.sent += [(partition, one) for one in rejected]

    async def flush(self) -> None:
        pass


def makes_checkpoints(store: Store, settings: Settings, name: str = "main", worker: str = "w") -> Checkpoints:
    """Checkpoints of a lineage, written by `worker`."""
    return Checkpoints(store, settings.lineage, name, worker, settings.worker.lease_seconds)


async def held(checkpoints: Checkpoints, partition: int = 0) -> Holding:
    """A partition, claimed."""
    holding = await checkpoints.claim(partition, epoch=1)
    assert holding is not None
    return holding


async def taught(checkpoints: Checkpoints, log: Sequence[Record], partition: int = 0) -> Holding:
    """A partition, claimed, fed and checkpointed."""
    holding = await held(checkpoints, partition)
    holding.shard.feed(log)
    assert (await checkpoints.write(partition, holding)).done
    return holding.stored(0.0)
