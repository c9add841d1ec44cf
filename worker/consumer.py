"""Records out of Kafka: a member of the consumer group whose assignment the loop owns.

The rebalance callbacks only count: awaiting anything in them lets `getmany` hand out records from the wrong place, and
an exception in them is swallowed. The loop sees the count move, claims and seeks by itself, and drops whatever was
fetched across the move.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import (
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import OffsetAndMetadata

from alice_rl.errors import DependencyError
from alice_rl.kafka import KafkaSettings
from alice_rl.log import get_logger
from worker.log_loss import unreadable
from worker.topic_identity import topic_id

__all__ = ["Consumer"]

logger = get_logger(__name__)

_FETCH_TIMEOUT_MS = 200
_FETCH_RECORDS_MAX = 24_000  # what is held decompressed at once, however many partitions there are
_COMMIT_TIMEOUT_SECONDS = 2.0
_UNSOUGHT_SECONDS = 0.02
_REBALANCE_SECONDS = 1.0  # beyond its timeout, `getmany` waits without limit while the group rebalances
_ENDS_SECONDS = 10.0
_METADATA_SECONDS = 60  # a topic that is given more partitions is noticed after so long


class _Epoch(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Counts changes of the assignment."""

    def __init__(self) -> None:
        self.count = 0

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self.count += 1

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.count += 1


