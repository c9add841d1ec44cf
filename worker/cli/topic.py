"""How far the telemetry topic reaches, asked of Kafka once and not for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from alice_rl.kafka import KafkaSettings

__all__ = ["ANSWER_SECONDS", "Ends", "connection", "heard", "read_ends"]

ANSWER_SECONDS = 5.0
"""Longest wait for Kafka: who looks wants to know now, and "it does not answer" is an answer."""


class Ends(msgspec.Struct, frozen=True):
    """The offset after the last record of each partition; none, and the reason, when Kafka does not say."""

    offsets: Mapping[int, int] = {}
    reason: str = ""


async def read_ends(settings: KafkaSettings) -> Ends:
    """Ask for the ends of the topic's partitions; creates nothing, joins no group."""
    with heard() as told:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await _read(settings)
        except (KafkaError, OSError, TimeoutError):
            why = f": {told[-1]}" if told else ""
            return Ends(reason=f"Kafka cannot be reached at {settings.bootstrap_servers}{why}")


async def _read(settings: KafkaSettings) -> Ends:
    consumer = AIOKafkaConsumer(**connection(settings))
    try:
        await consumer.start()
        partitions = consumer.partitions_for_topic(settings.topic)
        if not partitions:
            return Ends(reason=f"topic {settings.topic!r} does not exist")
        ends = await consumer.end_offsets([TopicPartition(settings.topic, partition) for partition in partitions])
        return Ends({where.partition: end for where, end in ends.items()})
    finally:
        await consumer.stop()


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments for a client that asks one thing and gives up soon."""
    return settings.connection() | {"request_timeout_ms": int(ANSWER_SECONDS * 1000)}


@contextmanager
def heard() -> Iterator[list[str]]:
    """What aiokafka logs meanwhile, in place of logging it: there alone it tells that a login was refused."""
    logger, told = logging.getLogger("aiokafka"), _Listener()
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
