"""`alice-rl replay` as a process of its own, over a prepared topic or the same turns as files."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from aiokafka.partitioner import murmur2

from alice_rl.events import Turn, encode
from tests.benchmarks.worker_run import config_text
from tests.benchmarks.workload import PARTITIONS
from tests.services import unique_name

__all__ = ["replay_rate", "write_archives"]

_ROOT = Path(__file__).parents[2]
_TIMEOUT_SECONDS = 300.0


def write_archives(folder: Path, turns: Iterable[Turn]) -> list[Path]:
    """The turns as JSON lines, packed by gzip: a file for each partition that they would go to."""
    paths = [folder / f"turns-{partition}.jsonl.gz" for partition in range(PARTITIONS)]
    with ExitStack() as open_files:
        files = [open_files.enter_context(gzip.open(path, "wb", compresslevel=1)) for path in paths]
        for turn in turns:
            files[(murmur2(turn.decision_id.encode()) & 0x7FFFFFFF) % PARTITIONS].write(encode(turn) + b"\n")
    return paths


def replay_rate(
    bootstrap: str, topic: str, redis_url: str, folder: Path, sources: Iterable[Path] = (), jobs: int | None = None
) -> float:
    """Records per second of a replay into a new lineage, from the start of its processes to their end."""
    config = folder / "replay.toml"
    config.write_text(config_text(bootstrap, topic, redis_url))
    command = [sys.executable, "-m", "worker.cli", "replay", "--config", str(config), "--json"]
    command += ["--lineage", unique_name("replay"), *[word for path in sources for word in ("--source", str(path))]]
    command += [] if jobs is None else ["--jobs", str(jobs)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True)
    return float(json.loads(done.stdout)["records_per_second"])
