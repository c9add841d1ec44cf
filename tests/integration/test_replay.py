"""`alice-rl replay` on a real broker and a real Redis: the same fold, in a lineage of its own."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis as redis_py
import zstandard
from aiokafka import AIOKafkaProducer
from msgspec import structs

from alice_rl.clock import ClockState
from alice_rl.shard import Shard
from alice_rl.shard_state import Mark
from alice_rl.snapshot import keys
from alice_rl.sums import digest
from tests.command_line import Line
from tests.logs import START_MS, LogRecord, turns
from tests.services import KafkaBroker
from tests.streams import produce, read_log, shard_digests, unbroken_digests
from worker.replay.files import archive_partition
from worker.settings import Settings, of_lineage

WAIT_SECONDS = 60.0


def dump(url: str) -> dict[bytes, bytes]:
    """Every key of the database with its serialised value."""
    with redis_py.Redis.from_url(url) as client:
        return {key: client.dump(key) or b"" for key in client.keys("*")}


def digests_of(settings: Settings, lineage: str) -> dict[int, str]:
    """The digests that Redis holds of a lineage."""
    return asyncio.run(shard_digests(of_lineage(settings, lineage)))


def folded(log: list[LogRecord], settings: Settings) -> str:
    """The digest of an undisturbed fold over a stretch of one log."""
    shard = Shard(settings.lineage, Mark(log[0].offset, ClockState()))
    shard.feed(log)
    return shard.digest()


def test_a_replay_is_the_fold_of_the_log(alice: Line) -> None:
    """Every partition ends with the bytes of an undisturbed fold, and what was there before is untouched."""
    settings = alice.settings
    asyncio.run(produce(settings.kafka, turns(1500, seed=3, split=True)))
    with alice.start("worker") as worker:
        eventually(lambda: sum(map(int, nexts(alice, "main").values())) == 3000)
        worker.send_signal(signal.SIGTERM)
    before = dump(settings.redis.url)
    done = alice("replay", "--lineage", "again", "--json")
    assert done.code == 0, done.stderr
    assert done.json["records"] == 3000
    assert digests_of(settings, "again") == digests_of(settings, "main") == asyncio.run(unbroken_digests(settings))
    assert done.json["digest"] == digest({str(p): d for p, d in digests_of(settings, "again").items()})
    meta = keys.meta("alice").encode()
    after = dump(settings.redis.url)
    assert {key: value for key, value in after.items() if key in before and key != meta} == {
        key: value for key, value in before.items() if key != meta
    }
    assert all(b":lineage:again:" in key for key in after.keys() - before.keys())


def nexts(alice: Line, lineage: str) -> dict[int, bytes]:
    """Where the checkpoints of a lineage stand, by partition."""
    with redis_py.Redis.from_url(alice.settings.redis.url) as client:
        found = {p: client.hget(keys.shard("alice", lineage, p), "next") for p in range(2)}
    return {p: value for p, value in found.items() if value is not None}


def eventually(condition: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_bounds_may_be_offsets_and_times(alice: Line, real_kafka: KafkaBroker) -> None:
    """A replay reads what lies between its bounds and nothing else; a time is where the first record of it stands."""
    settings = alice.settings
    log = turns(400, seed=5)
    asyncio.run(produce_timed(settings, log))
    held = asyncio.run(read_log(settings.kafka))
    assert alice("replay", "--lineage", "offsets", "--from", 20, "--to", 100).code == 0
    assert digests_of(settings, "offsets") == {p: folded(part[20:100], settings) for p, part in held.items()}
    assert alice("replay", "--lineage", "times", "--from", "2026-01-01T00:02", "--to", "2026-01-01T00:05").code == 0
    first, end = START_MS + 120_000, START_MS + 300_000
    between = {p: [r for r in part if first <= r.timestamp < end] for p, part in held.items()}
    assert 0 < sum(map(len, between.values())) < 400
    assert digests_of(settings, "times") == {p: folded(part, settings) for p, part in between.items()}


async def produce_timed(settings: Settings, log: list[LogRecord]) -> None:
    """Write a log whose records carry the time of their events, as the emitter's do."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)
    await producer.start()
    for i, record in enumerate(log):
        await producer.send(settings.kafka.topic, record.value, partition=i % 2, timestamp_ms=START_MS + 1000 * i)
    await producer.stop()


