"""A bounded reading of a topic: it hands out what was asked for, and ends."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaProducer

import worker.topic_reader
from alice_rl.errors import DependencyError
from alice_rl.kafka import KafkaSettings
from tests.conftest import MakeTopic
from tests.services import KafkaBroker, MockBroker
from worker.topic_reader import Spans, TopicReader


@pytest.fixture
def settings(kafka: KafkaBroker | MockBroker, make_topic: MakeTopic) -> KafkaSettings:
    """A topic of three partitions."""
    return KafkaSettings(bootstrap_servers=kafka.bootstrap, topic=make_topic(3), fetch_wait_ms=20)


async def fill(settings: KafkaSettings, counts: dict[int, int]) -> None:
    """Write so many numbered records to each partition."""
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers) as producer:
        for partition, count in counts.items():
            for number in range(count):
                await producer.send(settings.topic, b"%d" % number, partition=partition)
        await producer.flush()


async def offsets(reader: TopicReader, spans: Spans) -> dict[int, list[int]]:
    """The offsets that a reading hands out."""
    found: dict[int, list[int]] = {}
    async for partition, records in reader.read(spans):
        assert records
        found.setdefault(partition, []).extend(record.offset for record in records)
    return found


async def test_it_reads_the_spans_and_nothing_else(settings: KafkaSettings) -> None:
    """Each partition is read from the first offset up to the end, as often as one likes."""
    await fill(settings, {0: 10, 1: 3})
    async with TopicReader(settings, settings.topic) as reader:
        spans = await reader.spans()
        assert spans == {0: (0, 10), 1: (0, 3), 2: (0, 0)}
        await fill(settings, {0: 5, 2: 5})  # came later, and belongs to the next reading
        assert await offsets(reader, spans) == {0: list(range(10)), 1: [0, 1, 2]}
        assert await offsets(reader, {0: (4, 7), 2: (1, 2)}) == {0: [4, 5, 6], 2: [1]}
        async for _ in reader.read(spans):
            break  # a reading that is given up stands in nobody's way
        assert await offsets(reader, {1: (2, 3)}) == {1: [2]}
        assert await offsets(reader, {}) == await offsets(reader, {0: (3, 3)}) == {}


async def test_a_topic_that_does_not_exist_has_no_spans(settings: KafkaSettings) -> None:
    """To look for a topic does not create it."""
    for _ in range(2):
        async with TopicReader(settings, f"{settings.topic}.nowhere") as reader:
            assert await reader.spans() == {}


async def test_what_the_log_has_lost_is_told(settings: KafkaSettings) -> None:
    """An offset that the log does not hold is an error, and never a silent jump."""
    await fill(settings, {0: 3})
    async with TopicReader(settings, settings.topic) as reader:
        with pytest.raises(DependencyError) as caught:
            await offsets(reader, {0: (50, 60)})
    assert caught.value.code == "log_truncated"


async def test_it_does_not_wait_for_ever(settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing comes for a while a reading gives up."""
    monkeypatch.setattr(worker.topic_reader, "_STALL_SECONDS", 0.3)
    await fill(settings, {0: 3})
    async with TopicReader(settings, settings.topic) as reader:
        with pytest.raises(DependencyError, match="no record in 0.3 s"):
            await offsets(reader, {0: (0, 4)})


async def test_no_broker_is_told() -> None:
    """Without a broker there is a reason and a hint."""
    with pytest.raises(DependencyError) as caught:
        async with TopicReader(KafkaSettings(bootstrap_servers="127.0.0.1:1"), "t"):
            pass
    assert caught.value.code == "kafka_unreachable" and caught.value.hint
