"""Faults of the broker and of the group: away, silent, starving its readers; members that come and go."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.integration.conftest import MakeSettings
from tests.integration.faults.conftest import Events
from tests.integration.faults.exact import assert_exact
from tests.logs import turns
from tests.proxy import KafkaProxy
from tests.services import KafkaBroker
from tests.streams import eventually, folded, produce, running
from worker import consumer
from worker.settings import WorkerSettings

WATCHED = WorkerSettings(0.1, 0.1, stall_seconds=1.0)


async def test_the_broker_is_away_beyond_the_session(
    quick_settings: MakeSettings, real_kafka: KafkaBroker, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose broker is gone for longer than its session says so, and goes on as if nothing had been."""
    monkeypatch.setattr(consumer, "_ENDS_SECONDS", 1.0)
    log, clock = turns(900, seed=61, split=True), asyncio.get_running_loop().time
    settings = quick_settings(partitions=2, worker=WATCHED)
    await produce(settings.kafka, log[:800])
    async with running(settings) as worker:
        await eventually(lambda: folded(worker) == 800 and worker.health.ready)
        await asyncio.to_thread(real_kafka.stop)
        gone_at = clock()
        await eventually(lambda: events("kafka.unreachable") and not worker.health.ready)
        await eventually(lambda: clock() > gone_at + 2 * settings.kafka.session_timeout_ms / 1000)
        await asyncio.to_thread(real_kafka.restart)
        await produce(settings.kafka, log[800:])
        await eventually(lambda: folded(worker) == 1800 and worker.health.ready, 60)
        assert events("kafka.recovered")
    await assert_exact(settings)


async def test_fetches_bring_nothing(
    make_settings: MakeSettings, real_kafka: KafkaBroker, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partition that has more but gives nothing, and a broker that is silent, are told, not waited out in silence."""
    monkeypatch.setattr(consumer, "_ENDS_SECONDS", 1.0)
    log = turns(600, seed=62, split=True)
    async with KafkaProxy() as proxy:
        broker = KafkaBroker({"advertised.listeners": f"PLAINTEXT://127.0.0.1:{proxy.port}"}, heap_mb=256)
        settings = make_settings(partitions=1, worker=WATCHED)
        topic = settings.kafka.topic
        try:
            await asyncio.to_thread(start_behind, broker, proxy)
            await asyncio.to_thread(broker.create_topic, topic, 1)
            kafka = msgspec.structs.replace(settings.kafka, bootstrap_servers=broker.bootstrap, dead_letter_topic="")
            settings = msgspec.structs.replace(settings, kafka=kafka)
            await produce(settings.kafka, log[:400])
            async with running(settings) as worker:
                await eventually(lambda: folded(worker) == 400 and worker.health.ready)
                proxy.starving = True
                await produce(settings.kafka, log[400:800])
                await eventually(lambda: events("partition.stalled"))
                behind = 800 - worker.holdings[0].shard.next  # an answer that was under way may still have come through
                assert (worker.health.ready, worker.health.stalled, worker.health.lag_records) == (False, (0,), behind)
                proxy.starving = False
                await eventually(lambda: folded(worker) == 800 and worker.health.ready, 60)
                broker.pause()
                await eventually(lambda: events("kafka.unreachable") and not worker.health.ready)
                broker.resume()
                await produce(settings.kafka, log[800:])
                await eventually(lambda: folded(worker) == 1200 and worker.health.ready, 60)
            assert proxy.swallowed
            await assert_exact(settings)
        finally:
            await asyncio.to_thread(broker.close)


def start_behind(broker: KafkaBroker, proxy: KafkaProxy) -> None:
    """Start a broker whose clients are told to use the proxy, which learns the broker's port as it is chosen."""
    prepare = broker._prepare

    def prepared() -> None:
        prepare()
        proxy.target = int(broker.bootstrap.rsplit(":", 1)[1])

    broker._prepare = prepared  # type: ignore[method-assign]
    broker.start()


async def test_members_come_and_go_under_load(quick_settings: MakeSettings) -> None:
    """Three workers join and leave while the log grows: every partition is handed over exactly."""
    log, parts = turns(6000, seed=63, split=True), 100
    settings = quick_settings(partitions=4)
    written, enough = 0, asyncio.Event()

    async def load() -> None:
        nonlocal written
        while not enough.is_set() and written < len(log):
            await produce(settings.kafka, log[written : written + parts])
            written += parts

    async with running(settings) as first:
        loading = asyncio.create_task(load())
        for _ in range(3):
            async with running(settings) as other:
                await eventually(lambda other=other: len(other.holdings) == len(first.holdings) == 2, 60)  # type: ignore[misc]
                held = folded(other)
                await eventually(lambda other=other, held=held: folded(other) > held, 60)  # type: ignore[misc]
            await eventually(lambda: len(first.holdings) == 4, 60)
        assert not loading.done()
        enough.set()
        await loading
        await eventually(lambda: folded(first) == written, 60)
    await assert_exact(settings)
