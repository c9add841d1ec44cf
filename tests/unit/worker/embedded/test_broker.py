"""The embedded broker: a mock cluster with the topics it was asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from alice_rl.errors import DependencyError
from worker.embedded.broker import EmbeddedBroker


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        running.start({"telemetry": 6})
        yield running


async def test_topics_have_the_partitions_asked_for(broker: EmbeddedBroker) -> None:
    """Topics named at the start and topics created later have as many partitions as asked for."""
    broker.create_topic("dead-letters", 2)
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
        assert await producer.partitions_for("telemetry") == set(range(6))
        assert await producer.partitions_for("dead-letters") == {0, 1}


async def test_records_keep_key_value_headers_and_partition(broker: EmbeddedBroker) -> None:
    """A gzip-compressed record arrives with everything it was sent with."""
    where = TopicPartition("telemetry", 4)
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, compression_type="gzip") as producer:
        await producer.send_and_wait("telemetry", b"value", key=b"key", partition=4, headers=[("h", b"1")])
    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, fetch_max_wait_ms=20) as consumer:
        consumer.assign([where])
        await consumer.seek_to_beginning(where)
        record = await consumer.getone()
    assert (record.key, record.value, record.partition) == (b"key", b"value", 4)
    assert record.headers == (("h", b"1"),)


async def test_a_broker_that_is_down_refuses_and_comes_back_with_its_records(broker: EmbeddedBroker) -> None:
    """`set_down` breaks connections, `set_up` restores them, and the log is the same."""
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
        await producer.send_and_wait("telemetry", b"kept", partition=0)
    broker.set_down()
    refused = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, request_timeout_ms=500)
    with pytest.raises(KafkaError):
        await refused.start()
    await refused.stop()
    broker.set_up()
    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap) as consumer:
        where = TopicPartition("telemetry", 0)
        assert (await consumer.end_offsets([where]))[where] == 1


def test_an_existing_topic_is_refused(broker: EmbeddedBroker) -> None:
    """Creating a topic twice is an error that names it."""
    with pytest.raises(DependencyError, match="'telemetry'"):
        broker.create_topic("telemetry", 3)


def test_a_stopped_broker_says_so() -> None:
    """Before `start` and after `stop` a call is refused, not a crash; `stop` may be repeated."""
    broker = EmbeddedBroker()
    with pytest.raises(DependencyError, match="not running"):
        broker.create_topic("early")
    broker.start({})
    broker.stop()
    broker.stop()
    with pytest.raises(DependencyError, match="not running"):
        broker.create_topic("late")


def test_two_brokers_are_separate() -> None:
    """Two brokers in one process have addresses and topics of their own."""
    with EmbeddedBroker() as first, EmbeddedBroker() as second:
        assert first.start({"same": 1}) != second.start({"same": 2})


def test_without_the_wheel_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing confluent-kafka is a dependency error with the remedy."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r"alice-rl\[demo\]"):
        EmbeddedBroker().start({})
