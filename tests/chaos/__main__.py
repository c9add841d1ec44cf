"""The command: `python -m tests.chaos [--seed N] [--minutes M] [--rolling]`.

Progress goes to stderr; the last line of stdout is one JSON object. Exit code 1 when what was learned is not what an
undisturbed fold learns; the workers' logs are kept then, and their folder is named.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.chaos.deployment import deploy
from tests.chaos.report import ChaosReport, RollingReport
from tests.chaos.run import run_chaos, run_rolling
from tests.services import KafkaBroker, RedisServer


def main() -> None:
    """Run, print the report, and say how to run it again when it failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Workers under faults.")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="fixes plan and events")
    parser.add_argument("--minutes", type=float, default=2.0, help="length of the traffic")
    parser.add_argument("--rate", type=float, default=2000.0, help="events per second")
    parser.add_argument("--pause", type=float, default=2.5, help="mean seconds between the beginnings of two faults")
    parser.add_argument("--rolling", action="store_true", help="a rolling restart in place of the plan's faults")
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it complains about each attempt while the broker is away
    folder = Path(tempfile.mkdtemp(prefix="alice-rl-chaos-"))
    report = _run(options, folder)
    if report.passed:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        again = f"--rolling --seed {options.seed}" if options.rolling else f"--seed {options.seed}"
        again += f" --minutes {options.minutes:g} --rate {options.rate:g} --pause {options.pause:g}"
        print(f"failed; the logs are in {folder}; again: python -m tests.chaos {again}", file=sys.stderr)
    print(msgspec.json.encode(report).decode())
    sys.exit(0 if report.passed else 1)


def _run(options: argparse.Namespace, folder: Path) -> ChaosReport | RollingReport:
    print(f"seed {options.seed}, logs in {folder}", file=sys.stderr)
    with KafkaBroker() as kafka, RedisServer(appendonly=True, appendfsync="everysec") as server:
        deployment = deploy(kafka, server, folder)
        if options.rolling:
            return asyncio.run(run_rolling(deployment, options.seed, options.rate))
        return asyncio.run(run_chaos(deployment, options.seed, options.minutes, options.rate, options.pause))


if __name__ == "__main__":
    main()