def test_a_dry_run_writes_nothing(alice: Line) -> None:
    """What would be read is told by offsets, and Redis and Kafka stay as they were."""
    asyncio.run(produce(alice.settings.kafka, turns(100)))
    before = dump(alice.settings.redis.url)
    told = alice("replay", "--lineage", "x", "--dry-run", "--json").json
    assert told["records_at_most"] == 100
    assert [(span["first"], span["done"]) for span in told["spans"]] == [(0, 0), (0, 0)]
    assert dump(alice.settings.redis.url) == before
    shown = alice("replay", "--lineage", "x", "--dry-run").stdout
    assert "at most 100 records into lineage 'x'" in shown
    assert "nothing was written" in shown


def test_a_killed_replay_goes_on_where_it_was(alice: Line) -> None:
    """Kill -9 in the middle: the same command goes on from the checkpoints and ends with the same digest."""
    settings = alice.settings
    asyncio.run(produce(settings.kafka, turns(60_000, seed=2, step_ms=20)))
    running = alice.start("replay", "--lineage", "cut", "--jobs", "1")  # so that one partition is still to come
    eventually(lambda: sum(map(int, nexts(alice, "cut").values())) > 0)
    children = child_pids(running.pid)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    stopped_at = sum(map(int, nexts(alice, "cut").values()))
    assert stopped_at < 60_000
    done = alice("replay", "--lineage", "cut", "--json")
    assert done.code == 0, done.stderr
    assert done.json["records"] == 60_000 - stopped_at
    assert digests_of(settings, "cut") == asyncio.run(unbroken_digests(settings))


def child_pids(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Path, list[LogRecord]]:
    """A log, and a folder to write it to as an archive."""
    folder = tmp_path / "archives"
    folder.mkdir()
    return folder, turns(500, seed=9, split=True)


def test_archives_are_logs(alice: Line, archive: tuple[Path, list[LogRecord]]) -> None:
    """Plain, gzip and zstd files and a folder of them teach the same, each as a partition of its own."""
    folder, log = archive
    lines = b"".join((record.value or b"") + b"\n" for record in log)
    (folder / "plain.jsonl").write_bytes(lines)
    (folder / "packed.gz").write_bytes(gzip.compress(lines[:9999]) + gzip.compress(lines[9999:]))
    (folder / "packed.zst").write_bytes(zstandard.compress(lines[:5555]) + zstandard.compress(lines[5555:]))
    parts = folder / "parts"
    parts.mkdir()
    (parts / "1.jsonl").write_bytes(b"".join((r.value or b"") + b"\n" for r in log[:300]).rstrip(b"\n"))
    (parts / "2.jsonl.gz").write_bytes(gzip.compress(b"".join((r.value or b"") + b"\n" for r in log[300:])))
    names = ("plain.jsonl", "packed.gz", "packed.zst", "parts")
    sources = [word for name in names for word in ("--source", folder / name)]
    done = alice("replay", "--lineage", "files", *sources, "--json")
    assert done.code == 0, done.stderr
    expected = folded([r._replace(timestamp=0) for r in log], alice.settings)
    assert {part["source"]: part["digest"] for part in done.json["partitions"]} == dict.fromkeys(names, expected)
    assert digests_of(alice.settings, "files") == {archive_partition(folder / name): expected for name in names}


