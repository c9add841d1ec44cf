"""The partitions that a worker holds, and what is done with them: claim, fold, checkpoint.

One coroutine owns the shards, so nothing is locked. What Redis will not take is let go of and loaded again, never
merged.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence

from alice_rl.errors import DependencyError
from alice_rl.intake import Record, Rejected
from alice_rl.log import get_logger
from alice_rl.shard import Shard
from alice_rl.snapshot.records import Applied
from worker.checkpoint import Checkpoints, Holding
from worker.consumer import Consumer
from worker.dead_letters import DeadLetters
from worker.log_loss import recreated, unreadable
from worker.settings import Settings

__all__ = ["Partitions"]

logger = get_logger(__name__)

# Before a partition that somebody else has claimed is claimed again: the first pause at most, and how often it doubles.
_FENCED_SECONDS, _FENCED_DOUBLINGS = 1.0, 4


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
        self._topic_id: str | None = None
        self._foreign: set[int] = set()  # partitions whose checkpoint is of a topic with another id
        self._losses: Counter[int] = Counter()  # checkpoints in a row that Redis did not take
        self._again_at: dict[int, float] = {}  # when a partition that was lost may be claimed again

    @property
    def settled(self) -> bool:
        """Whether the group has assigned anything yet, and the holdings are what it has."""
        return 0 < self._consumer.epoch == self._epoch and not self._again_at

    @property
    def settling_due(self) -> bool:
        """Whether something is to be claimed or let go of now."""
        now = asyncio.get_running_loop().time()
        return self._epoch != self._consumer.epoch or any(at <= now for at in self._again_at.values())

    def release(self) -> None:
        """Let go of everything; the next `settle` claims it anew."""
        self.holdings.clear()
        self._epoch = -1

    async def settle(self) -> None:
        """Claim what the group has given us, let go of the rest, and seek: the one place where positions are set."""
        epoch, now = self._consumer.epoch, asyncio.get_running_loop().time()
        moved, assigned = epoch != self._epoch, self._consumer.partitions
        for partition in self.holdings.keys() - assigned:
            del self.holdings[partition]
            logger.info("partition.revoked", partition=partition, epoch=epoch)
        self._again_at = {partition: at for partition, at in self._again_at.items() if partition in assigned}
        if assigned:
            await self._recognise_topic()
        for partition in sorted(assigned):
            if partition in self.holdings:
                if moved:
                    self._resume(partition, self.holdings[partition])
            elif self._again_at.get(partition, 0.0) <= now:
                await self._take(partition, epoch)
            if self._consumer.epoch != epoch:
                return  # it moved again; the next turn of the loop starts over
        self._epoch = epoch

    async def _recognise_topic(self) -> None:
        """Refuse a topic that was made anew: it would be read on at the old offsets, and nobody would say so.

        Raises
        ------
        DependencyError
            It is another topic, or the brokers do not tell.
        """
        found = await self._consumer.topic_id()
        if self._topic_id not in (None, found):
            raise recreated(f"topic {self._settings.kafka.topic!r} has another id than before")
        self._topic_id = found

    def _resume(self, partition: int, holding: Holding) -> None:
        """Go on where we are; the last record is read once more, to see that it is still the same log."""
        shard = holding.shard
        self._consumer.seek(partition, max(shard.position - 1, shard.start))

    async def _take(self, partition: int, epoch: int) -> None:
        """Claim one partition and go to where its checkpoint says, unless another worker was quicker."""
        started = asyncio.get_running_loop().time()
        holding = await self.checkpoints.claim(partition, epoch)
        if holding is None:
            logger.warning("partition.fenced", partition=partition, epoch=epoch, reason="claimed by another worker")
            self._await(partition)
            return
        first, end = await self._consumer.log_ends(partition)
        shard = holding.shard
        if holding.stored_next is None:
            shard.begin(max(first, await self._start(partition)))
        elif not first <= shard.next <= end:
            raise unreadable(partition, shard.next, first, end)
        self._compare_topics(partition, shard)
        self._pass_over(partition, holding)
        self._consumer.seek(partition, max(shard.position, first))
        self.holdings[partition] = holding
        self._again_at.pop(partition, None)
        logger.info(
            "partition.assigned",
            partition=partition,
            epoch=epoch,
            next=shard.next,
            low=shard.position,
            seconds=round(asyncio.get_running_loop().time() - started, 3),
        )

    def _compare_topics(self, partition: int, shard: Shard) -> None:
        """Note whether the checkpoint is of another topic, which then has to prove that it holds the same log."""
        self._foreign.discard(partition)
        if self._topic_id and shard.topic_id not in ("", self._topic_id) and shard.next > shard.start:
            self._foreign.add(partition)
        shard.topic_id = self._topic_id or shard.topic_id

    async def _start(self, partition: int) -> int:
        """Where a partition without a checkpoint begins.

        "Latest" is where the log ended when the lineage was begun: a partition that came later is read from its first
        record, and a worker that died before its first checkpoint has skipped nothing.
        """
        if self._settings.kafka.start_from == "earliest":
            return 0
        ends = await self._consumer.ends(self._consumer.topic_partitions)
        return (await self.checkpoints.starts(ends)).get(partition, 0)

    def _pass_over(self, partition: int, holding: Holding) -> None:
        """Put the records on the shard's skip list that killed their readers, or that the settings name."""
        shard, suspicion = holding.shard, holding.suspicion
        shard.skipped.update(
            offset for skipped, offset in self._settings.worker.skipped if skipped == partition and offset >= shard.next
        )
        if suspicion is None:
            return
        if suspicion.culprit is not None:
            shard.skipped.add(suspicion.culprit)
            logger.error(
                "record.skipped",
                partition=partition,
                offset=suspicion.culprit,
                deaths=suspicion.deaths,
                next=shard.next,
            )
        else:
            logger.warning(
                "record.suspected",
                partition=partition,
                next=shard.next,
                first=suspicion.first,
                end=suspicion.end,
                deaths=suspicion.deaths,
            )

    async def fold(self, batches: Mapping[int, Sequence[Record]]) -> None:
        """Fold what was fetched; what is rejected goes to the dead letters."""
        for partition, records in batches.items():
            holding = self.holdings.get(partition)
            if holding is None:
                continue
            before, rebuilding = holding.shard.next, holding.shard.rebuilding
            rejected: list[Rejected] = []
            try:
                await self._feed(partition, holding, records, rejected)
            except DependencyError:
                self._epoch = -1  # the client has passed what was not folded: it has to seek again
                await self._dead_letters.send(partition, rejected)
                raise
            self._end_restoring(partition, holding, rebuilding)
            self.counts["records"] += sum(record.offset >= before for record in records)
            self.counts["rejected"] += len(rejected)
            if rejected:
                await self._dead_letters.send(partition, rejected)
            await asyncio.sleep(0)  # lets the group's heartbeats through, and the next fetch go out
        for partition, holding in self.holdings.items():
            if holding.shard.rebuilding and not self.settling_due:
                holding.shard.arrive(await self._consumer.position(partition) or 0)
                self._end_restoring(partition, holding, rebuilding=True)

    def _end_restoring(self, partition: int, holding: Holding, rebuilding: bool) -> None:
        """Say that a partition is restored, once it is."""
        shard = holding.shard
        if rebuilding and not shard.rebuilding:
            if partition in self._foreign and not shard.recognised:
                raise recreated(f"partition {partition} does not hold the record at offset {shard.next - 1} any more")
            logger.info("partition.restored", partition=partition, next=shard.next, watermark_ms=shard.watermark_ms)

    async def _feed(
        self, partition: int, holding: Holding, records: Sequence[Record], rejected: list[Rejected]
    ) -> None:
        """Feed the shard: at once, or step by step when a record may kill us."""
        if holding.suspicion is None:
            rejected += holding.shard.feed(records)
            return
        for part in holding.suspicion.parts(records):
            await self.checkpoints.suspect(partition, holding, (part[0].offset, part[-1].offset + 1))
            rejected += holding.shard.feed(part)
        await self.checkpoints.suspect(partition, holding, None)

    async def checkpoint(self) -> None:
        """Write every shard that moved, and renew the leases of those that did not."""
        await self._dead_letters.flush()
        now = started = asyncio.get_running_loop().time()
        renewal = self._settings.worker.lease_seconds / 3
        due = {
            partition: holding
            for partition, holding in self.holdings.items()
            if not holding.shard.rebuilding
            and (holding.shard.next != holding.stored_next or now - holding.renewed_at >= renewal)
        }
        if any(holding.shard.next != holding.stored_next for holding in due.values()):
            await self._recognise_topic()
        results = await asyncio.gather(*(self.checkpoints.write(p, h) for p, h in due.items()), return_exceptions=True)
        written: dict[int, int] = {}
        for (partition, holding), applied in zip(due.items(), results, strict=True):
            if isinstance(applied, BaseException):
                raise applied
            if applied.done:
                written[partition] = holding.shard.next
                self.holdings[partition] = _stored(holding, now)
                del self._losses[partition]
            else:
                self._lose(partition, applied)
        if written:
            seconds = round(asyncio.get_running_loop().time() - started, 4)
            self.counts["checkpoints"] += 1
            logger.debug("checkpoint.written", partitions=sorted(written), seconds=seconds)
            await self._consumer.commit(written)

    def _lose(self, partition: int, applied: Applied) -> None:
        """Let go of a shard that Redis would not take: it is loaded again, never merged."""
        if applied is Applied.LINEAGE:
            raise DependencyError(
                f"lineage {self.checkpoints.name!r} is not declared in Redis with this configuration any more",
                code="lineage_refused",
                hint="undo the change of structure, or learn it under another policy.lineage",
            )
        logger.warning("partition.fenced", partition=partition, epoch=self._epoch, reason=applied.value)
        del self.holdings[partition]
        self._await(partition, at_once=applied is Applied.CAS)

    def _await(self, partition: int, at_once: bool = False) -> None:
        """Claim a partition again after a pause: two deployments that fence each other would never get anywhere."""
        self._losses[partition] += 1
        pause = min(self._settings.worker.checkpoint_interval_seconds, _FENCED_SECONDS)
        pause *= 2 ** min(self._losses[partition] - 1, _FENCED_DOUBLINGS) * random.uniform(1.0, 2.0)
        self._again_at[partition] = asyncio.get_running_loop().time() + (0.0 if at_once else pause)


def _stored(holding: Holding, now: float) -> Holding:
    """The holding after Redis took its checkpoint; a suspicion ends where the log was passed without harm."""
    suspicion, next_offset = holding.suspicion, holding.shard.next
    if suspicion is not None and next_offset != holding.stored_next and next_offset >= suspicion.end:
        suspicion = None
    return holding._replace(stored_next=next_offset, renewed_at=now, suspicion=suspicion)
