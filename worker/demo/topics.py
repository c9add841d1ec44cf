"""The demo's own topics on somebody else's Kafka."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code

from alice_rl.errors import DependencyError
from alice_rl.kafka import KafkaSettings

__all__ = ["create_topics", "delete_topics"]

_REPLICAS_MAX = 3  # as many as brokers up to this: a cluster may want two in sync


async def create_topics(settings: KafkaSettings, topics: Mapping[str, int]) -> None:
    """Create topics, name -> number of partitions.

    Raises
    ------
    DependencyError
        Kafka cannot be reached, or refuses.
    """
    try:
        async with _admin(settings) as admin:
            brokers = len((await admin.describe_cluster())["brokers"])
            replicas = min(_REPLICAS_MAX, brokers)
            reply = await admin.create_topics([NewTopic(name, n, replicas) for name, n in topics.items()])
            for error in [for_code(row[1]) for row in reply.topic_errors if row[1]]:
                raise error
    except (KafkaError, OSError) as error:
        raise DependencyError(
            f"cannot create the demo's topics on {settings.bootstrap_servers}: {error!r}",
            code="kafka_unreachable",
            hint="check --kafka, and that you may create topics there; without it, the demo brings its own broker",
        ) from error


async def delete_topics(settings: KafkaSettings, topics: Sequence[str]) -> None:
    """Delete topics, as far as Kafka can be reached and allows it."""
    with contextlib.suppress(KafkaError, OSError):
        async with _admin(settings) as admin:
            await admin.delete_topics(list(topics))


@contextlib.asynccontextmanager
async def _admin(settings: KafkaSettings) -> AsyncIterator[Any]:
    admin = AIOKafkaAdminClient(**settings.connection())
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()
