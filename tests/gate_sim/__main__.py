"""`python -m tests.gate_sim`: the table of errors and delays, and whether the goals are met."""

from __future__ import annotations

import sys
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from tests.gate_sim.gates import GATES
from tests.gate_sim.report import EFFECTS, OTHERS, Cell, goals_of, results, told
from tests.gate_sim.worlds import World


def main(
    runs: Annotated[int, typer.Option(min=10, help="Canaries of each kind.")] = 500,
    requests: Annotated[int, typer.Option(min=1000, help="Requests of each canary.")] = 100_000,
    only: Annotated[str, typer.Option(metavar="NAME", help="Only the worlds whose name has this.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """Simulate canaries whose truth is known, watched after every 100 requests by this gate and by others.

    Each cell: percent promoted / percent rolled back, and the median of requests that the more frequent of the two
    took. Rewards are 0 or 1 with a rate of .30; the canary serves 5 %; alpha is .05 a side. Exit code 1 when a goal is
    missed.
    """
    effects, others = ([world for world in worlds if only in world.name] for worlds in (EFFECTS, OTHERS))
    if not effects and not others:
        names = "; ".join(world.name for world in (*EFFECTS, *OTHERS))
        raise typer.BadParameter(f"no world's name has {only!r}. There are: {names}", param_hint="--only")
    errors = Console(stderr=True)
    show = None if as_json else lambda name: errors.print(f"[dim]played {name}")
    found = results((*effects, *others), runs, requests, show)
    goals = goals_of(found, runs)
    if as_json:
        cells = {world: {gate: cell._asdict() for gate, cell in row.items()} for world, row in found.items()}
        reached = [{"goal": goal.words, "reached": value, "met": met} for goal, value, met in goals]
        sys.stdout.buffer.write(orjson.dumps({"runs": runs, "cells": cells, "goals": reached}) + b"\n")
    else:
        _print(Console(width=None if sys.stdout.isatty() else 160), effects, others, found)
        for goal, value, met in goals:
            shown = "never" if value is None else f"{value:,.0f}" if value > 1 else f"{value:.1%}"
            print(f"{'met   ' if met else 'MISSED'}  {goal.words}: {shown}")
    raise typer.Exit(0 if all(met for *_, met in goals) else 1)


def _print(console: Console, effects: list[World], others: list[World], found: dict[str, dict[str, Cell]]) -> None:
    if effects:
        title = "percent promoted / percent rolled back (median requests)"
        table = Table("gate", *(world.name for world in effects), title=title)
        for gate in GATES:
            table.add_row(gate, *(told(found[world.name][gate]) for world in effects))
        console.print(table)
    if others:
        table = Table("world", *GATES)
        for world in others:
            table.add_row(world.name, *(told(found[world.name][gate]) for gate in GATES))
        console.print(table)


if __name__ == "__main__":
    typer.run(main)
