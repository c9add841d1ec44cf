"""The worker: one loop that fetches, folds, checkpoints and publishes, and the only place where all parts meet.

    claim and seek (when the assignment moved) -> fetch -> fold -> dead letters -> checkpoint -> publish -> canary

What Kafka or Redis refuse for a while is retried; the worker keeps its place.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from msgspec import structs

from alice_rl import __version__
from alice_rl.errors import AliceError, ConfigError, DependencyError
from alice_rl.log import get_logger
from alice_rl.snapshot.connection import is_transient
from alice_rl.snapshot.store import Retention, Store
from worker.assignment import Assignment
from worker.checkpoint import Checkpoints, Holding
from worker.consumer import Consumer
from worker.dead_letters import DeadLetters
from worker.every import Every
from worker.gatekeeper import Gatekeeper
from worker.heartbeat import Heartbeat
from worker.partitions import Partitions
from worker.publisher import Publisher
from worker.settings import Settings, instance_name
from worker.watchdog import Health, Watchdog
from worker.windows import Windows

__all__ = ["Worker"]

logger = get_logger(__name__)

T = TypeVar("T")
_RETRY_SECONDS = (0.2, 5.0)
_LEVEL_RECORDS = 10_000  # what a worker reads in a fraction of a second: so near to its end a log is as good as read
# What no waiting mends. Everything else that Kafka or Redis answer, full memory and changed passwords included, is
# retried: the sums are in memory, the log keeps the rest, and a worker that gave up would only have to read it again.
_FATAL = frozenset({"checkpoint_corrupt", "checkpoint_lost", "lineage_refused", "log_recreated", "log_truncated"})


class Worker:
    """A member of the group of workers that learn one policy.

    Parameters
    ----------
    settings : Settings
    consumer : Consumer, optional
        Another source than the settings' Kafka.

    Attributes
    ----------
    counts : Counter
        What was read and rejected, in this process.
    waiting : bool
        Whether Kafka or Redis is away, and checkpoints wait for its return.
    """

    def __init__(self, settings: Settings, consumer: Consumer | None = None, store: Store | None = None) -> None:
        self.settings = settings
        self.instance = instance_name()
        self.waiting = False
        self._lineage = settings.lineage
        self._consumer = consumer or Consumer(settings.kafka)
        self._dead_letters = DeadLetters(settings.kafka, settings.policy.lineage)
        kept = Retention(versions_max=settings.snapshot.versions_kept, expire_seconds=settings.snapshot.expire_seconds)
        self._store = store or Store.from_settings(settings.redis, settings.policy.name, retention=kept)
        self._assignment = Assignment(settings, self._consumer, self._checkpoints())
        self._partitions = Partitions(
            self._assignment, self._consumer, self._dead_letters, settings.worker.lease_seconds
        )
        self.counts: Counter[str] = self._partitions.counts
        self._windows = Windows(settings)
        self._assignment.watchers.append(self._windows.sample.take)
        if settings.drift.enabled:
            from worker.drift_watch import DriftWatch  # only now: river takes a second and 70 MB

            self._assignment.watchers.append(DriftWatch(settings).take)
        self._keep_gate()
        self._watchdog = Watchdog(settings.worker, self._consumer, self.holdings, self._troubles)
        self._heartbeat = Heartbeat(settings.worker.heartbeat_interval_seconds)
        self._was_active = False
        self._stop = asyncio.Event()
        self._retry_at = 0.0
        self._retry_pause = _RETRY_SECONDS[0]

    @property
    def holdings(self) -> dict[int, Holding]:
        """The partitions that this worker holds."""
        return self._assignment.holdings

    @property
    def health(self) -> Health:
        """Whether it is ready, and how far behind."""
        return self._watchdog.health

    def _checkpoints(self) -> Checkpoints:
        settings = self.settings
        return Checkpoints(
            self._store, self._lineage, settings.policy.lineage, self.instance, settings.worker.lease_seconds
        )

    def _keep_gate(self) -> None:
        """Publish the lineage of the settings, and watch over its canaries."""
        self.publisher = Publisher(self._store, self.settings, self.instance, self._windows.complaint)
        self.gatekeeper = Gatekeeper(self._store, self.settings, self._windows, self.instance)
        self._publishing = Every(self.settings.worker.publish_interval_seconds)
        self._looking = Every(self.settings.canary.look_seconds)

    def _troubles(self) -> list[str]:
        """What keeps this worker from its work, for the watchdog."""
        troubles = [] if self._assignment.settled else ["waiting for its partitions"]
        return [*troubles, "Redis or Kafka is away"] if self.waiting else troubles

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
            The lineage was declared with another structure, or extended meanwhile.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            if await self._until_told(self._start()):
                await self._watched()
                await asyncio.wait_for(self._drain(), self.settings.worker.drain_timeout_seconds)
        except AliceError as error:
            logger.error("worker.failed", code=error.code, error=error.message, hint=error.hint)
            raise
        finally:
            await self._close()
            seconds = round(loop.time() - started, 3)
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
        name = self.settings.policy.lineage
        structure = name, self._lineage.fingerprint, self._lineage.to_json()
        await self._patiently(lambda: self._store.declare_lineage(*structure, extend=False))
        active = await self._patiently(lambda: self._store.activate_lineage(name, only_if_none=True))
        await self._consumer.start()
        await self._dead_letters.start()
        # Only now, because it ends the workers of the configuration before: one that cannot read takes over nothing.
        if appended := await self._patiently(lambda: self._store.declare_lineage(*structure)):
            logger.info("lineage.extended", lineage=name, features=appended, fingerprint=self._lineage.fingerprint)
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
        if self.settings.canary.mode == "direct":
            logger.warning("gate.bypassed", mode="direct")

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What Redis answers once it is ready: it may go away again right after, and a start may wait a while."""
        clock, timeout = asyncio.get_running_loop().time, self.settings.redis.start_timeout_seconds
        give_up_at = clock() + timeout
        while True:
            await self._store.wait_ready(max(0.0, give_up_at - clock()))
            try:
                return await ask()
            except DependencyError as error:
                if clock() > give_up_at or not (is_transient(error) or error.code == "redis_out_of_memory"):
                    raise
                logger.warning("redis.unreachable", error=str(error), retry_seconds=_RETRY_SECONDS[0])
            await asyncio.sleep(_RETRY_SECONDS[0])

    async def _watched(self) -> None:
        """The loop, with the watchdog beside it."""
        watching = asyncio.create_task(self._watchdog.run())
        try:
            await self._loop(watching)
        finally:
            watching.cancel()

    async def _loop(self, watching: asyncio.Task[None]) -> None:
        clock, interval = asyncio.get_running_loop().time, self.settings.worker.checkpoint_interval_seconds
        checkpoint_at = clock() + interval
        while not self._stop.is_set():
            if watching.done():
                watching.result()  # a bug in it is one of the worker
            try:
                if self._watchdog.renewal_due:
                    await self._consumer.renew()
                    self._watchdog.renewal_due = (
                        False  # now only: a client that could not be made anew is a stopped one
                    )
                if self._assignment.settling_due:
                    await self._partitions.checkpoint()  # whoever is given our partitions should go on from here
                    await self._assignment.settle()
                await self._partitions.fold(await self._consumer.fetch())
                if clock() >= max(checkpoint_at, self._retry_at):
                    checkpoint_at = clock() + interval
                    await self._partitions.checkpoint()
                    await self._lead()
                    await self._follow()
                    self._recovered()
            except DependencyError as error:
                self._back_off(error)
                await asyncio.sleep(_RETRY_SECONDS[0])
            self._heartbeat.beat_when_due(self.health, self.holdings, self.counts, self.publisher)

    async def _lead(self, *, last: bool = False) -> None:
        """What one worker of the group does for all, right after a checkpoint: publish, and look at the canary."""
        publishing, looking = last or self._publishing.due(), not last and self._looking.due()
        if not (publishing or looking):
            return
        taught = await self.publisher.gather(self.holdings)
        if taught is not None and publishing:
            await self.publisher.publish(taught, level=self._watchdog.lag_records <= _LEVEL_RECORDS, at_once=last)
        if taught is not None and looking:
            await self.gatekeeper.look(taught)

    async def _follow(self) -> None:
        """Go over to the lineage that took over from ours, when it has the same structure; else say what to do."""
        active, own = self.publisher.active, self.settings.policy.lineage
        if active in (None, own) or not self._was_active:
            self._was_active = self._was_active or active == own
            return
        declared = await self._store.lineage_config(active)
        self._was_active = False  # only now: should Redis fail, the next turn asks again
        if declared is None or declared[0] != self._lineage.fingerprint:
            logger.warning("lineage.superseded", lineage=own, active_lineage=active)
            return
        policy = structs.replace(self.settings.policy, lineage=active)
        self.settings = structs.replace(self.settings, policy=policy)
        self._assignment.release()
        self._assignment.checkpoints = self._checkpoints()
        self._dead_letters.lineage = active
        self._keep_gate()
        self._was_active = True
        logger.info("lineage.followed", lineage=own, active_lineage=active)

    async def _drain(self) -> None:
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            await self._partitions.checkpoint()
            await self._lead(last=True)
        except (ConfigError, DependencyError) as error:  # a lineage that was extended: others read this again
            logger.warning("checkpoint.failed", error=str(error))
        logger.info("worker.drained", partitions=sorted(self.holdings), seconds=round(clock() - started, 3))

    async def _close(self) -> None:
        self._windows.close()
        await self._dead_letters.close()
        await self._consumer.stop()
        await self._store.close()

    def _back_off(self, error: DependencyError) -> None:
        """Note that a dependency is away, or give up when waiting cannot help."""
        if error.code in _FATAL:
            raise error
        if not self.waiting and error.code.startswith("kafka"):
            logger.warning("kafka.unreachable", error=str(error), retry_seconds=self._retry_pause)
        elif not self.waiting:
            logger.warning("redis.unreachable", error=str(error), retry_seconds=self._retry_pause)
        self.waiting = True
        self._retry_at = asyncio.get_running_loop().time() + self._retry_pause
        self._retry_pause = min(self._retry_pause * 2, _RETRY_SECONDS[1])

    def _recovered(self) -> None:
        if self.waiting:
            logger.info("worker.recovered")
        self.waiting, self._retry_pause = False, _RETRY_SECONDS[0]
