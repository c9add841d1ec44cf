"""The id that a broker gives to a topic when it is made: one that was deleted and made anew has another.

aiokafka reads topics by their names alone, so a topic that was made anew under a running consumer goes on to be read at
the old offset. Only the id tells, and aiokafka does not ask for it: this is the one request that does.
"""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Any

from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

from alice_rl.errors import DependencyError

__all__ = ["topic_id"]

_TIMEOUT_SECONDS = 5.0
_CONNECTION_GROUP = (
    2  # aiokafka's name for a connection beside its own two: on those, answers queue behind a slow fetch
)
_NO_ID = bytes(16)


async def topic_id(client: Any, topic: str) -> str:
    """The id of a topic, hexadecimal; empty where the brokers give no ids.

    Parameters
    ----------
    client : AIOKafkaClient
        The connections of a consumer.
    topic : str

    Raises
    ------
    DependencyError
        The brokers do not answer, or the topic is gone.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            answer = await client.send(client.get_random_node(), _TopicRequest(topic), group=_CONNECTION_GROUP)
    except (IncompatibleBrokerVersion, NotImplementedError):
        return ""  # brokers before Apache Kafka 2.8
    except (KafkaError, OSError, TimeoutError) as error:
        raise DependencyError(f"Kafka does not say which topic this is: {error!r}", code="kafka_unreachable") from error
    for error_code, _name, found, *_ in answer.topics:
        if not error_code:
            return str(found.hex())
    raise DependencyError(f"topic {topic!r} is gone", code="kafka_topic_gone")


class _Uuid(AbstractType):  # type: ignore[misc]  # aiokafka ships no types
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)


class _Response(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 11
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Struct(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 11
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _TopicRequest(Request[_Struct]):  # type: ignore[misc]
    """Asks for the metadata of one topic, in the first version that has ids and is used everywhere since (KIP-516).

    Parameters
    ----------
    topic : str
    """

    API_KEY = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[Any]) -> Any:
        """The request in the one version that is spoken here."""
        return request_struct_class([(_NO_ID, self._topic, {})], False, False, {})
