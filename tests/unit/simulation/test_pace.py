from __future__ import annotations

from alice_rl.simulation.pace import Pace


def test_an_assistant_begins_with_a_few_turns() -> None:
    """Before anything is learned there is room for the first turns and no more."""
    pace = Pace(first=100, most=1000, share=0.5)
    assert pace.room(0, 0) == 100
    assert pace.room(60, 0) == 40
    assert pace.room(100, 0) == pace.room(500, 0) == 0


def test_room_grows_with_what_is_learned_up_to_a_bound() -> None:
    """The lead is a share of what was learned, and never more than the bound."""
    pace = Pace(first=100, most=1000, share=0.5)
    assert pace.room(600, 600) == 300
    assert pace.room(50_000, 50_000) == 1000
    assert pace.room(51_000, 50_000) == 0


def test_no_play_deadlocks() -> None:
    """When everything played is learned there is room, wherever the run stands."""
    assert all(Pace().room(played, played) > 0 for played in range(0, 40_000, 37))
