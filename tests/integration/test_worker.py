"""The worker on a real broker and a real Redis: what it learns, what it sets aside, and how it starts and stops."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from alice_rl.errors import ConfigError, DependencyError
from alice_rl.kafka import KafkaSettings
from alice_rl.slots import ToolSettings
from alice_rl.snapshot.connection import RedisSettings
from alice_rl.snapshot.format import unpack
from alice_rl.snapshot.store import Store
from tests.integration.conftest import MakeSettings
from tests.logs import records, turn, turns
from tests.services import KafkaBroker
from tests.streams import eventually, folded, produce, running, shard_digests, unbroken_digests
from worker.service import Worker
from worker.settings import SnapshotSettings, WorkerSettings


async def test_learns_publishes_and_drains(make_settings: MakeSettings) -> None:
    """What is produced is learned exactly, published as a verified snapshot, and checkpointed on the way out."""
    settings = make_settings(partitions=3)
    await produce(settings.kafka, turns(500, seed=1))
    async with running(settings) as worker:
        await eventually(lambda: folded(worker) == 500)
    assert await shard_digests(settings) == await unbroken_digests(settings)
    store = Store.from_settings(settings.redis)
    head = await store.read_head()
    assert head.live == head.seq >= 1
    assert sum(head.offsets.values()) == 500
    blob = await store.get_snapshot(head.live)
    assert blob is not None
    assert unpack(blob).manifest.counts["episodes"] == 500
    await store.close()


async def test_bad_records_go_to_the_dead_letters(make_settings: MakeSettings) -> None:
    """Each rejected record arrives with its bytes, its place, key and reason; the good ones beside it are learned."""
    settings = make_settings(partitions=1)
    huge = b'{"type":"turn","pad":"' + b"x" * 900_000 + b'"}'
    log = records(
        [turn("a"), b"garbage", huge, turn("b", route={"arm": "mikro", "p": 1.0, "available": ["mikro"]}), turn("c")]
    )
    await produce(settings.kafka, log)
    async with running(settings) as worker:
        await eventually(lambda: folded(worker) == 5)
        assert worker.holdings[0].shard.counts["episodes"] == 2
    dead = await dead_letters(settings.kafka, 3)
    assert [dict(d.headers)["reason"] for d in dead] == [b"malformed_json", b"too_large", b"unknown_arm"]
    assert [d.key.decode() for d in dead] == [f"{settings.kafka.topic}:0:{offset}" for offset in (1, 2, 3)]
    assert dead[0].value == b"garbage"
    assert dict(dead[1].headers)["truncated"] == b"true"
    assert [dict(d.headers)["key"] for d in dead] == [b"", b"", b"b"]
    assert all(int(dict(d.headers)["timestamp"]) > 0 and dict(d.headers)["lineage"] == b"main" for d in dead)


async def dead_letters(kafka: KafkaSettings, count: int) -> list[Any]:
    """The first records of the dead-letter topic."""
    consumer = AIOKafkaConsumer(
        kafka.dead_letter_topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        return [await asyncio.wait_for(consumer.getone(), 10) for _ in range(count)]
    finally:
        await consumer.stop()


async def test_goes_on_where_it_stopped(make_settings: MakeSettings) -> None:
    """A second worker goes on at the checkpoint, joins halves across the stop, and counts nothing twice."""
    settings = make_settings(partitions=1)
    log = turns(200, seed=2, split=True)
    await produce(settings.kafka, log[:201])  # stops between a decision and its outcome
    async with running(settings) as worker:
        await eventually(lambda: folded(worker) == 201)
    await produce(settings.kafka, log[201:])
    async with running(settings) as worker:
        await eventually(lambda: folded(worker) == 400)
        assert worker.holdings[0].shard.counts["episodes"] == 200
    assert await shard_digests(settings) == await unbroken_digests(settings)


async def test_another_structure_is_refused(make_settings: MakeSettings) -> None:
    """A lineage keeps its structure: a worker with other arms is told to take a new lineage."""
    settings = make_settings(partitions=1)
    async with running(settings) as worker:
        await eventually(lambda: worker.holdings)
    other = msgspec.structs.replace(settings, tool=ToolSettings(arms=("none",)))
    with pytest.raises(ConfigError, match="lineage 'main'"):
        await Worker(other).run()


async def test_missing_topic_and_broker_are_told(make_settings: MakeSettings) -> None:
    """A start without topic or broker gives up after its time, and says what to check."""
    settings = make_settings(partitions=1)
    for changes, code in (
        ({"topic": "no-such-topic"}, "topic_missing"),
        ({"bootstrap_servers": "127.0.0.1:1"}, "kafka_unreachable"),
    ):
        kafka = msgspec.structs.replace(settings.kafka, start_timeout_seconds=0.5, **changes)
        with pytest.raises(DependencyError) as caught:
            await Worker(msgspec.structs.replace(settings, kafka=kafka)).run()
        assert caught.value.code == code
        assert caught.value.hint


async def test_snapshots_are_signed(make_settings: MakeSettings) -> None:
    """With a key configured, what the worker publishes is signed with it."""
    settings = make_settings(partitions=1, snapshot=SnapshotSettings(signing_key="s3cret"))
    await produce(settings.kafka, turns(20))
    store = Store.from_settings(settings.redis)
    async with running(settings) as worker:
        await eventually(lambda: worker.publisher.version)
    blob = await store.get_snapshot((await store.read_head()).live or 0)
    await store.close()
    assert blob is not None
    assert unpack(blob, b"s3cret").manifest.policy == "alice"


async def test_a_start_that_waits_can_be_stopped(make_settings: MakeSettings) -> None:
    """A worker that waits for Redis ends when it is told to, and not when Redis comes."""
    settings = make_settings(partitions=1, redis=RedisSettings(url="redis://127.0.0.1:1/0", start_timeout_seconds=600))
    worker = Worker(settings)
    task = asyncio.create_task(worker.run())
    await asyncio.sleep(0)
    worker.stop()
    await asyncio.wait_for(task, 10)


async def test_nothing_is_published_before_enough_was_learned(make_settings: MakeSettings) -> None:
    """Until there are enough episodes no policy replaces the rules."""
    settings = make_settings(partitions=1, worker=WorkerSettings(0.1, 0.1, episodes_min=30))
    await produce(settings.kafka, turns(20))
    async with running(settings) as worker:
        await eventually(lambda: folded(worker) == 20)
        await produce(settings.kafka, turns(30, seed=2))
        await eventually(lambda: worker.publisher.version)
    store = Store.from_settings(settings.redis)
    head = await store.read_head()
    blob = await store.get_snapshot(1)
    await store.close()
    assert blob is not None
    assert head.live is not None
    assert unpack(blob).manifest.counts["episodes"] >= 30


async def test_a_missing_dead_letter_topic_holds_nothing_up(make_settings: MakeSettings) -> None:
    """Without the dead-letter topic rejected records are counted, and the good ones are learned as ever."""
    settings = make_settings(partitions=1)
    kafka = msgspec.structs.replace(settings.kafka, dead_letter_topic=f"{settings.kafka.topic}.nowhere")
    await produce(settings.kafka, records([b"garbage" if i % 2 else turn(f"d-{i}") for i in range(40)]))
    async with running(msgspec.structs.replace(settings, kafka=kafka)) as worker:
        await eventually(lambda: folded(worker) == 40)
        assert worker.holdings[0].shard.counts["rejected"] == 20


async def test_goes_on_although_retention_took_all_that_it_has_read(
    make_settings: MakeSettings, real_kafka: KafkaBroker
) -> None:
    """On a quiet topic the last record is gone before the next one comes: a rebalance then stops nobody."""
    settings = make_settings(partitions=2)
    await produce(settings.kafka, turns(50))
    async with running(settings) as worker:
        await eventually(lambda: folded(worker) == 50)
        parts = [TopicPartition(settings.kafka.topic, partition) for partition in worker.holdings]
        admin = AIOKafkaAdminClient(bootstrap_servers=real_kafka.bootstrap)
        await admin.start()
        await admin.delete_records({part: RecordsToDelete(before_offset=-1) for part in parts})  # -1: all that is there
        await admin.close()
        tokens = {partition: holding.token for partition, holding in worker.holdings.items()}
        async with running(settings) as other:
            await eventually(lambda: len(other.holdings) == len(worker.holdings) == 1)
            await produce(settings.kafka, turns(20, seed=2))
            await eventually(lambda: folded(worker) + folded(other) == 70)
            [(kept, holding)] = worker.holdings.items()
            assert holding.token == tokens[kept]  # it went on with what it held, and did not begin anew
