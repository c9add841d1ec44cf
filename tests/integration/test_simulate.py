"""The simulated assistant alone, as somebody types it."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from alice_rl.intake import Intake
from alice_rl.lineage import Arms
from alice_rl.simulation.world import TOOLS
from tests.services import KafkaBroker, MockBroker

ROOT = Path(__file__).parents[2]


def simulate(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    """`alice-rl simulate` in a folder of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "worker.cli", "simulate", "--json", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str], code: int = 0) -> dict[str, Any]:
    """The summary of a run that has ended with `code`."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    summary: dict[str, Any] = json.loads(out.splitlines()[-1])
    return summary


def sent_to(broker: KafkaBroker | MockBroker, topic: str, n: int) -> list[bytes]:
    """The first `n` values of a topic of one partition."""

    async def read() -> list[bytes]:
        partition = TopicPartition(topic, 0)
        consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, fetch_max_wait_ms=50)
        await consumer.start()
        try:
            consumer.assign([partition])
            consumer.seek(partition, 0)
            return [(await asyncio.wait_for(anext(consumer), 20)).value for _ in range(n)]
        finally:
            await consumer.stop()

    return asyncio.run(read())


def settings_for(broker: KafkaBroker | MockBroker, topic: str) -> list[str]:
    """Options that name the broker, the topic and the world's tools."""
    values = {"kafka.bootstrap_servers": broker.bootstrap, "kafka.topic": topic, "tool.arms": ",".join(TOOLS)}
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


def test_a_seed_writes_the_same_file(tmp_path: Path) -> None:
    """Two runs of a seed write the same bytes, compressed or not, and leave no other file."""
    for name in ("a.jsonl.gz", "b.jsonl.gz", "c.jsonl"):
        said = told(simulate(tmp_path, "--turns", "300", "--seed", "3", "--to", name))
        assert (said["turns"], said["events"], said["dropped"]) == (300, 600, 0)
    a, b, c = (tmp_path.joinpath(name).read_bytes() for name in ("a.jsonl.gz", "b.jsonl.gz", "c.jsonl"))
    assert a == b
    assert gzip.decompress(a) == c
    assert len(list(tmp_path.iterdir())) == 3


def test_a_file_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    """So is a name that says nothing about its form."""
    assert "cannot write" in told(simulate(tmp_path, "--to", "no/such/place.jsonl"), code=2)["error"]["message"]
    assert "neither kafka nor" in told(simulate(tmp_path, "--to", "log.csv"), code=2)["error"]["message"]


def test_events_reach_kafka(tmp_path: Path, kafka: KafkaBroker | MockBroker, topic: str) -> None:
    """Every event arrives, and a worker would take each of them."""
    options = ["--turns", "150", "--rate", "0", "--policy", "uniform", *settings_for(kafka, topic)]
    assert told(simulate(tmp_path, *options))["events"] == 300
    values = sent_to(kafka, topic, 300)
    records = [SimpleNamespace(value=value, offset=at, timestamp=0) for at, value in enumerate(values)]
    taken = Intake(Arms(tool=TOOLS)).take(records)
    assert (len(taken.events), taken.rejected) == (300, [])


def test_a_rate_keeps_event_time_in_step(tmp_path: Path, kafka: KafkaBroker | MockBroker, topic: str) -> None:
    """At a rate turns take their time; SIGTERM ends an endless run in order, with all outcomes sent."""
    process = simulate(tmp_path, "--rate", "200", "--policy", "uniform", *settings_for(kafka, topic))
    values = [json.loads(value) for value in sent_to(kafka, topic, 150)]
    process.send_signal(signal.SIGTERM)
    said = told(process)
    assert said["events"] == 2 * said["turns"] >= 150
    spanned_seconds = (max(v["ts_ms"] for v in values) - min(v["ts_ms"] for v in values)) / 1000
    assert 0.1 < spanned_seconds < 5


def test_other_arms_are_refused(tmp_path: Path, kafka: KafkaBroker | MockBroker, topic: str) -> None:
    """What the configured arms do not cover would be rejected by the worker, so nothing is sent."""
    error = told(simulate(tmp_path, *settings_for(kafka, topic), "--set", "tool.arms=none"), code=2)["error"]
    assert "tool.arms" in error["message"]
