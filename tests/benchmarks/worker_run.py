"""One run of the worker as a process of its own, over a prepared topic, watched from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from time import monotonic, sleep
from typing import NamedTuple

import redis

from alice_rl.errors import DependencyError
from alice_rl.simulation.world import TOOLS
from alice_rl.snapshot import keys
from tests.benchmarks.workload import PARTITIONS

__all__ = ["WorkerRun", "config_text", "run_worker"]

_POLL_SECONDS = 0.01
_BURST_SECONDS = 0.1  # partitions are checkpointed together; what lies closer is one checkpoint
_TIMEOUT_SECONDS = 180.0
_ROOT = Path(__file__).parents[2]


class _Sight(NamedTuple):
    """What was seen at one time: records that checkpoints hold, processor seconds used so far."""

    at: float
    records: int
    cpu_seconds: float


class WorkerRun(NamedTuple):
    """What one run has shown.

    `rate`: records per second between checkpoints. `cores`: how many of them it kept busy. `rss_mb`, `hwm_mb`: the most
    resident memory that was seen from outside, and the system's own high-water mark. `checkpoint_seconds`: what a
    checkpoint of all partitions took, on average. `checkpoint_share`: of the time between checkpoints' ends.
    """

    rate: float
    cores: float
    rss_mb: float
    hwm_mb: float
    checkpoint_seconds: float
    checkpoint_share: float


def run_worker(bootstrap: str, topic: str, redis_url: str, count: int, folder: Path) -> WorkerRun:
    """Let a worker with default settings learn the whole topic into an empty Redis; then stop it.

    Raises
    ------
    DependencyError
        It ended, or did not get through, in its time.
    """
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        config = folder / "config.toml"
        config.write_text(config_text(bootstrap, topic, redis_url))
        command = [sys.executable, "-m", "worker.cli", "worker", "--config", str(config)]
        with (folder / "worker.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=_ROOT, stdout=log, stderr=log)
            try:
                sights, rss = _watch(process, client, count)
                hwm = _memory_mb(process.pid, "VmHWM")
            except DependencyError as error:
                raise DependencyError(f"{error}\n{(folder / 'worker.log').read_text()[-2000:]}") from None
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
    return _summary(sights, rss, hwm, (folder / "worker.log").read_bytes())


def config_text(bootstrap: str, topic: str, redis_url: str) -> str:
    """The configuration of whatever is measured on these services: defaults but for addresses and tools."""
    tools = ", ".join(f'"{tool}"' for tool in TOOLS)
    return f"""
        [kafka]
        bootstrap_servers = "{bootstrap}"
        topic = "{topic}"
        group_id = "bench-{os.urandom(4).hex()}"
        dead_letter_topic = ""
        [redis]
        url = "{redis_url}"
        [tool]
        arms = [{tools}]
        [log]
        format = "json"
        level = "debug"  # a line per checkpoint, with its time
    """


def _watch(process: subprocess.Popen[bytes], client: redis.Redis, count: int) -> tuple[list[_Sight], float]:
    """Look at the checkpoints until they hold all records."""
    names = [keys.shard("alice", "main", partition) for partition in range(PARTITIONS)]
    sights: list[_Sight] = []
    rss, deadline = 0.0, monotonic() + _TIMEOUT_SECONDS
    while not sights or sights[-1].records < count:
        if monotonic() > deadline or process.poll() is not None:
            raise DependencyError(f"the worker stopped at {sights[-1].records if sights else 0} of {count} records")
        pipe = client.pipeline(transaction=False)
        for name in names:
            pipe.hget(name, "next")
        records = sum(int(n or 0) for n in pipe.execute())
        if records > (sights[-1].records if sights else 0):
            sights.append(_Sight(monotonic(), records, _cpu_seconds(process.pid)))
        rss = max(rss, _memory_mb(process.pid, "VmRSS"))
        sleep(_POLL_SECONDS)
    return sights, rss


def _summary(sights: list[_Sight], rss: float, hwm: float, log: bytes) -> WorkerRun:
    """From the first checkpoint to the last before the end, for the last one comes after a pause of its own."""
    ends = [a for a, b in pairwise(sights) if b.at - a.at > _BURST_SECONDS]
    if len(ends) < 2:
        raise DependencyError("the backlog was learned within two checkpoints: it is too short to tell a rate")
    first, last = ends[0], ends[-1]
    records, seconds = last.records - first.records, last.at - first.at
    cores = (last.cpu_seconds - first.cpu_seconds) / seconds
    return WorkerRun(records / seconds, cores, rss, hwm, *_checkpoints(log, len(ends)))


def _checkpoints(log: bytes, count: int) -> tuple[float, float]:
    """Mean seconds of the checkpoints after the first, out of the worker's own log, and their share of the time."""
    lines = [json.loads(line) for line in log.splitlines() if b'"checkpoint.written"' in line][:count]
    took = [line["seconds"] for line in lines[1:]]
    began, ended = (datetime.fromisoformat(lines[at]["timestamp"]) for at in (0, -1))
    return fmean(took), sum(took) / (ended - began).total_seconds()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)
