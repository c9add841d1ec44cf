"""`alice-rl policy diff` on a real broker and a real Redis: versions compared on what the topic holds last."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

import worker.latest_decisions
from tests.command_line import Line
from tests.integration.test_policy_stage import publish
from tests.logs import START_MS, decision, outcome
from worker.latest_decisions import Sample, latest_in_topic


def produce(alice: Line, partition: int, events: list[dict[str, Any]]) -> None:
    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=alice.flags["kafka.bootstrap_servers"]) as producer:
            for event in events:
                await producer.send(alice.flags["kafka.topic"], msgspec.json.encode(event), partition=partition)
            await producer.flush()

    asyncio.run(send())


def latest(alice: Line, count: int) -> Sample:
    return asyncio.run(latest_in_topic(alice.settings.kafka, count))


def test_the_newest_of_all_partitions_are_found(alice: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions that stand far before the end, behind outcomes alone, are found; what is older is not read."""
    monkeypatch.setattr(worker.latest_decisions, "_PIECE_RECORDS", 4)
    produce(alice, 0, [decision(f"a{n}", START_MS + 10 * n) for n in range(200)])
    produce(alice, 1, [decision(f"b{n}", START_MS + 1985 + n) for n in range(3)])
    produce(alice, 1, [outcome(f"b{n % 3}") for n in range(50)])
    sample = latest(alice, 6)
    assert [one.decision_id for one in sample.decisions] == ["a197", "a198", "b0", "b1", "b2", "a199"]
    assert 53 <= sample.records < 100
    assert len(latest(alice, 1000).decisions) == 203


def test_a_bound_is_kept(alice: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic without decisions is not read to its beginning, however long it is."""
    monkeypatch.setattr(worker.latest_decisions, "_PIECE_RECORDS", 4)
    monkeypatch.setattr(worker.latest_decisions, "_RECORDS_MAX", 20)
    produce(alice, 0, [outcome("d") for _ in range(200)])
    sample = latest(alice, 1)
    assert (sample.decisions, sample.records < 50) == ((), True)


def test_versions_are_compared_on_the_log(alice: Line) -> None:
    """By number and by name, on the topic's decisions; a file stands for a version as well."""
    for candidate in (False, False, True):
        publish(alice.settings, candidate=candidate)
    done = alice("policy", "diff", "live", "newest", "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "no_decisions")
    produce(alice, 0, [decision(f"d{n}", START_MS + n) for n in range(20)])
    told = alice("policy", "diff", "live", "newest", "--json", "--sample", "15").json
    assert (told["a"]["version"], told["b"]["version"], told["equal"]) == (2, 3, False)
    assert told["sample"]["decisions"] == 15 == told["slots"][0]["turns"]
    assert told["sample"]["last_ms"] == START_MS + 19
    alice("policy", "export", "3", "file")
    assert alice("policy", "diff", "file", "3", "--json").json["equal"] is True
    shown = alice("policy", "diff", "1", "file").stdout
    assert "version 1, " in shown and "file: version 3, " in shown
    alice.flags["kafka.bootstrap_servers"] = "127.0.0.1:1"
    assert alice("policy", "diff", "1", "2").code == 3
