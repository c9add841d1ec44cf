"""The simulation of the gate, small: what must never be, and what must not take long."""

from __future__ import annotations

import numpy as np
import typer
from typer.testing import CliRunner

from tests.gate_sim.__main__ import main
from tests.gate_sim.gates import fixed_threshold, this_gate
from tests.gate_sim.report import EFFECTS, OTHERS, Cell, Goal, goals_of, results, told
from tests.gate_sim.worlds import World, play

WORLDS = {world.name: world for world in (*EFFECTS, *OTHERS)}


def of(name: str, runs: int = 100, requests: int = 20_000) -> Cell:
    """What this gate does in a world."""
    return Cell.of(this_gate(play(WORLDS[name], runs, requests, seed=1)))


def test_equal_canaries_are_left_alone() -> None:
    """Watched all the time, hardly any equal canary meets a verdict; with a fixed threshold, each does."""
    for name in ("equal", "ramp, falling baseline, equal", "80 % overlap, equal"):
        cell = of(name)
        assert cell.promoted <= 0.12 and cell.rolled_back <= 0.12  # 5 %, and three standard errors of 100 runs
    ended = fixed_threshold(play(WORLDS["equal"], 100, 20_000, seed=1))
    assert (ended.promoted | ended.rolled_back).all()


def test_harm_is_found_soon_and_by_the_arms_where_the_policies_hide_it() -> None:
    """Half the successes gone is found within some thousand requests, also where only serving is broken."""
    bad, broken = of("-50%"), of("broken serving, policies equal")
    assert bad.rolled_back == broken.rolled_back == 1.0
    assert bad.rolled_back_requests is not None and bad.rolled_back_requests <= 2_500


def test_lost_failures_are_invalid_not_a_promotion() -> None:
    """A worse canary whose failures get lost looks better; it is hardly ever promoted."""
    cell = of("-20%, half of its failures lost")
    assert cell.invalid >= 0.9 and cell.promoted <= 0.1


def test_overlap_helps() -> None:
    """Where the policies agree on most requests, the others tell sooner."""
    assert of("80 % overlap, -10%").rolled_back > of("-10%").rolled_back


def test_the_report_tells_goals_that_are_missed() -> None:
    """A goal has three standard errors where it bounds an error, and none where it bounds a delay."""
    cell = Cell(0.06, 0.5, 0.0, None, 2100.0, None)
    assert Goal("w", "promoted", 0.05, True).met(cell, 500)
    assert not Goal("w", "promoted", 0.05, True).met(cell, 100_000)
    assert not Goal("w", "rolled_back_requests", 2000, True).met(cell, 500)
    assert not Goal("w", "invalid_requests", 2000, True).met(cell, 500)
    assert told(cell) == "6/50 (2.1k)"
    found = results((WORLDS["-50%"],), 20, 5_000)
    assert {goal.world for goal, *_ in goals_of(found, 20)} == {"-50%"}


def test_counts_are_those_of_the_world() -> None:
    """Every request is told on one side, but for lost ones; the canary has its share."""
    seen = play(World("w"), 50, 10_000, seed=3)
    assert ((seen.canary + seen.live) == 100).all()
    assert abs(float(np.mean(seen.canary)) - 5.0) < 0.2
    lossy = play(World("w", lossy=1.0), 50, 10_000, seed=3)
    assert (lossy.canary == lossy.canary_good).all()


def test_a_world_is_the_same_whichever_others_are_played() -> None:
    """A figure can be had alone: the seed is the world's."""
    alone = results((WORLDS["-20%"],), 20, 3_000)
    assert results((WORLDS["-50%"], WORLDS["-20%"]), 20, 3_000)["-20%"] == alone["-20%"]


def test_a_name_that_no_world_has_is_told() -> None:
    """A misspelt world is a usage error that lists the names, not an empty success."""
    app = typer.Typer()
    app.command()(main)
    run = CliRunner().invoke(app, ["--only", "nonsense"])
    assert run.exit_code == 2 and "ramp" in run.output
