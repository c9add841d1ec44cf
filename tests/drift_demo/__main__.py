"""`python -m tests.drift_demo`: how drift is told, and how policies that forget recover from it."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from tests.drift_demo.alarms import CALM, SHIFTS, alarms, found
from tests.drift_demo.loop import Plan, play
from tests.drift_demo.recovery import recovery_of
from worker.settings import Settings

_HALF_LIVES: tuple[float | None, ...] = (None, 168.0, 48.0, 12.0)
_SHIFT_RUNS, _CALM_ROWS, _SHIFT_ROWS = 100, 5000, 5000


def main(
    turns: Annotated[int, typer.Option(min=2000, help="Turns of each run; the world changes halfway.")] = 40_000,
    rows: Annotated[int, typer.Option(min=1000, help="Rows of each stream that does not drift.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="Of worlds and streams.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """Show what the detectors make of streams whose truth is known, and what a half-life is worth when the world
    changes.

    The second part plays the simulated assistant through the fold, 10,000 turns in a week of event time, with a new
    policy after every 200. Rewards are exact expectations; "best" is the oracle's.
    """
    errors = Console(stderr=True)
    delta = Settings().drift.delta
    calm = {stream.name: alarms(stream, rows, delta, seed) for stream in CALM}
    shifts = {s.name: found(s, _SHIFT_RUNS, _CALM_ROWS, _SHIFT_ROWS, delta, seed)._asdict() for s in SHIFTS}
    plan, runs = Plan(turns=turns, drift_at=turns // 2, seed=seed), list[dict[str, Any]]()
    for half_life in _HALF_LIVES:
        run = play(plan, half_life)
        told = [drift for drift in run.drifts if run.turn_of(drift.at_ms) >= plan.drift_at]
        runs.append(
            {
                "half_life_hours": half_life,
                **recovery_of(run.ledger, plan)._asdict(),
                "first_told": {**told[0]._asdict(), "turn": run.turn_of(told[0].at_ms)} if told else None,
            }
        )
        if not as_json:
            errors.print(f"[dim]played a half-life of {_hours(half_life)}")
    if as_json:
        report = {"delta": delta, "rows": rows, "alarms": calm, "shifts": shifts, "plan": plan._asdict(), "runs": runs}
        sys.stdout.buffer.write(orjson.dumps(report) + b"\n")
    else:
        _print(Console(width=None if sys.stdout.isatty() else 140), rows, delta, calm, shifts, plan, runs)


def _print(
    console: Console,
    rows: int,
    delta: float,
    calm: dict[str, int],
    shifts: dict[str, dict[str, float]],
    plan: Plan,
    runs: list[dict[str, Any]],
) -> None:
    table = Table("stream", "alarms", title=f"{rows:,} rows without drift, delta {delta}")
    for name, count in calm.items():
        table.add_row(name, str(count))
    console.print(table)
    title = f"shifts after {_CALM_ROWS:,} rows, {_SHIFT_RUNS} streams each"
    table = Table("shift", f"told within {_SHIFT_ROWS:,} rows", "median rows", "95th percentile", title=title)
    for name, row in shifts.items():
        table.add_row(name, f"{row['share']:.0%}", f"{row['rows_median']:,.0f}", f"{row['rows_p95']:,.0f}")
    console.print(table)
    title = f"reward per turn (best); the world changes at turn {plan.drift_at:,} of {plan.turns:,}"
    table = Table("half-life", "before", "right after", "at the end", "turns to recover", "told at turn", title=title)
    for run in runs:
        stretches = (f"{run[name]:.2f} ({run[f'best_{name}']:.2f})" for name in ("before", "after", "end"))
        recovered = "not by the end" if run["turns"] is None else f"{run['turns']:,}"
        first = run["first_told"]
        told = "never" if first is None else f"{first['turn']:,} ({first['signal']}, {first['arm'] or 'all turns'})"
        table.add_row(_hours(run["half_life_hours"]), *stretches, recovered, told)
    console.print(table)


def _hours(half_life: float | None) -> str:
    return "none" if half_life is None else f"{half_life:g} h"


if __name__ == "__main__":
    typer.run(main)
