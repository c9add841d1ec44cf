"""`alice-rl policy promote --lineage` under traffic: the lineages change places in one step, and nothing is lost."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from alice_rl.snapshot.head import Head
from alice_rl.snapshot.store import Store
from tests.command_line import Line
from tests.integration.test_replay import eventually, nexts
from tests.logs import LogRecord, turns
from tests.services import KafkaBroker, MockBroker
from tests.streams import produce, shard_digests, unbroken_digests
from worker.settings import of_lineage


def head_of(alice: Line) -> Head:
    """What serves."""

    async def read() -> Head:
        store = Store.from_settings(alice.settings.redis, "alice")
        try:
            return await store.read_head()
        finally:
            await store.close()

    return asyncio.run(read())


@contextmanager
def traffic(alice: Line, log: list[LogRecord]) -> Iterator[threading.Thread]:
    """The log written in small portions beside the test, and all of it at the end."""

    def write() -> None:
        for at in range(0, len(log), 50):
            asyncio.run(produce(alice.settings.kafka, log[at : at + 50]))

    writing = threading.Thread(target=write)
    writing.start()
    try:
        yield writing
    finally:
        writing.join()


@contextmanager
def worker(alice: Line, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A worker that publishes every tenth of a second, stopped in order at the end."""
    rhythm = ("worker.checkpoint_interval_seconds=0.1", "worker.publish_interval_seconds=0.1")
    options = [word for setting in (*rhythm, *words) for word in ("--set", setting)]
    with alice.start("worker", *options) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def total(alice: Line, lineage: str) -> int:
    return sum(map(int, nexts(alice, lineage).values()))


def digests(alice: Line, lineage: str) -> dict[int, str]:
    return asyncio.run(shard_digests(of_lineage(alice.settings, lineage)))


def test_a_lineage_takes_over_mid_traffic(alice: Line, kafka: KafkaBroker | MockBroker) -> None:
    """The worker goes over to the promoted lineage by itself, offsets never go back, and no byte differs."""
    log = turns(2000, seed=3, split=True)
    asyncio.run(produce(alice.settings.kafka, log[:1000]))
    with worker(alice):
        eventually(lambda: total(alice, "main") >= 1000)
        with traffic(alice, log[1000:]):
            assert alice("replay", "--lineage", "next").code == 0
            before = head_of(alice)
            promoted = alice("policy", "promote", "--lineage", "next", "--reason", "a test", "--json")
            assert promoted.code == 0, promoted.stderr
            assert (promoted.json["replaced"], promoted.json["lineage"]) == ("main", "next")
            after = head_of(alice)
            assert after.lineage == "next"
            assert after.live is not None and after.live >= promoted.json["version"] > before.seq
            assert all(promoted.json["offsets"][str(p)] >= offset for p, offset in before.offsets.items())
        eventually(lambda: total(alice, "next") == 4000)
        eventually(lambda: sum(head_of(alice).offsets.values()) == 4000)
    assert digests(alice, "next") == asyncio.run(unbroken_digests(alice.settings))
    assert alice("verify", "--set", "policy.lineage=next").code == 0
    assert "active already" in alice("policy", "promote", "--lineage", "next").stdout


def test_another_structure_waits_for_its_workers(alice: Line) -> None:
    """Workers of the old structure keep their checkpoints and publish nothing more; those of the new one take on."""
    log = turns(900, seed=4)
    wide = ("--set", "features.feature_dim=128")
    asyncio.run(produce(alice.settings.kafka, log[:300]))
    with worker(alice):
        eventually(lambda: total(alice, "main") == 300)
        assert alice("replay", "--lineage", "wide", *wide).code == 0
        refused = alice("policy", "promote", "--lineage", "wide")
        assert refused.code == 2 and "another configuration" in refused.stderr
        assert alice("policy", "promote", "--lineage", "wide", *wide).code == 0
        published = head_of(alice).seq
        asyncio.run(produce(alice.settings.kafka, log[300:600]))
        eventually(lambda: total(alice, "main") == 600)
        assert head_of(alice).seq == published
    with worker(alice, "policy.lineage=wide", "features.feature_dim=128"):
        asyncio.run(produce(alice.settings.kafka, log[600:]))
        eventually(lambda: sum(head_of(alice).offsets.values()) == 900)
    assert head_of(alice).lineage == "wide"
    for words in (("--set", "policy.lineage=wide", *wide), ()):
        assert alice("verify", *words).code == 0


def test_a_standby_is_waited_for(alice: Line) -> None:
    """Where workers of the new lineage run already they are not disturbed: the promotion waits until they are level."""
    asyncio.run(produce(alice.settings.kafka, turns(400, seed=5)))
    with worker(alice):
        eventually(lambda: total(alice, "main") == 400)
        with worker(alice, "policy.lineage=standby", "kafka.group_id=standby") as standby:
            eventually(lambda: total(alice, "standby") == 400)
            assert head_of(alice).lineage == "main"
            promoted = alice("policy", "promote", "--lineage", "standby", "--json")
            assert promoted.code == 0, promoted.stderr
            assert promoted.json["records"] == 0
            asyncio.run(produce(alice.settings.kafka, turns(100, seed=6)))
            eventually(lambda: sum(head_of(alice).offsets.values()) == 500)
            assert standby.poll() is None
    assert head_of(alice).lineage == "standby"


@pytest.fixture
def learned(alice: Line) -> Line:
    """A live policy of 200 turns."""
    asyncio.run(produce(alice.settings.kafka, turns(200, seed=7)))
    with worker(alice):
        eventually(lambda: sum(head_of(alice).offsets.values()) == 200)
    return alice


def test_refusals_say_what_to_do(learned: Line) -> None:
    """An unknown lineage, one without all partitions, and a pin are each told apart, and nothing moves."""
    before = head_of(learned)
    unknown = learned("policy", "promote", "--lineage", "nobody")
    assert unknown.code == 2 and "alice-rl replay --lineage nobody" in unknown.stderr
    assert learned("replay", "--lineage", "next").code == 0

    async def pin() -> None:
        store = Store.from_settings(learned.settings.redis, "alice")
        await store.rollback(request="r1", to=before.live, version=None, why="a test")
        await store.close()

    asyncio.run(pin())
    pinned = learned("policy", "promote", "--lineage", "next")
    assert pinned.code == 1 and "is pinned" in pinned.stderr and "--unpin" in pinned.stderr
    assert head_of(learned).lineage == "main"
    assert learned("policy", "promote", "--lineage", "next", "--unpin").code == 0
    assert head_of(learned).lineage == "next"
