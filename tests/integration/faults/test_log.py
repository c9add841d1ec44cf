"""Faults of the log itself: what is gone, made anew, taken back, compacted, or wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from alice_rl.errors import DependencyError
from tests.integration.conftest import MakeSettings
from tests.integration.faults.exact import assert_exact, assert_learned, read_shards
from tests.logs import LogRecord, records, turn, turns
from tests.services import KafkaBroker
from tests.streams import eventually, folded, key_of, produce, read_log, running
from worker import consumer
from worker.service import Worker
from worker.settings import PolicySettings, Settings, WorkerSettings

WATCHED = WorkerSettings(0.1, 0.1, stall_seconds=1.0)
"""The watchdog looks four times a second."""


def meanwhile(work: Callable[[], Any]) -> None:
    """Do something while the workers of this process stand still, as in a long pause of the whole process."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(work).result()


def recreate(kafka: KafkaBroker, settings: Settings, log: Sequence[LogRecord]) -> None:
    """Delete the topic, make it anew, and fill it."""
    kafka.delete_topic(settings.kafka.topic)
    kafka.create_topic(settings.kafka.topic, 1)
    asyncio.run(produce(settings.kafka, log))


async def learn(settings: Settings, count: int) -> None:
    """Run a worker until so many records are checkpointed."""
    async with running(settings) as worker:
        await eventually(lambda: folded(worker) == count)


async def test_records_left_before_they_were_read(make_settings: MakeSettings, real_kafka: KafkaBroker) -> None:
    """A checkpoint below the log's start is refused, and to do what the hint says works, in the same group too."""
    settings = make_settings(partitions=1)
    await produce(settings.kafka, turns(300, seed=41))
    await learn(settings, 300)
    kept = await read_log(settings.kafka)
    await produce(settings.kafka, turns(200, seed=42))
    real_kafka.delete_records(settings.kafka.topic, {0: 400})
    with pytest.raises(DependencyError, match="100 records left retention") as caught:
        await asyncio.wait_for(Worker(settings).run(), 60)
    assert caught.value.code == "log_truncated"
    assert "policy.lineage" in caught.value.hint
    await assert_learned(settings, kept)
    for lineage in ("second", "third", "fourth"):
        other = msgspec.structs.replace(settings, policy=PolicySettings(lineage=lineage))
        async with running(other) as worker:
            await eventually(lambda worker=worker: folded(worker) == 500)  # type: ignore[misc]
        await assert_learned(other, await read_log(settings.kafka), published=False)


async def test_records_leave_while_the_worker_is_away_from_them(
    make_settings: MakeSettings, real_kafka: KafkaBroker
) -> None:
    """A running worker that retention has overtaken says so, and keeps what it has learned."""
    settings = make_settings(partitions=1)
    await produce(settings.kafka, turns(300, seed=43))
    kept = await read_log(settings.kafka)
    worker = Worker(settings)
    task = asyncio.create_task(worker.run())
    await eventually(lambda: folded(worker) == 300 and worker.publisher.version)

    def overtake() -> None:
        asyncio.run(produce(settings.kafka, turns(200, seed=44)))
        real_kafka.delete_records(settings.kafka.topic, {0: 400})

    meanwhile(overtake)
    with pytest.raises(DependencyError) as caught:
        await asyncio.wait_for(task, 60)
    assert caught.value.code == "log_truncated"
    await assert_learned(settings, kept)


async def test_all_records_left_after_they_were_read(make_settings: MakeSettings, real_kafka: KafkaBroker) -> None:
    """A worker that finds its partition emptied by retention is ready at once, and learns what comes next."""
    settings = make_settings(partitions=1, worker=WATCHED)
    await produce(settings.kafka, turns(300, seed=45))
    await learn(settings, 300)
    kept = (await read_log(settings.kafka))[0]
    real_kafka.delete_records(settings.kafka.topic, {0: 300})
    async with running(settings) as worker:
        await eventually(lambda: worker.health.ready)
        assert worker.health.lag_records == 0
        await produce(settings.kafka, turns(100, seed=46))
        await eventually(lambda: folded(worker) == 400)
    await assert_learned(settings, {0: kept + (await read_log(settings.kafka))[0]})


