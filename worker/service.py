"""The worker: one loop that fetches, folds, checkpoints and publishes, and the only place where all parts meet.

    claim and seek (when the assignment moved) -> fetch -> feed -> dead letters -> checkpoint -> publish

One coroutine owns the shards, so nothing is locked. What Kafka or Redis refuse for a while is retried; the worker
keeps its place.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Coroutine

from alice_rl import __version__
from alice_rl.errors import AliceError, DependencyError
from alice_rl.intake import Record
from alice_rl.log import get_logger
from alice_rl.snapshot.records import Applied
from alice_rl.snapshot.store import Retention, Store
from worker.checkpoint import Checkpoints, Holding
from worker.consumer import Consumer
from worker.dead_letters import DeadLetters
from worker.heartbeat import Heartbeat
from worker.publisher import Publisher
from worker.settings import Settings, instance_name

__all__ = ["Worker"]

logger = get_logger(__name__)

_RETRY_SECONDS = (0.2, 5.0)
# What no waiting mends. Everything else that Kafka or Redis answer, full memory and changed passwords included, is
# retried: the sums are in memory, the log keeps the rest, and a worker that gave up would only have to read it again.
_FATAL = frozenset({"checkpoint_lost", "lineage_refused", "log_recreated", "log_truncated"})


class Worker:
    """A member of the group of workers that learn one policy.

    Parameters
    ----------
    settings : Settings
    consumer : Consumer, optional
        Another source than the settings' Kafka.

    Attributes
    ----------
    holdings : dict of int to Holding
        The partitions that this worker holds.
    waiting : bool
        Whether Kafka or Redis is away, and checkpoints wait for its return.
    """

    def __init__(self, settings: Settings, consumer: Consumer | None = None) -> None:
        self.settings = settings
        self.instance = instance_name()
        self.holdings: dict[int, Holding] = {}
        self.counts: Counter[str] = Counter()
        self._lineage = settings.lineage
        self._consumer = consumer or Consumer(settings.kafka)
        self._dead_letters = DeadLetters(settings.kafka)
        kept = Retention(versions_max=settings.snapshot.versions_kept, expire_seconds=settings.snapshot.expire_seconds)
        self._store = Store.from_settings(settings.redis, settings.policy.name, retention=kept)
        self._checkpoints = Checkpoints(
            self._store, self._lineage, settings.policy.lineage, self.instance, settings.worker.lease_seconds
        )
        self.publisher = Publisher(self._store, settings, self.instance)
        self._heartbeat = Heartbeat(settings.worker.heartbeat_interval_seconds)
        self._epoch = -1
        self._stop = asyncio.Event()
        self.waiting = False
        self._retry_at = 0.0
        self._retry_pause = _RETRY_SECONDS[0]

    def stop(self) -> None:
        """Ask the loop to finish: it checkpoints what it has folded, publishes, and leaves the group."""
        self._stop.set()

    async def run(self) -> None:
        """Work until `stop`.

        Raises
        ------
        DependencyError
            Kafka or Redis cannot be reached at the start, or holds what this worker must not go on from.
        ConfigError
            The lineage was declared with another structure.
        """
        started = time.monotonic()
        try:
            if await self._until_told(self._start()):
                await self._loop()
                await asyncio.wait_for(self._drain(), self.settings.worker.drain_timeout_seconds)
        except AliceError as error:
            logger.error("worker.failed", code=error.code, error=error.message, hint=error.hint)
            raise
        finally:
            await self._close()
            seconds = round(time.monotonic() - started, 3)
            logger.info("worker.stopped", records_total=self.counts["records"], seconds=seconds)

    async def _until_told(self, starting: Coroutine[None, None, None]) -> bool:
        """Wait for the start, which may wait for Redis or Kafka; False when the worker was told to stop meanwhile."""
        start, told = asyncio.ensure_future(starting), asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((start, told), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if start.done():
            start.result()
            return True
        start.cancel()
        await asyncio.wait((start,))
        return False

    async def _start(self) -> None:
        """Reach Redis and Kafka, and make sure that the lineage is ours to learn."""
        await self._store.wait_ready(self.settings.redis.start_timeout_seconds)
        name = self.settings.policy.lineage
        await self._store.declare_lineage(name, self._lineage.fingerprint, self._lineage.to_json())
        active = await self._store.activate_lineage(name, only_if_none=True)
        await self._consumer.start()
        await self._dead_letters.start()
        gc.freeze()  # what is loaded by now stays; the collector need not walk it again
        logger.info(
            "worker.started",
            version=__version__,
            policy=self.settings.policy.name,
            lineage=name,
            active_lineage=active,
            topic=self.settings.kafka.topic,
            group=self.settings.kafka.group_id,
            instance=self.instance,
        )

    async def _loop(self) -> None:
        checkpoint_at = time.monotonic() + self.settings.worker.checkpoint_interval_seconds
        while not self._stop.is_set():
            try:
                if self._epoch != self._consumer.epoch:
                    await self._take_assignment()
                    continue  # it may have moved again, and what is fetched before our seek comes from anywhere
                await self._fold(await self._consumer.fetch())
                if time.monotonic() >= max(checkpoint_at, self._retry_at):
                    checkpoint_at = time.monotonic() + self.settings.worker.checkpoint_interval_seconds
                    await self._checkpoint()
                    await self.publisher.publish_when_due(self.holdings)
                    self._recovered()
            except DependencyError as error:
                self._back_off(error)
                await asyncio.sleep(_RETRY_SECONDS[0])
            self._heartbeat.beat_when_due(self._consumer, self.holdings, self.counts, self.publisher)

    async def _take_assignment(self) -> None:
        """Claim what the group has given us, let go of the rest, and seek: the one place where positions are set."""
        epoch = self._consumer.epoch
        assigned = self._consumer.partitions
        for partition in self.holdings.keys() - assigned:
            del self.holdings[partition]
            logger.info("partition.revoked", partition=partition, epoch=epoch)
        for partition in sorted(assigned):
            if partition in self.holdings:
                self._consumer.seek(partition, self.holdings[partition].shard.position)
            elif not await self._take(partition, epoch):
                return
            if self._consumer.epoch != epoch:
                return  # it moved again; the next turn of the loop starts over
        self._epoch = epoch

    async def _take(self, partition: int, epoch: int) -> bool:
        """Claim one partition and go to where its checkpoint says; False when another worker was quicker."""
        started = time.monotonic()
        holding = await self._checkpoints.claim(partition, epoch)
        if holding is None:
            logger.warning("partition.fenced", partition=partition, epoch=epoch, reason="claimed by another worker")
            await asyncio.sleep(_RETRY_SECONDS[0])
            return False
        first, end = await self._consumer.log_ends(partition)
        shard = holding.shard
        if holding.stored_next is None:
            shard.begin(first if self.settings.kafka.start_from == "earliest" else end)
        elif not first <= shard.next <= end:
            raise _gap(partition, shard.next, first, end)
        self._consumer.seek(partition, max(shard.position, first))
        self.holdings[partition] = holding
        logger.info(
            "partition.assigned",
            partition=partition,
            epoch=epoch,
            next=shard.next,
            low=shard.position,
            seconds=round(time.monotonic() - started, 3),
        )
        return True

    async def _fold(self, batches: dict[int, list[Record]]) -> None:
        for partition, records in batches.items():
            holding = self.holdings.get(partition)
            if holding is None:
                continue
            shard, before, rebuilding = holding.shard, holding.shard.next, holding.shard.rebuilding
            rejected = shard.feed(records)
            if rebuilding and not shard.rebuilding:
                logger.info("partition.restored", partition=partition, next=shard.next, watermark_ms=shard.watermark_ms)
            self.counts["records"] += len(records) if shard.next > before else 0
            self.counts["rejected"] += len(rejected)
            if rejected:
                await self._dead_letters.send(partition, rejected)
            await asyncio.sleep(0)  # lets the group's heartbeats through, and the next fetch go out

    async def _checkpoint(self) -> None:
        """Write every shard that moved."""
        await self._dead_letters.flush()
        started = time.monotonic()
        moved = {p: h for p, h in self.holdings.items() if h.shard.next != h.stored_next and not h.shard.rebuilding}
        results = await asyncio.gather(
            *(self._checkpoints.write(p, h) for p, h in moved.items()), return_exceptions=True
        )
        written: dict[int, int] = {}
        for (partition, holding), applied in zip(moved.items(), results, strict=True):
            if isinstance(applied, BaseException):
                raise applied
            if applied.done:
                written[partition] = holding.shard.next
                self.holdings[partition] = holding._replace(stored_next=holding.shard.next)
            else:
                self._lose(partition, applied)
        if written:
            logger.debug("checkpoint.written", partitions=sorted(written), seconds=round(time.monotonic() - started, 4))
            await self._consumer.commit(written)

    def _lose(self, partition: int, applied: Applied) -> None:
        """Let go of a shard that Redis would not take: it is loaded again, never merged."""
        if applied is Applied.LINEAGE:
            raise DependencyError(
                f"lineage {self.settings.policy.lineage!r} is not declared in Redis with this configuration any more",
                code="lineage_refused",
                hint="undo the change of structure, or learn it under another policy.lineage",
            )
        logger.warning("partition.fenced", partition=partition, epoch=self._epoch, reason=applied.value)
        del self.holdings[partition]
        self._epoch = -1

    async def _drain(self) -> None:
        started = time.monotonic()
        try:
            await self._checkpoint()
            await self.publisher.publish(self.holdings)
        except DependencyError as error:
            logger.warning("checkpoint.failed", error=str(error))
        logger.info("worker.drained", partitions=sorted(self.holdings), seconds=round(time.monotonic() - started, 3))

    async def _close(self) -> None:
        await self._dead_letters.close()
        await self._consumer.stop()
        await self._store.close()

    def _back_off(self, error: DependencyError) -> None:
        """Note that a dependency is away, or give up when waiting cannot help."""
        if error.code in _FATAL:
            raise error
        if not self.waiting:
            logger.warning("redis.unreachable", error=str(error), retry_seconds=self._retry_pause)
        self.waiting = True
        self._retry_at = time.monotonic() + self._retry_pause
        self._retry_pause = min(self._retry_pause * 2, _RETRY_SECONDS[1])

    def _recovered(self) -> None:
        if self.waiting:
            logger.info("redis.recovered")
        self.waiting, self._retry_pause = False, _RETRY_SECONDS[0]


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
