"""What the group has given to a worker: claimed in Redis, let go of, and sought; the one place where positions are set.

A claim always succeeds, because the consumer group has decided who reads. Who was fenced waits before it claims again,
longer each time, so that two deployments by mistake take turns in place of fencing each other at every checkpoint.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Protocol

from alice_rl.episodes import Episode
from alice_rl.log import get_logger
from alice_rl.shard import Shard
from worker.checkpoint import Checkpoints, Holding
from worker.folding import pass_over
from worker.log_loss import recreated, unreadable
from worker.settings import Settings

__all__ = ["Assignment", "Group", "Watcher"]

logger = get_logger(__name__)

Watcher = Callable[[int, Shard, Sequence[Episode]], object]

# Before a partition that somebody else has claimed is claimed again: the first pause at most, and how often it doubles.
_FENCED_SECONDS, _FENCED_DOUBLINGS = 1.0, 4


class Group(Protocol):
    """The consumer group, and the log that it shares out."""

    @property
    def epoch(self) -> int: ...
    @property
    def partitions(self) -> set[int]: ...
    @property
    def topic_partitions(self) -> set[int]: ...
    async def topic_id(self) -> str: ...
    async def log_ends(self, partition: int) -> tuple[int, int]: ...
    async def ends(self, partitions: Collection[int]) -> dict[int, int]: ...
    def seek(self, partition: int, offset: int) -> bool: ...
    def park(self, partition: int) -> None: ...


class Assignment:
    """The partitions that are a worker's share.

    Parameters
    ----------
    settings : Settings
    group : Group
    checkpoints : Checkpoints

    Attributes
    ----------
    holdings : dict of int to Holding
        The partitions that are held.
    checkpoints : Checkpoints
        Of the lineage that is learned.
    watchers : list of callable
        Are shown what is learned: the partition, its shard (`next` is still before them) and the episodes.
    """

    def __init__(self, settings: Settings, group: Group, checkpoints: Checkpoints) -> None:
        self.holdings: dict[int, Holding] = {}
        self.checkpoints = checkpoints
        self.watchers: list[Watcher] = []
        self._settings = settings
        self._group = group
        self._epoch = -1
        self._topic_id: str | None = None
        self._foreign: set[int] = set()  # partitions whose checkpoint is of a topic with another id
        self._losses: Counter[int] = Counter()  # how often in a row Redis did not take a partition's checkpoint
        self._again_at: dict[int, float] = {}  # when a partition that was lost may be claimed again

    @property
    def sought(self) -> bool:
        """Whether all that is held is read from where it should be.

        Until then, what the client hands out comes from where the group has committed.
        """
        return self._epoch == self._group.epoch

    @property
    def settled(self) -> bool:
        """Whether the group has assigned anything yet, and the holdings are what it has."""
        return self.sought and self._group.epoch > 0 and not self._again_at

    @property
    def settling_due(self) -> bool:
        """Whether something is to be claimed, sought or let go of now."""
        now = asyncio.get_running_loop().time()
        return not self.sought or any(at <= now for at in self._again_at.values())

    def seek_again(self) -> None:
        """To be called when the client has passed what was not folded: the next `settle` seeks back to it."""
        self._epoch = -1

    def release(self) -> None:
        """Let go of everything; the next `settle` claims it anew."""
        self.holdings.clear()
        self.seek_again()

    async def settle(self) -> None:
        """Claim what the group has given us, let go of the rest, and seek.

        Raises
        ------
        DependencyError
            Redis or Kafka is away, or holds what must not be gone on from.
        """
        epoch, now = self._group.epoch, asyncio.get_running_loop().time()
        moved, assigned = epoch != self._epoch, self._group.partitions
        for partition in self.holdings.keys() - assigned:
            del self.holdings[partition]
            logger.info("partition.revoked", partition=partition, epoch=epoch)
        self._again_at = {partition: at for partition, at in self._again_at.items() if partition in assigned}
        if assigned:
            await self.recognise_topic()
        for partition in sorted(assigned):
            if partition in self.holdings:
                if moved:
                    await self._resume(partition, self.holdings[partition].shard)
            elif self._again_at.get(partition, 0.0) <= now:
                await self._take(partition, epoch)
            elif moved:
                self._group.park(partition)
            if self._group.epoch != epoch:
                return  # it moved again; the next turn of the loop starts over
        self._epoch = epoch

    async def recognise_topic(self) -> None:
        """Refuse a topic that was made anew: it would be read on at the old offsets, and nobody would say so.

        Raises
        ------
        DependencyError
            It is another topic, or the brokers do not tell.
        """
        found = await self._group.topic_id()
        if self._topic_id not in (None, found):
            raise recreated(f"topic {self._settings.kafka.topic!r} has another id than before")
        self._topic_id = found

    def recognise_log(self, partition: int) -> None:
        """Refuse the log of another topic, unless a restored shard has found its last record in it.

        Raises
        ------
        DependencyError
            It has not.
        """
        shard = self.holdings[partition].shard
        if partition in self._foreign and not shard.recognised:
            raise recreated(f"partition {partition} does not hold the record at offset {shard.next - 1} any more")

    def keep(self, partition: int, holding: Holding) -> None:
        """Take a holding whose checkpoint has been written."""
        self.holdings[partition] = holding
        del self._losses[partition]

    def lose(self, partition: int, *, at_once: bool) -> None:
        """Let go of a partition, and claim it again: at once, or after a pause that grows from loss to loss."""
        self.holdings.pop(partition, None)
        self._group.park(partition)
        self._losses[partition] += 1
        pause = min(self._settings.worker.checkpoint_interval_seconds, _FENCED_SECONDS)
        pause *= 2 ** min(self._losses[partition] - 1, _FENCED_DOUBLINGS) * random.uniform(1.0, 2.0)
        self._again_at[partition] = asyncio.get_running_loop().time() + (0.0 if at_once else pause)

    async def _resume(self, partition: int, shard: Shard) -> None:
        """Go on where we are; the last record is read once more, to see that it is still the same log.

        On a quiet topic retention may have taken it meanwhile: then there is nothing to see, and nothing is missing.
        """
        first, end = await self._group.log_ends(partition)
        if shard.next < first:
            raise unreadable(partition, shard.next, first, end)
        self._group.seek(partition, max(shard.position - 1, shard.start, first))

    async def _take(self, partition: int, epoch: int) -> None:
        """Claim one partition and go to where its checkpoint says, unless another worker was quicker."""
        clock = asyncio.get_running_loop().time
        started = clock()
        holding = await self.checkpoints.claim(partition, epoch)
        if holding is None:
            logger.warning("partition.fenced", partition=partition, epoch=epoch, reason="claimed by another worker")
            self.lose(partition, at_once=False)
            return
        first, end = await self._group.log_ends(partition)
        shard = holding.shard
        if holding.stored_next is None:
            shard.begin(max(first, await self._start(partition)))
        elif not first <= shard.next <= end:
            raise unreadable(partition, shard.next, first, end)
        elif shard.next == end:
            holding = holding._replace(suspicion=None)  # there was nothing to die of: it only had nothing to do
        self._compare_topics(partition, shard)
        holding = await pass_over(self.checkpoints, partition, holding, self._settings.worker.skipped)
        self._group.seek(partition, max(shard.position, first))
        if self.watchers:
            shard.watch = partial(self._show, partition, shard)
        self.holdings[partition] = holding
        self._again_at.pop(partition, None)
        seconds = round(clock() - started, 3)
        logger.info(
            "partition.assigned", partition=partition, epoch=epoch, next=shard.next, low=shard.position, seconds=seconds
        )

    def _show(self, partition: int, shard: Shard, episodes: Sequence[Episode]) -> None:
        for watcher in self.watchers:
            watcher(partition, shard, episodes)

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
        ends = await self._group.ends(self._group.topic_partitions)
        return (await self.checkpoints.starts(ends)).get(partition, 0)
