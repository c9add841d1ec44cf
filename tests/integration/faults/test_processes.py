"""Worker processes that are killed, frozen, poisoned, or started with another configuration."""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from alice_rl.slots import ToolSettings
from alice_rl.snapshot import scripts
from alice_rl.snapshot.connection import RedisSettings
from tests.integration.conftest import MakeSettings
from tests.integration.faults.exact import assert_exact, read_shards
from tests.integration.faults.processes import WorkerProcess
from tests.integration.test_worker import dead_letters
from tests.logs import records, turn, turns
from tests.proxy import Proxy
from tests.services import KafkaBroker, unique_name
from tests.streams import eventually, folded, produce, running
from worker.settings import Settings, WorkerSettings

LAZY = WorkerSettings(600.0, 0.1, heartbeat_interval_seconds=0.1)
"""Checkpoints only when it lets go of partitions, or ends."""


async def until(condition: Callable[[], Awaitable[bool]], timeout_seconds: float = 60.0) -> None:
    """Wait for a condition that has to be asked for."""
    async with asyncio.timeout(timeout_seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def reach(settings: Settings, count: int) -> None:
    """Wait until Redis has the sums of so many records."""

    async def reached() -> bool:
        return sum(shard.next - shard.start for shard in (await read_shards(settings)).values()) >= count

    await until(reached)


class Assassin(Proxy):
    """A proxy to Redis that kills a worker at one of its checkpoints: before, while or after Redis takes it."""

    victim: WorkerProcess | None = None
    moment = "before"
    _checkpoint = hashlib.sha1(scripts.source("checkpoint").encode()).hexdigest().encode()

    def _passes(self, data: bytes, heard: bytearray, *, answers: bool) -> bool:
        if self._checkpoint in data:
            heard += data
        due = answers if self.moment == "after" else not answers
        if self.victim is not None and due and self._checkpoint in heard:
            self.victim.send(signal.SIGKILL)
            self.victim = None
            return self.moment != "before"
        return True


async def test_killed_at_a_checkpoint(quick_settings: MakeSettings, tmp_path: Path) -> None:
    """Of several workers one is killed before, one while and one after Redis takes its checkpoint."""
    settings = quick_settings(partitions=6, worker=WorkerSettings(0.1, 0.1))
    log = turns(3000, seed=71, split=True)
    port, database = settings.redis.url.rsplit(":", 1)[1].split("/")
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Assassin(int(port)))
        url = f"redis://127.0.0.1:{proxy.port}/{database}"
        proxied = msgspec.structs.replace(settings, redis=RedisSettings(url=url))
        steady = [await stack.enter_async_context(WorkerProcess(settings, tmp_path)) for _ in range(2)]
        for turn_, moment in enumerate(("before", "while", "after")):
            victim = await stack.enter_async_context(WorkerProcess(proxied, tmp_path))
            await eventually(lambda victim=victim: len(victim.partitions()) >= 2, 60)  # type: ignore[misc]
            proxy.moment, proxy.victim = moment, victim
            await produce(settings.kafka, log[2000 * turn_ : 2000 * (turn_ + 1)])
            assert await asyncio.wait_for(victim.process.wait(), 60) == -signal.SIGKILL
            await reach(settings, 2000 * (turn_ + 1))
        assert [await worker.stopped() for worker in steady] == [0, 0]
    await assert_exact(settings)


async def test_a_zombie_is_fenced(quick_settings: MakeSettings, tmp_path: Path) -> None:
    """A worker frozen beyond its session, with sums that Redis has not, comes back to find them folded by another."""
    settings = quick_settings(partitions=2)
    lazy = msgspec.structs.replace(settings, worker=LAZY)
    log = turns(1500, seed=72, split=True)
    await produce(settings.kafka, log[:1000])
    async with WorkerProcess(lazy, tmp_path) as zombie:
        await eventually(lambda: beats(zombie) == 1000, 60)
        zombie.send(signal.SIGSTOP)
        async with WorkerProcess(settings, tmp_path) as other:
            await reach(settings, 1000)
            await produce(settings.kafka, log[1000:2000])
            await reach(settings, 2000)
            zombie.send(signal.SIGCONT)
            await eventually(lambda: zombie.events("partition.fenced"), 60)
            await produce(settings.kafka, log[2000:])
            await eventually(lambda: beats(zombie) > 1000, 60)  # it has a partition again, and folds
            assert [await worker.stopped() for worker in (zombie, other)] == [0, 0]
        async with WorkerProcess(settings, tmp_path) as last:
            await eventually(lambda: last.partitions() == {0, 1}, 60)
            await reach(settings, 3000)
            assert await last.stopped() == 0
    await assert_exact(settings)


def beats(worker: WorkerProcess) -> int:
    """Records that a worker says to have folded."""
    return max((line["records_total"] for line in worker.events("worker.heartbeat")), default=0)


KILLER = "kills its reader"
DIES_OF_IT = f"""
import os, signal
from alice_rl import intake
decode = intake.decode
def deadly(value, decoder):
    if value is not None and b"{KILLER}" in value:
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(value, decoder)
intake.decode = deadly
"""


