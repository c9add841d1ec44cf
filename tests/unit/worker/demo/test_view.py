from __future__ import annotations

import io

import pytest
from rich.console import Console

from alice_rl.simulation.assistant import Assistant, decide_uniformly, seeded_ids
from alice_rl.simulation.score import Ledger
from alice_rl.simulation.world import World
from worker.demo.plan import Plan
from worker.demo.session import Facts
from worker.demo.view import frame, progress_line, showing

KINDS = {"kafka": "embedded Kafka", "redis": "embedded Redis"}
PLAN = Plan(turns=3000, seed=7)


def facts(turns: int) -> Facts:
    """How a run stands after so many turns."""
    assistant = Assistant(World(7), decide_uniformly, lambda event: None, new_id=seeded_ids(7))
    for _ in range(turns):
        assistant.play()
    return Facts(assistant.ledger, 3.4, 12, 14, 0.4, assistant.sent, assistant.sent - 300, 4321.0)


def drawn(run: Facts, width: int, height: int, plan: Plan = PLAN) -> list[str]:
    """The rows of a frame, as a terminal of that size would show them."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(frame(run, plan, KINDS, width, height))
    return capture.get().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (120, 40), (200, 60)])
@pytest.mark.parametrize("plan", [PLAN, Plan(3000, 7, drift_at=1500)])
def test_a_frame_fits_the_terminal(width: int, height: int, plan: Plan) -> None:
    """No row is wider than the terminal, and the last row stays free for the cursor."""
    rows = drawn(facts(1234), width, height, plan)
    assert len(rows) < height
    assert max(map(len, rows)) <= width


def test_a_frame_says_how_the_run_stands() -> None:
    """Rewards, picks, version and lag are there, and nothing is cut short."""
    text = "\n".join(drawn(facts(1234), 80, 24))
    for said in ("learned", "oracle", "rules", "micro", "L2", "version 12", "0.4 s old", "4,321 events/s", "lag 300"):
        assert said in text
    assert "1,234 of 3,000 turns" in text
    assert "…" not in text


def test_a_frame_before_the_first_turn_says_so() -> None:
    """There is nothing to score yet."""
    assert drawn(facts(0), 80, 24) == ["The assistant is about to begin."]
    assert "0 of 3,000 turns" in progress_line(facts(0), PLAN)


def test_off_a_terminal_lines_are_printed() -> None:
    """A pipe gets a line now and then, and one for the end."""
    out = io.StringIO()
    with showing(Console(file=out, width=160), PLAN, KINDS) as show:
        run = facts(500)
        for seconds in (0.1, 0.3, 1.9, 2.5):
            show(run._replace(seconds=seconds))
    assert [line.split()[0] for line in out.getvalue().splitlines()] == ["0.1", "2.5"]
    assert isinstance(run.ledger, Ledger)
