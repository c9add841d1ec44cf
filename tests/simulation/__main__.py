"""Runs worlds: `python -m tests.simulation --seeds 1..500`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.plan import FAULTS
from tests.simulation.world import run_world

__all__ = ["main"]


def main() -> int:
    """Run the worlds that the command line asks for; 1 when one of them ended badly."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one world")
    parser.add_argument("--seeds", default="1..100", metavar="FIRST..LAST", help="run all these (default: %(default)s)")
    parser.add_argument("--faults", metavar="NAME,NAME", help=f"only these, out of {', '.join(FAULTS)}")
    parser.add_argument("--trace", action="store_true", help="print all that happens")
    options = parser.parse_args()
    faults = None if options.faults is None else frozenset(options.faults.split(","))
    first, _, last = options.seeds.partition("..")
    seeds = [options.seed] if options.seed is not None else range(int(first), int(last or first) + 1)
    started, failed, seconds, events = time.perf_counter(), [], 0.0, Counter[str]()
    for seed in seeds:
        outcome = run_world(seed, faults=faults, printed=options.trace)
        seconds += outcome.seconds
        events += outcome.events
        if outcome.violations:
            failed.append(seed)
            print(outcome, end="\n\n", flush=True)
        if options.seed is not None:
            print(f"trace: {outcome.trace_digest}", file=sys.stderr)
    _summarise(len(seeds), failed, seconds, time.perf_counter() - started, events)
    return bool(failed)


def _summarise(worlds: int, failed: list[int], virtual: float, real: float, events: Counter[str]) -> None:
    told = ("sim.died", "sim.ended", "sim.failed_over", "sim.checkpoint", "snapshot.published", "partition.fenced")
    counts = ", ".join(f"{name.removeprefix('sim.')} {events[name]}" for name in told)
    print(f"{worlds} worlds, {virtual:.0f} s of their time in {real:.0f} s: {counts}", file=sys.stderr)
    print(f"failed: {' '.join(map(str, failed)) or 'none'}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
