"""End to end: the worker on a real Kafka and a real Redis, in turns with VW's bare loop and a bare `getmany`."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from tests.benchmarks import backlog, vw, workload
from tests.benchmarks.learning import restore_loop, vw_loop, vw_text_loop
from tests.benchmarks.replaying import replay_rate, write_archives
from tests.benchmarks.timing import Contestant, Finding, Rates, Ratio, rate_of
from tests.benchmarks.worker_run import WorkerRun, run_worker
from tests.services import KafkaBroker, RedisServer, unique_name

__all__ = ["VARIANTS", "measure_streaming"]

_ROOT = Path(__file__).parents[2]
_PARSED_TURNS = 3000
_RESTORED_TURNS = 40_000  # of one partition: two join windows, which a restart re-reads, are half of it
_VW_ROUNDS = 20  # over the parsed turns: a slice of about a second


class Variant(NamedTuple):
    """One way in which the log may lie on the broker, and how much of it is measured how often."""

    section: str
    compression: str
    split: bool
    turns: int
    rounds: int

    @property
    def records(self) -> int:
        return self.turns * (2 if self.split else 1)


VARIANTS = (
    Variant("End to end, whole turns, gzip", "gzip", False, 600_000, 5),
    Variant("End to end, whole turns, lz4", "lz4", False, 600_000, 3),
    Variant("End to end, decisions and outcomes apart, gzip", "gzip", True, 200_000, 3),
)
"""The first is the headline: it is what this project's emitter writes under load."""


class _Services:
    """The broker and the Redis, and what runs on them."""

    def __init__(self, kafka: KafkaBroker, server: RedisServer, folder: Path) -> None:
        self._kafka, self._server, self._folder = kafka, server, folder

    def prepare(self, variant: Variant) -> str:
        """A topic with the variant's turns."""
        topic = unique_name("turns")
        # The records' times are event times, which a broker with a retention would take for old age.
        self._kafka.create_topic(topic, workload.PARTITIONS, {"retention.ms": "-1"})
        turns = islice(workload.turns(), variant.turns)
        events = workload.split(turns) if variant.split else turns
        asyncio.run(backlog.fill(self._kafka.bootstrap, topic, events, variant.compression))
        return topic

    def worker(self, topic: str, records: int) -> WorkerRun:
        return run_worker(self._kafka.bootstrap, topic, self._server.url, records, self._folder)

    def getmany(self, topic: str, records: int) -> float:
        """Records per second of reading alone."""
        return self._apart("drain", topic, str(records))

    def reread(self, topic: str) -> float:
        """Records per second of restoring what the last worker has left."""
        return self._apart("reread", topic, self._server.url)

    def archives(self, variant: Variant) -> list[Path]:
        """The variant's turns as files."""
        return write_archives(self._folder, islice(workload.turns(), variant.turns))

    def replay(self, topic: str, sources: Sequence[Path] = (), jobs: int | None = None) -> float:
        """Records per second of learning all of it again under another lineage."""
        return replay_rate(self._kafka.bootstrap, topic, self._server.url, self._folder, sources, jobs)

    def _apart(self, module: str, topic: str, argument: str) -> float:
        """The number that a process of its own prints."""
        command = [sys.executable, "-m", f"tests.benchmarks.{module}", self._kafka.bootstrap, topic, argument]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=120, check=True)
        return float(done.stdout)


def measure_streaming(*, quick: bool) -> tuple[list[Finding], Rates]:
    """The worker beside its peers, round by round; loops run before and after it, and the mean of the two counts."""
    loops = _vw_loops(list(islice(workload.turns(), _PARSED_TURNS)))
    variants = [VARIANTS[0]._replace(turns=350_000, rounds=2)] if quick else VARIANTS
    findings: list[Finding] = []
    runs: list[WorkerRun] = []
    gc.collect()
    gc.freeze()
    prefix = "alice-rl-bench-"
    with KafkaBroker() as kafka, RedisServer() as redis, tempfile.TemporaryDirectory(prefix=prefix) as folder:
        for variant in variants:
            services = _Services(kafka, redis, Path(folder))
            rates, seen = _rounds(services, variant, loops | {"restore": _restore(variant)})
            findings += _findings(variant, rates, headline=variant is variants[0])
            runs += seen
            if variant is variants[0]:
                headline = rates
                replays = _replays(services, variant)
    gc.unfreeze()
    return [*findings, *replays, *_process(runs), *_checkpoints(runs)], headline


def _vw_loops(turns: list[workload.Turn]) -> dict[str, Contestant]:
    """VW's loops, each by the faster of the two packages."""

    def faster(make: Callable[[Any], Contestant]) -> Contestant:
        return max((make(binding) for binding in vw.BINDINGS), key=lambda loop: loop())

    return {
        "VW": faster(lambda binding: vw_loop(binding, turns, rounds=_VW_ROUNDS)),
        "VW, route": faster(lambda binding: vw_loop(binding, turns, ("route",), rounds=_VW_ROUNDS)),
        "VW, text": faster(lambda binding: vw_text_loop(binding, turns)),
    }