def test_a_damaged_archive_keeps_what_was_read(alice: Line, archive: tuple[Path, list[LogRecord]]) -> None:
    """A file that ends in the middle is told, and mended it is gone on with."""
    folder, log = archive
    packed = gzip.compress(b"".join((record.value or b"") + b"\n" for record in log))
    file = folder / "log.gz"
    file.write_bytes(packed[: len(packed) // 2])
    broken = alice("replay", "--lineage", "mended", "--source", file)
    assert broken.code == 1
    assert "log.gz" in broken.stderr and "to its end" in broken.stderr
    file.write_bytes(packed)
    assert alice("replay", "--lineage", "mended", "--source", file).code == 0
    assert alice("verify", "--set", "policy.lineage=mended", "--source", file).code == 0


def test_an_archive_and_the_topic_add_up(alice: Line, archive: tuple[Path, list[LogRecord]]) -> None:
    """What left retention is learned from a file, the rest from Kafka, into one lineage that can be promoted."""
    folder, log = archive
    file = folder / "old.jsonl"
    file.write_bytes(b"".join((record.value or b"") + b"\n" for record in log))
    asyncio.run(produce(alice.settings.kafka, turns(300, seed=4)))
    with alice.start("worker") as worker:
        eventually(lambda: sum(map(int, nexts(alice, "main").values())) == 300)
        worker.send_signal(signal.SIGTERM)
    assert alice("replay", "--lineage", "all", "--source", file).code == 0
    assert alice("policy", "promote", "--lineage", "all").code == 1  # it lacks the topic's partitions
    assert alice("replay", "--lineage", "all").code == 0
    promoted = alice("policy", "promote", "--lineage", "all", "--json")
    assert promoted.code == 0, promoted.stderr
    assert sum(promoted.json["offsets"].values()) == 300 + len(log)
    assert alice("verify", "--set", "policy.lineage=all", "--source", file, "--json").json["equal"]


def test_a_transaction_at_the_end_ends_it(alice: Line, real_kafka: KafkaBroker) -> None:
    """Aborted records teach nothing, and the markers at the end of the log are no records to wait for."""
    settings = alice.settings
    asyncio.run(in_transactions(settings, turns(90, seed=6)))
    done = alice("replay", "--lineage", "tx", "--json")
    assert done.code == 0, done.stderr
    assert done.json["records"] == 60
    again = alice("replay", "--lineage", "tx", "--json")
    assert again.json["records"] == 0
    assert digests_of(settings, "tx") == asyncio.run(unbroken_digests(settings))


async def in_transactions(settings: Settings, log: list[LogRecord]) -> None:
    """Three transactions, of which the last is aborted."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap_servers, transactional_id=settings.kafka.topic
    )
    await producer.start()
    for start in (0, 30, 60):
        await producer.begin_transaction()
        for i, record in enumerate(log[start : start + 30]):
            await producer.send(settings.kafka.topic, record.value, partition=i % 2)
        await (producer.abort_transaction() if start == 60 else producer.commit_transaction())
    await producer.stop()


def test_what_cannot_be_right_is_refused(alice: Line) -> None:
    """A live lineage, another beginning, an unreadable place, an empty stretch: each is told with what to do."""
    settings = alice.settings
    asyncio.run(produce(settings.kafka, turns(100)))
    with alice.start("worker") as worker:
        eventually(lambda: sum(map(int, nexts(alice, "main").values())) == 100)
        worker.send_signal(signal.SIGTERM)
    live = alice("replay", "--lineage", "main")
    assert live.code == 2 and "is live" in live.stderr
    assert alice("replay", "--lineage", "begun", "--from", 10).code == 0
    other = alice("replay", "--lineage", "begun", "--from", 11)
    assert other.code == 2 and "was begun at offset 10" in other.stderr
    place = alice("replay", "--lineage", "x", "--from", "yesterday")
    assert place.code == 2 and "earliest, now, an offset" in place.stderr
    empty = alice("replay", "--lineage", "x", "--from", "2099-01-01")
    assert empty.code == 2 and "nothing between 2099-01-01 and now" in empty.stderr
    structure = alice("replay", "--lineage", "begun", "--from", 10, "--set", "features.feature_dim=32")
    assert structure.code == 2 and "lineage 'begun'" in structure.stderr
    away = structs.replace(settings.kafka, topic="nowhere")
    alice.flags["kafka.topic"] = away.topic
    assert alice("replay", "--lineage", "x").code == 3