class Consumer:
    """The telemetry topic, as this worker's share of it.

    Parameters
    ----------
    settings : KafkaSettings
    assignors : tuple of type, optional
        Other assignors than aiokafka's sticky one, which moves as few partitions as it can.
    """

    def __init__(self, settings: KafkaSettings, assignors: tuple[type, ...] = (StickyPartitionAssignor,)) -> None:
        self._settings = settings
        self._assignors = assignors
        self._epoch = _Epoch()
        self._client: Any = None
        self._sought: dict[int, int] = {}  # the epoch in which a partition's position was last set

    @property
    def epoch(self) -> int:
        """How often the assignment has changed; records fetched under another epoch are not this worker's."""
        return self._epoch.count

    @property
    def partitions(self) -> set[int]:
        """The partitions that the group has given to this worker."""
        return {tp.partition for tp in self._client.assignment()}

    @property
    def topic_partitions(self) -> set[int]:
        """The partitions that the topic is known to have."""
        return set(self._client.partitions_for_topic(self._settings.topic) or ())

    async def start(self) -> None:
        """Join the group, waiting for Kafka as long as the settings say.

        Raises
        ------
        DependencyError
            No broker answers in time, or the topic does not exist.
        """
        deadline = asyncio.get_running_loop().time() + self._settings.start_timeout_seconds
        pause = 0.2
        while True:
            try:
                await self._connect()
                return
            except DependencyError as error:
                if asyncio.get_running_loop().time() + pause > deadline:
                    raise
                logger.warning(
                    "kafka.unreachable",
                    servers=self._settings.bootstrap_servers,
                    error=error.message,
                    retry_seconds=pause,
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, 3.0)

    async def _connect(self) -> None:
        settings = self._settings
        self._client = AIOKafkaConsumer(
            group_id=settings.group_id,
            auto_offset_reset="none",  # the checkpoint says where to read; anything else is a decision, not a default
            enable_auto_commit=False,
            fetch_max_wait_ms=settings.fetch_wait_ms,
            max_partition_fetch_bytes=settings.partition_fetch_bytes,
            session_timeout_ms=settings.session_timeout_ms,
            # A member learns of a rebalance by its heartbeat: everybody waits for the one that asks last.
            heartbeat_interval_ms=max(100, min(1000, settings.session_timeout_ms // 4)),
            metadata_max_age_ms=_METADATA_SECONDS * 1000,
            isolation_level="read_committed",  # what a transaction took back was never said
            max_poll_interval_ms=max(300_000, settings.session_timeout_ms),
            partition_assignment_strategy=self._assignors,
            **settings.connection(),
        )
        try:
            await self._client.start()
            partitions = await self._partitions_of_topic()
        except (KafkaError, OSError) as error:
            await self._client.stop()
            raise DependencyError(
                f"Kafka cannot be used at {settings.bootstrap_servers}: {error!r}",
                code="kafka_unreachable",
                hint="check kafka.bootstrap_servers, the security settings, and that the broker runs",
            ) from error
        if not partitions:
            await self._client.stop()
            raise DependencyError(
                f"topic {settings.topic!r} does not exist on {settings.bootstrap_servers}",
                code="topic_missing",
                hint=f"kafka-topics.sh --create --topic {settings.topic} --partitions 6 --bootstrap-server ...",
            )
        self._client.subscribe([settings.topic], listener=self._epoch)

    async def _partitions_of_topic(self) -> set[int]:
        found: set[int] | None = self._client.partitions_for_topic(self._settings.topic)
        if found is None and self._settings.topic in await self._client.topics():
            await self._client._client.force_metadata_update()
            found = self._client.partitions_for_topic(self._settings.topic)
        return found or set()

    async def fetch(self) -> dict[int, list[Any]]:
        """The next records by partition; nothing when none came in a while, or the assignment moved meanwhile."""
        epoch = self.epoch
        try:
            async with asyncio.timeout(_REBALANCE_SECONDS):
                batches = await self._client.getmany(timeout_ms=_FETCH_TIMEOUT_MS, max_records=_FETCH_RECORDS_MAX)
        except TimeoutError:
            return {}  # checkpoints and publications go on meanwhile
        except NoOffsetForPartitionError:
            # Raised, and at once, between an assignment and our seek; it says nothing about now.
            await asyncio.sleep(_UNSOUGHT_SECONDS)
            return {}
        except OffsetOutOfRangeError as error:
            refusal = await self._out_of_range(error)
            if refusal is None:
                return {}
            raise refusal from error
        except KafkaError as error:
            raise DependencyError(f"Kafka does not hand out records: {error!r}", code="kafka_fetch_failed") from error
        if epoch != self.epoch:
            return {}
        return {tp.partition: records for tp, records in batches.items()}

    async def _out_of_range(self, error: OffsetOutOfRangeError) -> DependencyError | None:
        """Whether what is to be read next has left the log, or was never in it.

        None when the error is of no consequence: between an assignment and our seek the client reads from the offset
        that the group has committed, which may be long gone, or another lineage's.
        """
        for tp, offset in dict(*error.args).items():
            if self._sought.get(tp.partition) != self.epoch or await self.position(tp.partition) != offset:
                continue
            return unreadable(tp.partition, offset, *await self.log_ends(tp.partition))
        return None

    def seek(self, partition: int, offset: int) -> bool:
        """Read a partition from `offset` on; False when it was taken away meanwhile."""
        try:
            self._client.seek(self._of(partition), offset)
            self._client.resume(self._of(partition))
        except IllegalStateError:
            return False
        self._sought[partition] = self.epoch
        return True

    def park(self, partition: int) -> None:
        """Read nothing of a partition until the next `seek`: it is assigned, and not to be read yet.

        It is given a position, too: without one, the client refuses to hand out any record of any partition.
        """
        if self.seek(partition, 0):
            self._client.pause(self._of(partition))
            del self._sought[partition]

    async def log_ends(self, partition: int) -> tuple[int, int]:
        """First offset that a partition still holds, and the one after its last."""
        try:
            first = await self._client.beginning_offsets([self._of(partition)])
            last = await self._client.end_offsets([self._of(partition)])
        except (KafkaError, OSError) as error:
            raise DependencyError(
                f"Kafka does not say what partition {partition} holds: {error!r}", code="kafka_unreachable"
            ) from error
        return first[self._of(partition)], last[self._of(partition)]

    def lag(self, partition: int, position: int) -> int:
        """Records of a partition that are still to be read, as of the last fetch."""
        if partition not in self.partitions:
            return 0
        end = self._client.last_stable_offset(self._of(partition))
        if end is None or end < 0:  # an old broker, or none that has answered yet
            end = self._client.highwater(self._of(partition))
        return 0 if end is None else max(0, end - position)

    async def position(self, partition: int) -> int | None:
        """Offset of the next record that will be handed out; it also passes by what is no record, as after a
        transaction. None while it is not known.
        """
        try:
            async with asyncio.timeout(_REBALANCE_SECONDS):
                return int(await self._client.position(self._of(partition)))
        except (TimeoutError, KafkaError):
            return None

    async def ends(self, partitions: Collection[int]) -> dict[int, int]:
        """The offset after the last record that may be read, per partition, asked of the brokers themselves.

        Raises
        ------
        DependencyError
            They do not answer.
        """
        try:
            async with asyncio.timeout(_ENDS_SECONDS):
                found = await self._client.end_offsets([self._of(partition) for partition in partitions])
        except (KafkaError, OSError, TimeoutError) as error:
            raise DependencyError(
                f"Kafka does not say how far the topic is: {error!r}", code="kafka_unreachable"
            ) from error
        return {tp.partition: end for tp, end in found.items()}

    async def topic_id(self) -> str:
        """What tells this topic from another one of the same name; empty where the brokers give no ids.

        Raises
        ------
        DependencyError
            They do not answer, or the topic is gone.
        """
        return await topic_id(self._client._client, self._settings.topic)

    async def renew(self) -> None:
        """Leave the group and join it again with a new client; positions are set by whoever sees the epoch move."""
        await self.stop()
        await self._connect()
        self._epoch.count += 1

    async def commit(self, offsets: dict[int, int]) -> None:
        """Tell the group how far the checkpoints are. For lag tools alone: nothing here ever reads it."""
        try:
            commit = self._client.commit({self._of(p): OffsetAndMetadata(next_, "") for p, next_ in offsets.items()})
            await asyncio.wait_for(commit, _COMMIT_TIMEOUT_SECONDS)
        except (KafkaError, TimeoutError, ValueError) as error:
            logger.warning("offset.commit_failed", partitions=sorted(offsets), error=repr(error))

    async def stop(self) -> None:
        """Leave the group."""
        if self._client is None:
            return
        try:
            await self._client.stop()
        except asyncio.CancelledError:
            # A fetch that waits for the broker's return is cancelled by aiokafka, which then trips over it.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise

    def _of(self, partition: int) -> TopicPartition:
        return TopicPartition(self._settings.topic, partition)
