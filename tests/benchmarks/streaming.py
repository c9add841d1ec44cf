"""End to end: the worker's process on a real Kafka and a real Redis, beside VW's bare loop and a bare `getmany`, in turns."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from alice_rl.events import decode
from tests.benchmarks import backlog, vw, workload
from tests.benchmarks.learning import vw_loop
from tests.benchmarks.timing import Finding, Rates, Ratio, rate_of
from tests.benchmarks.worker_run import WorkerRun, run_worker
from tests.services import KafkaBroker, RedisServer

__all__ = ["measure_streaming"]

_ROOT = Path(__file__).parents[2]
_SECTION = "End to end, the worker's process from Kafka through checkpoint and publish"
_MEMORY_SECTION = "Memory of the worker at that load, MB"
_PARSED_TURNS = 3000
_VW_ROUNDS = 20


class _Topic(NamedTuple):
    name: str
    records: int


class _Bench:
    """The services, and the contestants on them."""

    def __init__(self, kafka: KafkaBroker, server: RedisServer, folder: Path) -> None:
        self.kafka, self.server, self.folder = kafka, server, folder
        self.runs: list[WorkerRun] = []

    def prepare(self, name: str, turns: int, *, split: bool) -> _Topic:
        """A topic full of turns, as whole records or as decisions and outcomes."""
        # The records' times are event times, which a broker with a retention would take for old age.
        self.kafka.create_topic(name, workload.PARTITIONS, {"retention.ms": "-1"})
        events = islice(workload.turns(), turns)
        asyncio.run(backlog.fill(self.kafka.bootstrap, name, workload.split(events) if split else events))
        return _Topic(name, turns * (2 if split else 1))

    def worker(self, topic: _Topic) -> float:
        run = run_worker(self.kafka.bootstrap, topic.name, self.server.url, topic.records, self.folder)
        self.runs.append(run)
        return run.rate

    def getmany(self, topic: _Topic) -> float:
        command = [sys.executable, "-m", "tests.benchmarks.drain", self.kafka.bootstrap, topic.name, str(topic.records)]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=120, check=True)
        return float(done.stdout)


def measure_streaming(*, quick: bool) -> tuple[list[Finding], Rates]:
    """The worker beside its peers, round by round: VW, getmany, worker, VW."""
    parsed = list(islice(workload.turns(), _PARSED_TURNS))
    loops = {binding.name: vw_loop(binding, parsed, rounds=_VW_ROUNDS) for binding in vw.BINDINGS}
    best = max(loops, key=lambda name: loops[name]())
    vw_learn, vw_route = loops[best], vw_loop(_binding(best), parsed, ("route",), rounds=_VW_ROUNDS)
    vw_text = rate_of(lambda: [decode(value) for value in values], len(values)) if (values := _values()) else vw_learn
    gc.collect()
    gc.freeze()
    names = ["worker", "getmany", best, f"{best}, route", "decode", "worker, split", "getmany, split"]
    rates = Rates(names)
    with KafkaBroker() as kafka, RedisServer() as server, tempfile.TemporaryDirectory(prefix="alice-rl-bench-") as folder:
        bench = _Bench(kafka, server, Path(folder))
        whole = bench.prepare("turns", 150_000 if quick else 300_000, split=False)
        halves = None if quick else bench.prepare("halves", 150_000, split=True)
        del vw_text
        for _ in range(2 if quick else 5):
            before = vw_learn(), vw_route()
            rates.by_name["getmany"].append(bench.getmany(whole))
            rates.by_name["worker"].append(bench.worker(whole))
            after = vw_learn(), vw_route()
            rates.by_name[best].append(fmean((before[0], after[0])))
            rates.by_name[f"{best}, route"].append(fmean((before[1], after[1])))
    return [], rates


def _values() -> list[bytes]:
    return []


def _binding(name: str) -> type:
    return next(binding for binding in vw.BINDINGS if binding.name == name)
