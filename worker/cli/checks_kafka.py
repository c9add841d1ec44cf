"""The doctor's checks of Kafka: it answers, the topics are there, and the group and a producer are let in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from alice_rl.errors import ConfigError
from alice_rl.kafka import KafkaSettings
from worker.cli.checks import Check, failed, ok, skipped, unreachable, warning
from worker.cli.topic import ANSWER_SECONDS, administering, connection, heard, partitions_of, spans

__all__ = ["kafka_checks"]

_REST = ("kafka topic", "kafka cleanup", "kafka dead letters", "kafka group", "kafka producer")
_COORDINATOR_PAUSE_SECONDS = 0.3


async def kafka_checks(settings: KafkaSettings) -> AsyncIterator[Check]:
    """Look at Kafka, one thing after the other."""
    with heard() as told:
        try:
            async with administering(settings) as admin:
                brokers = len((await admin.describe_cluster())["brokers"])
                yield ok("kafka", f"{brokers} broker{'s' if brokers != 1 else ''} at {settings.bootstrap_servers}")
                for name, attempt in zip(_REST, (_topic, _cleanup, _dead_letters, _group, _producer), strict=True):
                    yield await _attempted(name, attempt, admin, settings, told)
        except ConfigError as error:
            yield failed("kafka", error)
        except (KafkaError, OSError, TimeoutError) as error:
            yield unreachable(
                "kafka", f"no broker answers at {settings.bootstrap_servers}: {_why(error, told)}", _REACH_HINT
            )
        else:
            return
    for check in skipped(_REST, "Kafka does not answer"):
        yield check


_REACH_HINT = "is Kafka running, and are kafka.bootstrap_servers, security_protocol and the SASL user right?"
_Attempt = Callable[[Any, KafkaSettings], Awaitable[Check]]


async def _attempted(name: str, attempt: _Attempt, admin: Any, settings: KafkaSettings, told: list[str]) -> Check:
    told.clear()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await attempt(admin, settings)
    except (TopicAuthorizationFailedError, GroupAuthorizationFailedError) as error:
        return Check(
            name,
            "failed",
            f"not allowed: {error!r}",
            "allow this user to read the topic and the group, and to write the dead-letter topic",
        )
    except (KafkaError, OSError, TimeoutError) as error:
        return Check(name, "failed", _why(error, told), "see the broker's log")


def _why(error: BaseException, told: list[str]) -> str:
    """The reason: the library's exceptions often hide what it has logged."""
    return told[-1] if told else str(error) or type(error).__name__


async def _topic(admin: Any, settings: KafkaSettings) -> Check:
    partitions = await partitions_of(admin, settings.topic)
    if not partitions:
        return Check(
            "kafka topic",
            "failed",
            f"topic {settings.topic!r} does not exist",
            f"kafka-topics.sh --create --topic {settings.topic} --partitions 6 (as many as workers you may want)",
        )
    held = sum(end - first for first, end in (await spans(settings, partitions)).values())
    return ok("kafka topic", f"{settings.topic} has {len(partitions)} partitions and holds {held:,} records")


async def _cleanup(admin: Any, settings: KafkaSettings) -> Check:
    """A log that is compacted is not the one that was learned from: it cannot be replayed or verified."""
    name = "kafka cleanup"
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topic)])
        entries = answer.resources[0][4]
    except (KafkaError, NotImplementedError, IndexError):
        return ok(name, "the brokers do not tell; cleanup.policy should be delete")
    found = {key: value for key, value, *_ in entries}
    policy, retention_ms = found.get("cleanup.policy", "delete"), int(found.get("retention.ms") or -1)
    if "compact" in policy:
        return warning(
            name,
            f"cleanup.policy of {settings.topic} is {policy}: records that were learned are removed",
            "set cleanup.policy=delete, or replay and verify will fold another log than the workers did",
        )
    kept = "for ever" if retention_ms < 0 else f"for {retention_ms / 3_600_000:,.0f} h"
    return ok(name, f"records are kept {kept}; take savepoints more often than that")


async def _dead_letters(admin: Any, settings: KafkaSettings) -> Check:
    topic = settings.dead_letter_topic
    if not topic:
        return ok("kafka dead letters", "none configured: rejected records are counted and logged only")
    if not await partitions_of(admin, topic):
        return warning(
            "kafka dead letters",
            f"topic {topic!r} does not exist: rejected records would be counted but not kept",
            f"kafka-topics.sh --create --topic {topic} --partitions 1",
        )
    return ok("kafka dead letters", f"{topic} exists")


async def _group(admin: Any, settings: KafkaSettings) -> Check:
    while True:
        try:
            broker = await admin.find_coordinator(settings.group_id)
        except CoordinatorNotAvailableError:  # a new cluster makes its offsets topic at the first question
            await asyncio.sleep(_COORDINATOR_PAUSE_SECONDS)
        else:
            return ok("kafka group", f"broker {broker} coordinates group {settings.group_id}")


async def _producer(admin: Any, settings: KafkaSettings) -> Check:
    # A producer id is granted to who may write a topic, and nothing is written to get it.
    producer = AIOKafkaProducer(**connection(settings), enable_idempotence=True)
    try:
        await producer.start()
    finally:
        await producer.stop()
    return ok("kafka producer", "this user may produce")
