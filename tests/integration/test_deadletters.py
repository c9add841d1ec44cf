"""Rejected records on a real broker: looked at, and sent back when they can be learned."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from alice_rl.intake import Rejected
from alice_rl.kafka import KafkaSettings
from alice_rl.slots import ToolSettings
from tests.integration.conftest import MakeSettings
from tests.logs import START_MS, TOOLS, LogRecord, records, turn, turns
from tests.services import KafkaBroker
from tests.streams import eventually, folded, produce, running
from tests.unit.cli.runner import Ran, run
from worker.dead_letters import DeadLetters
from worker.service import Worker
from worker.settings import PolicySettings, Settings
from worker.topic_reader import TopicReader

HOURS_MS = 3_600_000
MAPS = {"arm": "maps.route", "p": 0.5, "available": ["maps.route", "none"]}


def alice(settings: Settings, *words: object) -> Ran:
    """`alice-rl deadletters` with the settings of a test."""
    kafka = settings.kafka
    flags = {
        "kafka.bootstrap_servers": kafka.bootstrap_servers,
        "kafka.topic": kafka.topic,
        "kafka.dead_letter_topic": kafka.dead_letter_topic,
        "redis.url": settings.redis.url,
        "redis.retries_max": "0",
        "tool.arms": ",".join(settings.tool.arms),
        "policy.lineage": settings.policy.lineage,
    }
    return run("deadletters", *words, *(word for key, value in flags.items() for word in ("--set", f"{key}={value}")))


def learn(settings: Settings, count: int | None = None) -> dict[str, int]:
    """Let a worker fold up to the offset `count` of all partitions, or just begin everywhere; what it counted."""

    def is_done(worker: Worker) -> bool:
        if count is not None:
            return folded(worker) == count
        return bool(worker.holdings) and all(held.stored_next is not None for held in worker.holdings.values())

    async def work() -> dict[str, int]:
        async with running(settings) as worker:
            await eventually(lambda: is_done(worker))
            counts = [held.shard.counts for held in worker.holdings.values()]
            return {name: sum(part[name] for part in counts) for name in ("episodes", "rejected", "late", "clamped")}

    return asyncio.run(work())


def mended(settings: Settings, start_from: str) -> Settings:
    """The same with the arm that was unknown, as a lineage of its own."""
    return msgspec.structs.replace(
        settings,
        tool=ToolSettings(arms=(*TOOLS, "maps.route")),
        policy=PolicySettings(lineage="second"),
        kafka=msgspec.structs.replace(settings.kafka, start_from=start_from),
    )


def contents(kafka: KafkaSettings, topic: str) -> dict[int, list[Any]]:
    """All records of a topic, by partition."""

    async def read() -> dict[int, list[Any]]:
        found: dict[int, list[Any]] = {}
        async with TopicReader(kafka, topic) as reader:
            async for partition, batch in reader.read(await reader.spans()):
                found.setdefault(partition, []).extend(batch)
        return found

    return asyncio.run(read())


def skipped(settings: Settings, log: Sequence[LogRecord]) -> None:
    """Dead letters of records that nothing is wrong with."""

    async def send() -> None:
        letters = DeadLetters(settings.kafka, settings.policy.lineage)
        await letters.start()
        await letters.send(0, [Rejected.of(record, "of_tomorrow", "not known yet") for record in log])
        await letters.close()

    asyncio.run(send())


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in a folder without a config.toml."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def rejecting(make_settings: MakeSettings) -> Settings:
    """A worker has learned twenty turns of two partitions, and set aside three of an unknown arm and one of garbage."""
    settings = make_settings(partitions=2)
    log = [turn(f"maps-{i}", tool=MAPS) for i in range(3)] + [b"garbage\x1b[2J"]
    asyncio.run(produce(settings.kafka, [*turns(20), *records(log)]))
    assert learn(settings, 24)["rejected"] == 4
    return settings


def test_lists_by_reason_and_the_newest_first(rejecting: Settings) -> None:
    """All are counted by reason, the newest are listed, and filters and the limit hold."""
    told = alice(rejecting, "list", "--json").json
    assert {seen["reason"]: seen["letters"] for seen in told["reasons"]} == {"unknown_arm": 3, "malformed_json": 1}
    assert (told["letters"], told["retried"], len(told["records"])) == (4, 0, 4)
    times = [record["at_ms"] for record in told["records"]]
    assert times == sorted(times, reverse=True)
    assert [r["reason"] for r in alice(rejecting, "list", "--json", "--reason", "malformed_json").json["records"]] == [
        "malformed_json"
    ]
    assert len(alice(rejecting, "list", "--json", "--limit", "1").json["records"]) == 1
    parts = [alice(rejecting, "list", "--json", "--partition", p).json["letters"] for p in (0, 1, 2)]
    assert (sum(parts), parts[2]) == (4, 0)
    assert alice(rejecting, "list", "--json", "--since", "1h").json["letters"] == 4
    assert alice(rejecting, "list", "--json", "--since", "2099-01-01").json["letters"] == 0
    shown = alice(rejecting, "list").stdout
    assert "unknown_arm" in shown and "maps.route" in shown


def test_shows_a_record_and_its_bytes(rejecting: Settings) -> None:
    """A letter is shown with its reason's meaning; its bytes come unchanged, or escaped for people."""
    (garbage,) = alice(rejecting, "list", "--json", "--reason", "malformed_json").json["records"]
    _, place = garbage["id"].split(":", 1)
    told = alice(rejecting, "show", place, "--json").json
    assert (told["reason"], told["lineage"], told["value"]) == ("malformed_json", "main", None)
    assert told["meaning"] == "the bytes are not one JSON object in UTF-8"
    assert alice(rejecting, "show", garbage["id"], "--raw").stdout == "garbage\x1b[2J"
    shown = alice(rejecting, "show", place).stdout
    assert "garbage\\x1b[2J" in shown and "\x1b" not in shown
    done = alice(rejecting, "show", "0:999", "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "letter_missing")


def test_a_long_record_is_fetched_whole(make_settings: MakeSettings) -> None:
    """What the dead letters hold in part is shown whole, as long as the telemetry topic holds it."""
    settings = make_settings(partitions=1)
    huge = b'{"type":"turn","pad":"' + b"x" * 900_000 + b'"}'
    asyncio.run(produce(settings.kafka, records([huge])))
    learn(settings, 1)
    assert alice(settings, "list", "--json").json["records"][0]["truncated"] is True
    assert alice(settings, "show", "0:0", "--raw").stdout.encode() == huge
    assert alice(settings, "show", "0:0", "--json").json["size_bytes"] == len(huge)


def test_sends_back_what_is_good_now(rejecting: Settings) -> None:
    """Once the arm is known, its turns go back as they came, are learned, and go back only once."""
    now_good = mended(rejecting, "latest")
    early = alice(now_good, "retry", "--all", "--json")
    assert (early.code, early.json["sent"], early.json["held"]) == (1, 0, {"unread": 3, "rejected_again": 1})
    learn(now_good)
    before = contents(rejecting.kafka, rejecting.kafka.topic)
    dry = alice(now_good, "retry", "--all", "--dry-run", "--json")
    assert (dry.code, dry.json["dry_run"], dry.json["sent"]) == (0, True, 3)
    assert contents(rejecting.kafka, rejecting.kafka.topic) == before
    done = alice(now_good, "retry", "--all", "--json")
    assert (done.code, done.json["sent"], done.json["held"]) == (0, 3, {"rejected_again": 1})
    assert done.json["reasons"] == {"malformed_json": 1}

    after = contents(rejecting.kafka, rejecting.kafka.topic)
    for partition, log in after.items():
        old, new = log[: len(before[partition])], log[len(before[partition]) :]
        originals = {(r.key, r.value, r.timestamp) for r in old if b"maps-" in r.value}
        assert {(r.key, r.value, r.timestamp) for r in new} == originals and len(new) == len(originals)

    listed = alice(now_good, "list", "--json").json
    assert (listed["letters"], listed["retried"]) == (4, 3)
    assert all((r["retried_ms"] is None) == (r["reason"] == "malformed_json") for r in listed["records"])
    second = alice(now_good, "retry", "--reason", "unknown_arm", "--json")
    assert (second.code, second.json["sent"], second.json["held"]) == (0, 0, {"retried": 3})
    assert contents(rejecting.kafka, rejecting.kafka.topic) == after
    assert learn(now_good, 27)["episodes"] == 3


def test_many_go_back_in_their_order(make_settings: MakeSettings) -> None:
    """More letters than one batch holds are all sent, in the order in which they were set aside, and all marked."""
    settings = make_settings(partitions=1)
    asyncio.run(produce(settings.kafka, turns(250)))
    learn(settings, 250)
    again = turns(250, seed=2)
    skipped(settings, again)
    assert alice(settings, "retry", "--all", "--json").json["sent"] == 250
    log = contents(settings.kafka, settings.kafka.topic)[0]
    assert [record.value for record in log[250:]] == [record.value for record in again]
    assert alice(settings, "retry", "--all", "--json").json["held"] == {"retried": 250}
    assert learn(settings, 500)["episodes"] == 500


def test_what_a_lineage_has_read_itself_is_not_sent(rejecting: Settings) -> None:
    """A new lineage that learned the log from its start knows the records by now: a retry would count them twice."""
    anew = mended(rejecting, "earliest")
    assert learn(anew, 24)["episodes"] == 23
    done = alice(anew, "retry", "--reason", "unknown_arm", "--json")
    assert (done.code, done.json["sent"], done.json["held"]) == (1, 0, {"learned": 3})


def test_another_structure_under_the_same_name_is_refused(rejecting: Settings) -> None:
    """Letters are not judged by arms that no worker has."""
    other = msgspec.structs.replace(rejecting, tool=ToolSettings(arms=(*TOOLS, "maps.route")))
    done = alice(other, "retry", "--all", "--json")
    assert (done.code, done.json["error"]["code"]) == (2, "lineage_mismatch")


def test_late_events_are_held_back_or_restamped(make_settings: MakeSettings) -> None:
    """What the join would drop as late stays, and is said; with the present time it is learned."""
    settings = make_settings(partitions=1)
    now = START_MS + 2 * HOURS_MS
    log = [turn("first", START_MS)] + [turn(f"now-{i}", now) for i in range(10)]
    asyncio.run(produce(settings.kafka, records(log)))
    learn(settings, 11)
    skipped(settings, records([turn("old", START_MS), turn("fresh", now - 1000)]))
    shown = alice(settings, "retry", "--all", "--dry-run")
    assert shown.code == 0 and "1 of 2 are older than the join window" in shown.stdout
    done = alice(settings, "retry", "--all", "--json")
    assert (done.code, done.json["sent"], done.json["held"]) == (0, 1, {"late": 1})
    held = alice(settings, "retry", "0:0", "--json")
    assert (held.code, held.json["held"]) == (1, {"late": 1})
    done = alice(settings, "retry", "--all", "--restamp", "--json")
    assert (done.code, done.json["sent"], done.json["restamped"]) == (0, 1, 1)
    (fresh, old) = [msgspec.json.decode(r.value) for r in contents(settings.kafka, settings.kafka.topic)[0][11:]]
    assert (fresh["decision_id"], fresh["ts_ms"]) == ("fresh", now - 1000)
    assert (old["decision_id"], old["ts_ms"], old["outcome"]["ts_ms"]) == ("old", now, now + 700)
    assert learn(settings, 13) == {"episodes": 13, "rejected": 0, "late": 0, "clamped": 7}


def test_late_events_go_as_they_are_when_that_is_wanted(make_settings: MakeSettings) -> None:
    """With --late-too nothing is held back or changed."""
    settings = make_settings(partitions=1)
    log = [turn("first", START_MS)] + [turn(f"now-{i}", START_MS + 2 * HOURS_MS) for i in range(10)]
    asyncio.run(produce(settings.kafka, records(log)))
    learn(settings, 11)
    skipped(settings, records([turn("old", START_MS)]))
    done = alice(settings, "retry", "--all", "--late-too", "--json")
    assert (done.code, done.json["sent"], done.json["restamped"]) == (0, 1, 0)
    assert learn(settings, 12)["late"] == 1


def test_transactions_hold_nothing_up(make_settings: MakeSettings, real_kafka: KafkaBroker) -> None:
    """A reading ends before an open transaction, and at offsets that no record has; what was aborted is no letter."""
    settings = make_settings(partitions=1)
    topic = settings.kafka.dead_letter_topic
    skipped(settings, records([turn("a")]))

    async def end_offset() -> int:
        async with TopicReader(settings.kafka, topic) as reader:
            return (await reader.spans())[0][1]

    async def listed() -> int:
        done = await asyncio.to_thread(alice, settings, "list", "--json")
        return int(done.json["letters"])

    async def abort() -> None:
        bootstrap = settings.kafka.bootstrap_servers
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=topic) as producer:
            await producer.begin_transaction()
            headers = [(name, b"0") for name in ("topic", "partition", "offset", "reason")]
            await producer.send_and_wait(topic, b"never", headers=headers)
            assert (await listed(), await end_offset()) == (1, 1)
            await producer.abort_transaction()
        assert (await listed(), await end_offset()) == (1, 3)  # the letter, the aborted one, and the abortion's marker

    asyncio.run(abort())


def test_a_missing_topic_is_told(make_settings: MakeSettings) -> None:
    """Without the topic there is nothing to look at: exit code 3, and it is not created."""
    settings = make_settings(partitions=1)
    kafka = msgspec.structs.replace(settings.kafka, dead_letter_topic=f"{settings.kafka.topic}.nowhere")
    away = msgspec.structs.replace(settings, kafka=kafka)
    for _ in range(2):
        done = alice(away, "list", "--json")
        assert (done.code, done.json["error"]["code"]) == (3, "topic_missing")
