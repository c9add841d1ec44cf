"""The partitions that a worker holds, and what is done with them: claim, fold, checkpoint.

One coroutine owns the shards, so nothing is locked. What Redis will not take is let go of and loaded again, never
merged.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

from alice_rl.errors import DependencyError
from alice_rl.intake import Record
from alice_rl.log import get_logger
from alice_rl.snapshot.records import Applied
from worker.checkpoint import Checkpoints, Holding
from worker.consumer import Consumer
from worker.dead_letters import DeadLetters
from worker.folding import feed, pass_over
from worker.settings import Settings

__all__ = ["Partitions"]

logger = get_logger(__name__)

_FENCED_SECONDS = 0.2  # before a partition that another worker was quicker to claim is claimed again


class Partitions:
    """A worker's share of the log.

    Parameters
    ----------
    settings : Settings
    consumer : Consumer
    checkpoints : Checkpoints
    dead_letters : DeadLetters

    Attributes
    ----------
    holdings : dict of int to Holding
        The partitions that are held.
    counts : Counter
        Records folded and rejected by this process.
    """

    def __init__(
        self, settings: Settings, consumer: Consumer, checkpoints: Checkpoints, dead_letters: DeadLetters
    ) -> None:
        self.holdings: dict[int, Holding] = {}
        self.counts: Counter[str] = Counter()
        self.checkpoints = checkpoints
        self._settings = settings
        self._consumer = consumer
        self._dead_letters = dead_letters
        self._epoch = -1

    @property
    def settled(self) -> bool:
        """Whether the holdings are those that the group has assigned."""
        return self._epoch == self._consumer.epoch

    def release(self) -> None:
        """Let go of everything; the next `settle` claims it anew."""
        self.holdings.clear()
        self._epoch = -1

    async def settle(self) -> None:
        """Claim what the group has given us, let go of the rest, and seek: the one place where positions are set."""
        epoch = self._consumer.epoch
        assigned = self._consumer.partitions
        for partition in self.holdings.keys() - assigned:
            del self.holdings[partition]
            logger.info("partition.revoked", partition=partition, epoch=epoch)
        for partition in sorted(assigned):
            if partition in self.holdings:
                await self._resume(partition, self.holdings[partition])
            elif not await self._take(partition, epoch):
                return
            if self._consumer.epoch != epoch:
                return  # it moved again; the next turn of the loop starts over
        self._epoch = epoch

    async def _resume(self, partition: int, holding: Holding) -> None:
        """Go on where we are; the last record is read once more, to see that it is still the same log.

        On a quiet topic retention may have taken it meanwhile: then there is nothing to see, and nothing is missing.
        """
        shard = holding.shard
        first, end = await self._consumer.log_ends(partition)
        if shard.next < first:
            raise _gap(partition, shard.next, first, end)
        self._consumer.seek(partition, max(shard.position - 1, shard.start, first))

    async def _take(self, partition: int, epoch: int) -> bool:
        """Claim one partition and go to where its checkpoint says; False when another worker was quicker."""
        started = asyncio.get_running_loop().time()
        holding = await self.checkpoints.claim(partition, epoch)
        if holding is None:
            logger.warning("partition.fenced", partition=partition, epoch=epoch, reason="claimed by another worker")
            await asyncio.sleep(_FENCED_SECONDS)
            return False
        first, end = await self._consumer.log_ends(partition)
        shard = holding.shard
        if holding.stored_next is None:
            shard.begin(end if self._settings.kafka.start_from == "latest" else first)
        elif not first <= shard.next <= end:
            raise _gap(partition, shard.next, first, end)
        elif shard.next == end:
            holding = holding._replace(suspicion=None)  # there was nothing to die of: it only had nothing to do
        holding = await pass_over(self.checkpoints, partition, holding, self._settings.worker.skipped)
        self._consumer.seek(partition, max(shard.position, first))
        self.holdings[partition] = holding
        logger.info(
            "partition.assigned",
            partition=partition,
            epoch=epoch,
            next=shard.next,
            low=shard.position,
            seconds=round(asyncio.get_running_loop().time() - started, 3),
        )
        return True

    async def fold(self, batches: Mapping[int, Sequence[Record]]) -> None:
        """Fold what was fetched; what is rejected goes to the dead letters.

        Nothing is folded before all partitions are settled: until the seek, records come from where the group has
        committed.

        Raises
        ------
        DependencyError
            Word of a record that may kill could not be left. What was not folded is fetched again.
        """
        if not self.settled:
            return
        try:
            for partition, records in batches.items():
                holding = self.holdings.get(partition)
                if holding is not None:
                    await self._fold(partition, holding, records)
        except DependencyError:
            self._epoch = -1  # the consumer is past what was not folded: settling seeks back to it
            raise

    async def _fold(self, partition: int, holding: Holding, records: Sequence[Record]) -> None:
        shard, rebuilding, counted = holding.shard, holding.shard.rebuilding, holding.shard.counts["records"]
        async for rejected in feed(self.checkpoints, partition, holding, records):
            self.counts.update(records=shard.counts["records"] - counted, rejected=len(rejected))
            counted = shard.counts["records"]
            if rejected:
                await self._dead_letters.send(partition, rejected)
        if rebuilding and not shard.rebuilding:
            logger.info("partition.restored", partition=partition, next=shard.next, watermark_ms=shard.watermark_ms)
        await asyncio.sleep(0)  # lets the group's heartbeats through, and the next fetch go out

    async def checkpoint(self) -> None:
        """Write every shard that moved, and renew the leases of those that did not."""
        clock = asyncio.get_running_loop().time
        started = clock()
        await self._dead_letters.flush()
        now, renewal = clock(), self._settings.worker.lease_seconds / 3
        due = {
            partition: holding
            for partition, holding in self.holdings.items()
            if not holding.shard.rebuilding
            and (holding.shard.next != holding.stored_next or now - holding.renewed_at >= renewal)
        }
        results = await asyncio.gather(*(self.checkpoints.write(p, h) for p, h in due.items()), return_exceptions=True)
        written: dict[int, int] = {}
        failed: list[BaseException] = []
        for (partition, holding), applied in zip(due.items(), results, strict=True):
            if isinstance(applied, BaseException):
                failed.append(applied)  # what the others have written stands all the same
            elif applied.done:
                written[partition] = holding.shard.next
                self.holdings[partition] = holding.stored(now)
            else:
                await self._lose(partition, applied)
        if failed:
            raise failed[0]
        if written:
            self.counts["checkpoints"] += 1
            await self._consumer.commit(written)
            logger.debug("checkpoint.written", partitions=sorted(written), seconds=round(clock() - started, 4))

    async def _lose(self, partition: int, applied: Applied) -> None:
        """Let go of a shard that Redis would not take: it is loaded again, never merged."""
        if applied is Applied.LINEAGE:
            raise await self.checkpoints.refusal()
        logger.warning("partition.fenced", partition=partition, epoch=self._epoch, reason=applied.value)
        del self.holdings[partition]
        self._epoch = -1


def _gap(partition: int, next_offset: int, first: int, end: int) -> DependencyError:
    if next_offset < first:
        return DependencyError(
            f"partition {partition} must go on at offset {next_offset}, but the topic begins at {first} by now: "
            f"{first - next_offset} records left retention before they were read",
            code="log_truncated",
            hint="learn from what is left under another policy.lineage, and raise the topic's retention",
        )
    return DependencyError(
        f"partition {partition} must go on at offset {next_offset}, but the topic ends at {end}: it was made anew",
        code="log_recreated",
        hint="learn the new topic under another policy.lineage",
    )
