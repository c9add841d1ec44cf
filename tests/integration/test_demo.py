"""The demo, as somebody types it: a short run in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import redis

from tests.services import KafkaBroker

ROOT = Path(__file__).parents[2]
KEYS = {
    "turns", "events", "seconds", "snapshots", "rejected", "reward", "route_precision", "tool_precision",
    "latency_p95_ms", "cache_hit_rate", "mean_weight", "versions_seen_by_client",
}  # fmt: skip


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    """The demo with a folder for temporary files of its own, by which its children can be told."""
    environ = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "worker.cli", "demo", *arguments],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(tmp_path: Path) -> list[str]:
    """Command lines of the processes that work in the demo's folder or were told of it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            at, line = process.joinpath("cwd").readlink(), process.joinpath("cmdline").read_bytes()
        except OSError:
            continue
        if tmp_path in at.parents:
            found.append(line.decode().replace("\0", " "))
    return found


def test_a_short_demo_learns_and_cleans_up(tmp_path: Path) -> None:
    """3,000 turns end with one JSON object, a policy that beats chance, and nothing left behind."""
    demo = start(tmp_path, "--turns", "3000", "--seed", "5", "--json")
    out, err = demo.communicate(timeout=100)
    assert demo.returncode == 0, err
    told = json.loads(out.splitlines()[-1])
    assert told.keys() == KEYS
    assert (told["turns"], told["events"], told["rejected"]) == (3000, 6000, 0)
    reward = told["reward"]
    assert reward["rules"] < reward["uniform"] + 0.3 < reward["learned"] < reward["oracle"] + 0.1
    assert told["route_precision"]["learned"] > told["route_precision"]["rules"]
    assert told["tool_precision"]["learned"] > told["tool_precision"]["rules"]
    assert 1 < told["versions_seen_by_client"] <= told["snapshots"]
    assert abs(told["mean_weight"] - 1.0) < 0.25
    assert "3,000 of 3,000 turns" in err
    assert children(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_demo_cleans_up(tmp_path: Path) -> None:
    """Ctrl-C in the middle ends worker, broker and Redis, and leaves no files."""
    demo = start(tmp_path, "--turns", "200000")
    assert demo.stderr is not None
    demo.stderr.readline()  # the first line comes when turns are played
    deadline = time.monotonic() + 30
    while not any("worker.demo.member" in line for line in children(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=30)
    assert demo.returncode == 130
    assert children(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_redis_ends_the_demo_with_advice(tmp_path: Path) -> None:
    """The exit code says that a dependency is missing, the error which one, and where the worker's log is."""
    demo = start(tmp_path, "--turns", "500", "--redis", "redis://127.0.0.1:1/0")
    _, err = demo.communicate(timeout=60)
    assert demo.returncode == 3
    assert "redis://127.0.0.1:1/0" in err
    assert "worker's log is kept in" in err
    assert children(tmp_path) == []


def test_the_demo_leaves_other_peoples_servers_as_they_were(
    tmp_path: Path, real_kafka: KafkaBroker, redis_url: str
) -> None:
    """On a given Kafka and Redis it learns as well, and takes its topics and keys away again."""
    where = ("--kafka", real_kafka.bootstrap, "--redis", redis_url)
    demo = start(tmp_path, "--turns", "1500", "--json", *where)
    out, err = demo.communicate(timeout=100)
    assert demo.returncode == 0, err
    told = json.loads(out.splitlines()[-1])
    assert (told["events"], told["rejected"]) == (3000, 0)
    assert told["reward"]["learned"] > told["reward"]["uniform"]
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
    assert children(tmp_path) == []