async def test_the_topic_is_made_anew_between_two_runs(make_settings: MakeSettings, real_kafka: KafkaBroker) -> None:
    """A longer topic of the same name is not folded onto the old sums."""
    settings = make_settings(partitions=1)
    await produce(settings.kafka, turns(300, seed=47))
    await learn(settings, 300)
    kept = await read_log(settings.kafka)
    await asyncio.to_thread(recreate, real_kafka, settings, turns(600, seed=48))
    with pytest.raises(DependencyError, match="made anew") as caught:
        await asyncio.wait_for(Worker(settings).run(), 60)
    assert caught.value.code == "log_recreated"
    assert "policy.lineage" in caught.value.hint
    await assert_learned(settings, kept)


async def test_the_topic_is_made_anew_with_a_gap_where_it_would_be_told(
    make_settings: MakeSettings, real_kafka: KafkaBroker
) -> None:
    """Where the new topic has no record at the offset that is compared, its id tells that it is another one."""
    settings = make_settings(partitions=1)
    await produce(settings.kafka, turns(300, seed=60))
    await learn(settings, 300)
    kept = await read_log(settings.kafka)
    await asyncio.to_thread(recreate, real_kafka, settings, [])
    await transact(settings, turns(299, seed=64), commit=True)  # its marker is the 300th
    await produce(settings.kafka, turns(300, seed=65))
    with pytest.raises(DependencyError, match="made anew") as caught:
        await asyncio.wait_for(Worker(settings).run(), 60)
    assert caught.value.code == "log_recreated"
    await assert_learned(settings, kept)


@pytest.mark.parametrize("count", [100, 600])
async def test_the_topic_is_made_anew_under_a_worker(
    make_settings: MakeSettings, real_kafka: KafkaBroker, count: int
) -> None:
    """A running worker notices, whether the new topic is shorter or longer, before a byte of it is in Redis."""
    settings = make_settings(partitions=1)
    await produce(settings.kafka, turns(300, seed=49))
    kept = await read_log(settings.kafka)
    worker = Worker(settings)
    task = asyncio.create_task(worker.run())
    await eventually(lambda: folded(worker) == 300 and worker.publisher.version)
    meanwhile(lambda: recreate(real_kafka, settings, turns(count, seed=50)))
    with pytest.raises(DependencyError) as caught:
        await asyncio.wait_for(task, 60)
    assert caught.value.code == "log_recreated"
    await assert_learned(settings, kept)


async def test_transactions_are_taken_back(make_settings: MakeSettings, real_kafka: KafkaBroker) -> None:
    """What a transaction took back teaches nothing; its markers, the last one too, count as read."""
    settings = make_settings(partitions=1, worker=WATCHED)
    await transact(settings, turns(50, seed=51), commit=True)
    await transact(settings, turns(30, seed=52), commit=False)
    await transact(settings, turns(50, seed=53), commit=True)
    await transact(settings, turns(20, seed=54), commit=False)
    for _ in range(2):  # the second run has the markers in what it re-reads
        async with running(settings) as worker:
            await eventually(lambda: worker.health.ready and worker.publisher.version)
            assert worker.health.lag_records == 0
            assert worker.holdings[0].shard.counts["episodes"] == 100
    await assert_exact(settings)


async def transact(settings: Settings, log: Sequence[LogRecord], *, commit: bool) -> None:
    """Produce in one transaction."""
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap_servers, transactional_id=settings.kafka.topic
    ) as producer:
        await producer.begin_transaction()
        for record in log:
            await producer.send(settings.kafka.topic, record.value, key_of(record.value))
        await producer.flush()
        await (producer.commit_transaction() if commit else producer.abort_transaction())


