"""Panes are sums: parts in any order are the whole, to the bit."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from alice_rl.online.ope import Pane
from alice_rl.online.windows import merged, windows

weights = st.floats(0.0, 1e6, allow_nan=False)
rewards = st.floats(-50.0, 5.0, allow_nan=False)
turns = st.lists(st.tuples(st.integers(0, 20), weights, rewards, rewards), max_size=60)


def pane_of(rows: list[tuple[int, float, float, float]]) -> Pane:
    """The pane of some turns."""
    return Pane.of([row[1] for row in rows], [row[2] for row in rows], [row[3] for row in rows])


@given(turns, st.randoms())
def test_shuffled_parts_are_the_whole(rows: list[tuple[int, float, float, float]], rng: Any) -> None:
    """However turns are dealt to panes, and in whatever order these are merged, the sums are the same."""
    shuffled = rng.sample(rows, len(rows))
    dealt = [shuffled[i::3] for i in range(3)]
    total = sum((pane_of(part) for part in dealt), start=Pane())
    assert total == pane_of(rows)
    assert total.estimates(least=-50.0, most=5.0) == pane_of(rows).estimates(least=-50.0, most=5.0)


@given(turns, st.integers(1, 5))
def test_a_sliding_window_is_the_sum_of_its_turns(rows: list[tuple[int, float, float, float]], count: int) -> None:
    """Each window has the turns of its time and no others; tumbling ones have each turn once."""
    panes: dict[int, Pane] = {}
    for row in rows:
        panes[row[0]] = panes.get(row[0], Pane()) + pane_of([row])
    for window in windows(panes, 1000, count):
        inside = [row for row in rows if window.start_ms <= row[0] * 1000 < window.end_ms]
        assert window.pane == pane_of(inside)
    assert sum((window.pane for window in windows(panes, 1000)), start=Pane()) == merged(panes)
