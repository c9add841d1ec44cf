"""A bounded part of a topic, read once from end to end: outside any group, and finished by position.

    async with TopicReader(settings, topic) as reader:
        async for partition, records in reader.read(await reader.spans()):
            ...

What a transaction aborted is not handed out, and it leaves gaps, as its markers and compaction do: the last record may
stand well before the end. A partition is through when the position has reached its end, not when a record has.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from alice_rl.errors import DependencyError
from alice_rl.kafka import KafkaSettings

__all__ = ["Spans", "TopicReader"]

Spans = Mapping[int, tuple[int, int]]
"""By partition: the first offset to read, and the one after the last."""

_FETCH_TIMEOUT_MS = 200
_FETCH_RECORDS_MAX = 4_000  # what is handed out at once, however many partitions there are
_STALL_SECONDS = 30.0


class TopicReader:
    """Reads spans of a topic, as an asynchronous context manager.

    Parameters
    ----------
    settings : KafkaSettings
    topic : str
        Any topic of these brokers. One that does not exist has no spans, and is not created.

    Notes
    -----
    One reading at a time; a new one may be started at any moment, and ends the one before it. What is held is one
    fetch: at most `kafka.partition_fetch_bytes` of each partition.
    """

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._client: Any = None

    async def __aenter__(self) -> Self:
        settings = self._settings
        self._client = AIOKafkaConsumer(
            auto_offset_reset="none",
            isolation_level="read_committed",  # then the end of a partition, too, is where the open transactions begin
            fetch_max_wait_ms=settings.fetch_wait_ms,
            max_partition_fetch_bytes=settings.partition_fetch_bytes,
            **settings.connection(),
        )
        try:
            await self._client.start()
        except (KafkaError, OSError) as error:
            await self._stop()
            raise self._unreachable(error) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        await asyncio.sleep(0)  # a task of the consumer that never ran would raise CancelledError out of `stop`
        await self._client.stop()

    async def spans(self) -> dict[int, tuple[int, int]]:
        """All that the topic holds now, by partition; nothing when it does not exist.

        Raises
        ------
        DependencyError
            Kafka does not say.
        """
        try:
            # Of all topics: to ask for one by its name could create it.
            cluster = await self._client._client.fetch_all_metadata()
            places = [self._place(partition) for partition in cluster.partitions_for_topic(self._topic) or ()]
            if not places:
                return {}
            first, end = await self._client.beginning_offsets(places), await self._client.end_offsets(places)
        except (KafkaError, OSError) as error:
            raise self._unreachable(error) from error
        return {place.partition: (first[place], end[place]) for place in sorted(places)}

    async def read(self, spans: Spans) -> AsyncIterator[tuple[int, list[Any]]]:
        """The records of each partition from the first offset of its span up to the end: a partition, and its next.

        Yields
        ------
        tuple of int and list of ConsumerRecord
            In the order of their offsets within a partition, the partitions in turns; never an empty list.

        Raises
        ------
        DependencyError
            `log_truncated`: the topic has lost what was to be read. `kafka_unreachable`: it does not answer, or nothing
            came for half a minute.
        """
        ends = {self._place(partition): end for partition, (first, end) in spans.items() if first < end}
        if not ends:
            return
        self._client.assign(list(ends))
        for place in ends:
            self._client.seek(place, spans[place.partition][0])
        quiet_seconds, reached = 0.0, -1
        while ends:
            started = asyncio.get_running_loop().time()
            batches, positions = await self._fetch(ends)
            moved = sum(positions.values()) != reached
            quiet_seconds = 0.0 if moved else quiet_seconds + asyncio.get_running_loop().time() - started
            if quiet_seconds > _STALL_SECONDS:
                raise self._unreachable(TimeoutError(f"no record in {_STALL_SECONDS:g} s"))
            for place, records in batches.items():
                wanted = [record for record in records if record.offset < ends[place]]
                if wanted:
                    yield place.partition, wanted
            for place in [place for place, end in ends.items() if positions[place] >= end]:
                self._client.pause(place)
                del ends[place], positions[place]
            reached = sum(positions.values())

    async def _fetch(
        self, ends: Mapping[TopicPartition, int]
    ) -> tuple[dict[TopicPartition, list[Any]], dict[TopicPartition, int]]:
        """The next records of the partitions that are not through yet, and the position after them."""
        try:
            batches = await self._client.getmany(*ends, timeout_ms=_FETCH_TIMEOUT_MS, max_records=_FETCH_RECORDS_MAX)
            return batches, {place: await self._client.position(place) for place in ends}
        except OffsetOutOfRangeError as error:
            raise DependencyError(
                f"topic {self._topic!r} no longer holds what is to be read: {error}",
                code="log_truncated",
                hint="retention was quicker: read again from what is left, and raise the topic's retention",
            ) from error
        except (KafkaError, OSError) as error:
            raise self._unreachable(error) from error

    def _place(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)

    def _unreachable(self, error: Exception) -> DependencyError:
        return DependencyError(
            f"topic {self._topic!r} cannot be read at {self._settings.bootstrap_servers}: {error!r}",
            code="kafka_unreachable",
            hint="alice-rl doctor checks kafka.bootstrap_servers, the security settings and the rights",
        )