def _restore(variant: Variant) -> Contestant:
    """A restart of one partition in this process, whose log lies as the variant's does."""
    turns, log = workload.partition_log(_RESTORED_TURNS)
    return restore_loop(workload.records(workload.split(turns)) if variant.split else log, workload.lineage())


def _rounds(services: _Services, variant: Variant, loops: dict[str, Contestant]) -> tuple[Rates, list[WorkerRun]]:
    rates, runs = Rates(["worker", "getmany", "reread", *loops]), []
    topic = services.prepare(variant)
    services.getmany(topic, variant.records)  # warms the broker up
    for _ in range(variant.rounds):
        before = [loop() for loop in loops.values()]
        rates.by_name["getmany"].append(services.getmany(topic, variant.records))
        runs.append(services.worker(topic, variant.records))
        rates.by_name["worker"].append(runs[-1].rate)
        rates.by_name["reread"].append(services.reread(topic))
        after = [loop() for loop in loops.values()]
        for name, *pair in zip(loops, before, after, strict=True):
            rates.by_name[name].append(fmean(pair))
    return rates, runs


def _replays(services: _Services, variant: Variant) -> list[Finding]:
    """A replay beside the live worker, in turns; and the fold alone, which no replay can outdo per core."""
    topic, archives = services.prepare(variant), services.archives(variant)
    _, log = workload.partition_log(_RESTORED_TURNS)
    fold = rate_of(lambda: workload.fold(log, workload.lineage()), len(log))
    rates = Rates(["worker", "kafka", "kafka, one process", "files", "fold"])
    for _ in range(variant.rounds):
        rates.by_name["worker"].append(services.worker(topic, variant.records).rate)
        rates.by_name["kafka"].append(services.replay(topic))
        rates.by_name["kafka, one process"].append(services.replay(topic, jobs=1))
        rates.by_name["files"].append(services.replay(topic, archives))
        rates.by_name["fold"].append(fold())
    section = "Replay of the same turns, beside the live worker"
    return [
        Finding(section, "replay out of Kafka / live", rates.ratio("kafka", "worker"), ">= 5", "replay_vs_live"),
        Finding(section, "replay out of Kafka, in one process / live", rates.ratio("kafka, one process", "worker")),
        Finding(section, "replay out of files, gzip / live", rates.ratio("files", "worker")),
        Finding(section, "the fold alone, from bytes in memory, on one core / live", rates.ratio("fold", "worker")),
    ]


def _findings(variant: Variant, rates: Rates, *, headline: bool) -> list[Finding]:
    def turns_beside(name: str) -> Ratio:
        return rates.ratio("worker", name).times(variant.turns / variant.records)

    rows = [
        ("turns / VW learn, the same decisions, parsed before", turns_beside("VW")),
        ("turns / VW learn, the route alone, parsed before", turns_beside("VW, route")),
        ("turns / VW parse + learn from text, the same decisions", turns_beside("VW, text")),
        ("records / getmany of the same topic", rates.ratio("worker", "getmany")),
        ("records re-read by a restore, from bytes / records", rates.ratio("restore", "worker")),
        ("records re-read by a restore, out of Kafka and Redis / records", rates.ratio("reread", "worker")),
    ]
    findings = [Finding(variant.section, name, ratio) for name, ratio in rows]
    if headline:
        findings[0] = findings[0]._replace(target=">= 1.0", key="end_to_end_vs_vw_learn")
        findings[3] = findings[3]._replace(target=">= 0.3", key="end_to_end_vs_getmany")
        findings[4] = findings[4]._replace(target=">= 5", key="restore_vs_live")
    return findings


def _process(runs: list[WorkerRun]) -> list[Finding]:
    section, rss = "The worker's process at that load", max(run.rss_mb for run in runs)
    return [
        Finding(section, "resident memory, the most that was seen, MB", rss, "< 250", "worker_rss_mb"),
        Finding(section, "resident memory, the system's high-water mark, MB", max(run.hwm_mb for run in runs)),
        Finding(section, "cores kept busy", Ratio.of([run.cores for run in runs])),
    ]


def _checkpoints(runs: list[WorkerRun]) -> list[Finding]:
    section = f"Checkpoints of {workload.PARTITIONS} partitions, each second, at that load"
    share = Ratio.of([run.checkpoint_share for run in runs])
    took = Ratio.of([1000 * run.checkpoint_seconds for run in runs])
    return [
        Finding(section, "share of the loop's time", share, "<= 2 %", key="checkpoint_share_of_loop", percent=True),
        Finding(section, "one checkpoint of all of them, milliseconds", took),
    ]
