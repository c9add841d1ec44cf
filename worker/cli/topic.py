"""How far the telemetry topic reaches, asked of Kafka once and not for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiokafka.client
import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from alice_rl.kafka import KafkaSettings

__all__ = ["ANSWER_SECONDS", "Ends", "administering", "connection", "heard", "partitions_of", "read_ends", "spans"]

ANSWER_SECONDS = 5.0
"""Longest wait for Kafka: who looks wants to know now, and "it does not answer" is an answer."""


class Ends(msgspec.Struct, frozen=True):
    """First offset and the one after the last of each partition; none, and the reason, when Kafka does not say."""

    offsets: Mapping[int, tuple[int, int]] = {}
    reason: str = ""


async def read_ends(settings: KafkaSettings) -> Ends:
    """Ask for the ends of the topic's partitions; creates nothing, joins no group."""
    with heard() as told:
        try:
            async with asyncio.timeout(ANSWER_SECONDS), administering(settings) as admin:
                partitions = await partitions_of(admin, settings.topic)
                if not partitions:
                    return Ends(reason=f"topic {settings.topic!r} does not exist")
                return Ends(await spans(settings, partitions))
        except (KafkaError, OSError, TimeoutError) as error:
            why = told[-1] if told else str(error) or type(error).__name__
            return Ends(reason=f"Kafka cannot be used at {settings.bootstrap_servers}: {why}")


@asynccontextmanager
async def administering(settings: KafkaSettings) -> AsyncIterator[Any]:
    """An admin client, connected."""
    admin = AIOKafkaAdminClient(**connection(settings))
    try:
        await asyncio.wait_for(admin.start(), ANSWER_SECONDS)
        yield admin
    finally:
        await admin.close()


async def partitions_of(admin: Any, topic: str) -> list[int]:
    """The partitions of a topic, none when it does not exist. To ask for it by its name could create it."""
    described = await admin.describe_topics()
    return sorted(p["partition"] for found in described if found["topic"] == topic for p in found["partitions"])


async def spans(settings: KafkaSettings, partitions: list[int]) -> dict[int, tuple[int, int]]:
    """First offset and the one after the last, per partition of the telemetry."""
    consumer = AIOKafkaConsumer(**connection(settings))
    try:
        await consumer.start()
        places = [TopicPartition(settings.topic, partition) for partition in partitions]
        first, end = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        return {place.partition: (first[place], end[place]) for place in places}
    finally:
        await asyncio.sleep(0)  # a task of the consumer that never ran would raise CancelledError out of `stop`
        await consumer.stop()


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments for a client that asks one thing and gives up soon."""
    return settings.connection() | {"request_timeout_ms": int(ANSWER_SECONDS * 1000)}


@contextmanager
def heard() -> Iterator[list[str]]:
    """What aiokafka's client logs meanwhile, in place of logging it: there alone it tells that a login was refused."""
    logger, told = aiokafka.client.log, _Listener()
    logger.addHandler(told)
    before, logger.propagate = logger.propagate, False
    try:
        yield told.messages
    finally:
        logger.propagate = before
        logger.removeHandler(told)


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
