"""The partitions that a worker holds, and what is done with them: fold, and checkpoint.

One coroutine owns the shards, so nothing is locked. What Redis will not take is let go of and loaded again, never
merged.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from alice_rl.errors import DependencyError
from alice_rl.intake import Record, Rejected
from alice_rl.log import get_logger
from alice_rl.snapshot.records import Applied
from worker.assignment import Assignment
from worker.checkpoint import Holding
from worker.folding import feed

__all__ = ["Log", "Partitions", "SetAside"]

logger = get_logger(__name__)


class Log(Protocol):
    """Where reading stands, and who is told how far the checkpoints are."""

    async def position(self, partition: int) -> int | None: ...
    async def commit(self, offsets: dict[int, int]) -> None: ...


class SetAside(Protocol):
    """Where rejected records go."""

    async def send(self, partition: int, rejected: Sequence[Rejected]) -> None: ...
    async def flush(self) -> None: ...


class Partitions:
    """Folds and checkpoints what is assigned.

    Parameters
    ----------
    assignment : Assignment
    log : Log
    dead_letters : SetAside
    lease_seconds : float
        How long a partition counts as held without a checkpoint; an idle one renews its lease in a third of it.

    Attributes
    ----------
    counts : Counter
        Records folded and rejected by this process.
    """

    def __init__(self, assignment: Assignment, log: Log, dead_letters: SetAside, lease_seconds: float) -> None:
        self.counts: Counter[str] = Counter()
        self._assignment = assignment
        self._log = log
        self._dead_letters = dead_letters
        self._renewal_seconds = lease_seconds / 3

    async def fold(self, batches: Mapping[int, Sequence[Record]]) -> None:
        """Fold what was fetched; what is rejected goes to the dead letters.

        Nothing is folded before all positions are set: until then, records come from where the group has committed.

        Raises
        ------
        DependencyError
            Word of a record that may kill could not be left; what was not folded is fetched again. Or what a restored
            shard has read is not its log.
        """
        if not self._assignment.sought:
            return
        try:
            for partition, records in batches.items():
                holding = self._assignment.holdings.get(partition)
                if holding is not None:
                    await self._fold(partition, holding, records)
        except DependencyError:
            self._assignment.seek_again()
            raise
        await self._pass_gaps()

    async def _fold(self, partition: int, holding: Holding, records: Sequence[Record]) -> None:
        shard, rebuilding, counted = holding.shard, holding.shard.rebuilding, holding.shard.counts["records"]
        async for rejected in feed(self._assignment.checkpoints, partition, holding, records):
            self.counts.update(records=shard.counts["records"] - counted, rejected=len(rejected))
            counted = shard.counts["records"]
            if rejected:
                await self._dead_letters.send(partition, rejected)
        if rebuilding and not shard.rebuilding:
            self._end_restoring(partition, holding)
        await asyncio.sleep(0)  # lets the group's heartbeats through, and the next fetch go out

    async def _pass_gaps(self) -> None:
        """End the restoring of shards whose last records before `next` are gone: by compaction, or by retention."""
        for partition, holding in self._assignment.holdings.items():
            if holding.shard.rebuilding and self._assignment.sought:
                position = await self._log.position(partition)
                if position is not None and holding.shard.arrive(position):
                    self._end_restoring(partition, holding)

    def _end_restoring(self, partition: int, holding: Holding) -> None:
        self._assignment.recognise_log(partition)
        shard = holding.shard
        logger.info("partition.restored", partition=partition, next=shard.next, watermark_ms=shard.watermark_ms)

    async def checkpoint(self) -> None:
        """Write every shard that moved, and renew the leases of those that did not.

        Raises
        ------
        DependencyError
            Redis or Kafka is away, or the topic is another one.
        """
        clock = asyncio.get_running_loop().time
        started = clock()
        await self._dead_letters.flush()
        now = clock()
        due = {
            partition: holding
            for partition, holding in self._assignment.holdings.items()
            if not holding.shard.rebuilding
            and (holding.shard.next != holding.stored_next or now - holding.renewed_at >= self._renewal_seconds)
        }
        if any(holding.shard.next != holding.stored_next for holding in due.values()):
            # Whatever was fetched before the answer came from the topic that the answer names.
            await self._assignment.recognise_topic()
        written = await self._write(due, now)
        if written:
            self.counts["checkpoints"] += 1
            await self._log.commit(written)
            logger.debug("checkpoint.written", partitions=sorted(written), seconds=round(clock() - started, 4))

    async def _write(self, due: Mapping[int, Holding], now: float) -> dict[int, int]:
        """Write shards side by side; where those stand that Redis took."""
        write = self._assignment.checkpoints.write
        results = await asyncio.gather(*(write(p, holding) for p, holding in due.items()), return_exceptions=True)
        written: dict[int, int] = {}
        failed: list[BaseException] = []
        for (partition, holding), applied in zip(due.items(), results, strict=True):
            if isinstance(applied, BaseException):
                failed.append(applied)  # what the others have written stands all the same
            elif applied.done:
                written[partition] = holding.shard.next
                self._assignment.keep(partition, holding.stored(now))
            else:
                await self._lose(partition, applied)
        if failed:
            raise failed[0]
        return written

    async def _lose(self, partition: int, applied: Applied) -> None:
        """Let go of a shard that Redis would not take: it is loaded again, never merged."""
        if applied is Applied.LINEAGE:
            raise await self._assignment.checkpoints.refusal()
        logger.warning("partition.fenced", partition=partition, reason=applied.value)
        self._assignment.lose(partition, at_once=applied is Applied.CAS)