async def test_a_record_kills_every_worker(quick_settings: MakeSettings, tmp_path: Path) -> None:
    """The record is found, passed over, told and dead-lettered; all others are learned."""
    settings = quick_settings(partitions=1)
    log = [record.value for record in turns(1500, seed=73, split=True)]
    log[1777] = msgspec.json.encode(turn("deadly", context={"intent": KILLER}))
    await produce(settings.kafka, records(log))
    deaths, skipped = 0, list[dict[str, Any]]()
    while not skipped:
        async with WorkerProcess(in_a_new_group(settings), tmp_path, DIES_OF_IT) as worker:
            reached = asyncio.ensure_future(reach(settings, len(log)))
            dead = asyncio.ensure_future(worker.process.wait())
            await asyncio.wait((reached, dead), return_when=asyncio.FIRST_COMPLETED)
            reached.cancel()
            skipped = worker.events("record.skipped")
            if skipped:
                assert await worker.stopped() == 0
            else:
                assert await dead == -signal.SIGKILL
                deaths += 1
                assert deaths < 10
    assert [(line["partition"], line["offset"]) for line in skipped] == [(0, 1777)]
    assert (await read_shards(settings))[0].skipped == {1777}
    (letter,) = await dead_letters(settings.kafka, 1)
    assert dict(letter.headers)["reason"] == b"killed_worker"
    assert letter.value == log[1777]
    await assert_exact(settings, skipped={0: {1777}})


def in_a_new_group(settings: Settings) -> Settings:
    """The same without a wait for the session of a member that has died to run out."""
    return msgspec.structs.replace(
        settings, kafka=msgspec.structs.replace(settings.kafka, group_id=unique_name("group"))
    )


DIES_BY_CHANCE = """
import os, signal
from alice_rl import intake
decode, left = intake.decode, int(os.environ["TEST_RECORDS_LEFT"])
def counting(value, decoder):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(value, decoder)
intake.decode = counting
"""


async def test_chance_kills_five_workers(quick_settings: MakeSettings, tmp_path: Path) -> None:
    """Workers that die at random places before any checkpoint teach suspicion, but no record is passed over."""
    settings = quick_settings(partitions=1, worker=WorkerSettings(600.0, 600.0))
    log, rng = turns(1500, seed=74, split=True), random.Random(74)
    await produce(settings.kafka, log)
    for _ in range(5):
        left = {"TEST_RECORDS_LEFT": str(rng.randrange(len(log)))}
        async with WorkerProcess(in_a_new_group(settings), tmp_path, DIES_BY_CHANCE, left) as worker:
            assert await asyncio.wait_for(worker.process.wait(), 60) == -signal.SIGKILL
            assert not worker.events("record.skipped")
    assert await read_shards(settings) == {}
    quick = msgspec.structs.replace(settings, worker=WorkerSettings(0.1, 0.1))
    async with WorkerProcess(in_a_new_group(quick), tmp_path) as worker:
        await reach(settings, len(log))
        assert await worker.stopped() == 0
        assert worker.events("record.suspected") and not worker.events("record.skipped")
    assert not (await read_shards(settings))[0].skipped
    await assert_exact(settings)


async def test_another_structure_joins(quick_settings: MakeSettings, tmp_path: Path) -> None:
    """In a rolling upgrade a worker with other arms ends with code 2 and names them; the running one goes on."""
    settings = quick_settings(partitions=2)
    other = msgspec.structs.replace(settings, tool=ToolSettings(arms=("none", "search")))
    log = turns(600, seed=75, split=True)
    async with WorkerProcess(settings, tmp_path) as worker:
        await produce(settings.kafka, log[:600])
        await reach(settings, 600)
        async with WorkerProcess(other, tmp_path) as refused:
            assert await asyncio.wait_for(refused.process.wait(), 60) == 2
            assert "tool.arms" in refused.log.read_text()
            assert "weather.lookup" in refused.log.read_text()
        await produce(settings.kafka, log[600:])
        await reach(settings, 1200)
        assert not worker.events("partition.fenced") and not worker.events("partition.revoked")
        assert await worker.stopped() == 0
    await assert_exact(settings)


async def test_a_truncated_log_ends_with_code_3(
    quick_settings: MakeSettings, real_kafka: KafkaBroker, tmp_path: Path
) -> None:
    """An operator sees it by the exit code, and what to do in the log."""
    settings = quick_settings(partitions=1)
    async with running(settings) as learner:
        await produce(settings.kafka, turns(100, seed=76))
        await eventually(lambda: folded(learner) == 100)
    await produce(settings.kafka, turns(100, seed=77))
    real_kafka.delete_records(settings.kafka.topic, {0: 150})
    async with WorkerProcess(settings, tmp_path) as worker:
        assert await asyncio.wait_for(worker.process.wait(), 60) == 3
        (failed,) = worker.events("worker.failed")
        assert failed["code"] == "log_truncated" and "policy.lineage" in failed["hint"]