async def test_compaction_leaves_gaps(make_settings: MakeSettings, real_kafka: KafkaBroker) -> None:
    """A compacted log is folded across its gaps; that the last folded record itself is gone stops no restart."""
    settings = make_settings(partitions=1, worker=WATCHED)
    topic = f"{settings.kafka.topic}.compact"
    settings = msgspec.structs.replace(settings, kafka=msgspec.structs.replace(settings.kafka, topic=topic))
    compact = {"cleanup.policy": "compact", "segment.ms": "50", "min.cleanable.dirty.ratio": "0.01"}
    real_kafka.create_topic(topic, 1, compact)
    first = await compacted(settings, turns(300, seed=55))
    assert len(first) < 250
    async with running(settings) as worker:
        await eventually(lambda: folded(worker) == first[-1].offset + 1)
    second = await compacted(settings, turns(300, seed=56))
    assert first[-1].offset not in {record.offset for record in second}
    async with running(settings) as worker:
        await eventually(lambda: worker.health.ready and folded(worker) == second[-1].offset + 1)
    await assert_learned(settings, {0: first + [r for r in second if r.offset > first[-1].offset]})


async def compacted(settings: Settings, log: Sequence[LogRecord]) -> list[LogRecord]:
    """Produce a log in which every third key is the same, and wait until compaction has been at all of it.

    The last record lies in the active segment, which is never compacted; the first one of the next log replaces it.
    """
    before = {record.offset for record in (await read_log(settings.kafka))[0]}
    replaced = {max(before)} if before else set()
    keys = [b"again" if i % 3 == 0 else key_of(record.value) for i, record in enumerate(log)]
    keys[0] = keys[-1] = b"last"
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers) as producer:
        for key, record in zip(keys[:-1], log, strict=False):
            await producer.send(settings.kafka.topic, record.value, key)
        await producer.flush()
        # A segment is rolled by a record that is later than its first one.
        later = max(record.timestamp for record in (await read_log(settings.kafka))[0]) + 1000
        await producer.send_and_wait(settings.kafka.topic, log[-1].value, keys[-1], timestamp_ms=later)
    async with asyncio.timeout(30):
        while True:
            left = (await read_log(settings.kafka))[0]
            new = [record for record in left if record.offset not in before]
            if len(new) == len(set(keys[:-1])) + 1 and not replaced & {record.offset for record in left}:
                return left
            await asyncio.sleep(0.1)


async def test_partitions_are_added_under_load(
    make_settings: MakeSettings, real_kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New partitions are read from their first record, even by a worker that began at the latest."""
    monkeypatch.setattr(consumer, "_METADATA_SECONDS", 1)
    settings = make_settings(partitions=2)
    kafka = msgspec.structs.replace(settings.kafka, start_from="latest")
    settings = msgspec.structs.replace(settings, kafka=kafka)
    await produce(settings.kafka, turns(100, seed=57))
    skipped = {p: len(log) for p, log in (await read_log(settings.kafka)).items()}
    log = turns(600, seed=58, split=True)
    async with running(settings) as worker:
        await eventually(lambda: len(worker.holdings) == 2)
        await produce(settings.kafka, log[:401])  # ends between a decision and its outcome
        real_kafka.add_partitions(settings.kafka.topic, 4)
        await produce(settings.kafka, log[401:])
        ends = sum(len(part) for part in (await read_log(settings.kafka)).values())
        await eventually(lambda: len(worker.holdings) == 4 and folded(worker) == ends)
    shards = await read_shards(settings)
    assert {p: shard.start for p, shard in shards.items()} == skipped | {2: 0, 3: 0}
    assert all(shards[p].next > 0 for p in (2, 3))
    await assert_exact(settings)


async def test_a_clock_from_2099(make_settings: MakeSettings) -> None:
    """Single timestamps far in the future are clamped, alike in small batches and in one, and expire nothing."""
    settings = make_settings(partitions=1)
    log = [record.value for record in turns(300, seed=59, split=True)]
    for at in (50, 51, 52, 200, 400, 590):
        log.insert(at, msgspec.json.encode(turn(f"late-{at}", ts_ms=4_080_000_000_000 + at)))
    rows = records(log)
    async with running(settings) as worker:
        for start in range(0, len(rows), 101):
            part = rows[start : start + 101]
            await produce(settings.kafka, part)
            await eventually(lambda part=part: folded(worker) == part[-1].offset + 1)  # type: ignore[misc]
        counts = worker.holdings[0].shard.counts
    assert counts["clamped"] >= 6
    assert counts["episodes"] == 306
    await assert_exact(settings)
