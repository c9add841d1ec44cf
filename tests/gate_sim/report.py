"""What came of the canaries, as tables and goals."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from tests.gate_sim.gates import GATES, Ended
from tests.gate_sim.worlds import World, play

__all__ = ["EFFECTS", "GOALS", "OTHERS", "Cell", "Goal", "goals_of", "results", "told"]

EFFECTS = tuple(
    World(f"{effect:+.0%}" if effect else "equal", effect) for effect in (-0.5, -0.2, -0.1, -0.05, 0, 0.02, 0.05, 0.1)
)
"""One canary at 5 % that is better or worse."""

OTHERS = (
    World("80 % overlap, -10%", -0.1, overlap=0.8),
    World("80 % overlap, equal", overlap=0.8),
    World("80 % overlap, +5%", 0.05, overlap=0.8),
    World("falling baseline, equal", falling=0.5),
    World("ramp, equal", ramp=True),
    World("ramp, +5%", 0.05, ramp=True),
    World("ramp, falling baseline, equal", falling=0.5, ramp=True),
    World("broken serving, policies equal", overlap=1.0, broken=0.3),
    World("-20%, half of its failures lost", -0.2, lossy=0.5),
    World("equal, assigned by user", sticky=True),
)
"""What a gate meets besides."""


class Cell(NamedTuple):
    """What a gate did with the canaries of one world: shares of the runs, and medians of the requests that it took."""

    promoted: float
    rolled_back: float
    invalid: float
    promoted_requests: float | None
    rolled_back_requests: float | None
    invalid_requests: float | None

    @classmethod
    def of(cls, ended: Ended) -> Cell:
        """The shares and medians of an end."""
        ends = (ended.promoted, ended.rolled_back, ended.invalid)
        medians = [float(np.median(ended.requests[end])) if end.any() else None for end in ends]
        return cls(*(float(end.mean()) for end in ends), *medians)


class Goal(NamedTuple):
    """What this gate has to reach: a world, which field of its cell, and its bound, from above or below.

    A share has the benefit of three standard errors where it is an error rate, which has `alpha` for its bound.
    """

    world: str
    field: str
    bound: float
    at_most: bool

    def met(self, cell: Cell, runs: int) -> bool:
        """Whether the cell reaches it."""
        value = getattr(cell, self.field)
        if value is None:
            return False
        if not self.at_most:
            return bool(value >= self.bound)
        slack = 0.0 if self.field.endswith("requests") else 3 * sqrt(self.bound * (1 - self.bound) / runs)
        return bool(value <= self.bound + slack)

    @property
    def words(self) -> str:
        """The goal in words."""
        sign, name = ("at most" if self.at_most else "at least"), self.field.replace("_", " ")
        if self.field.endswith("requests"):
            return f"{self.world}: median requests until {name.removesuffix(' requests')} {sign} {self.bound:,.0f}"
        return f"{self.world}: {name} in {sign} {self.bound:.0%}"


_PLAIN = [world for world in (*EFFECTS, *OTHERS) if not world.sticky]  # what a verdict presumes holds
_NOT_BETTER = [world.name for world in _PLAIN if world.effect <= 0]
_NOT_WORSE = [world.name for world in _PLAIN if world.effect >= 0 and not world.broken]

GOALS = (
    *(Goal(name, "promoted", 0.05, True) for name in _NOT_BETTER),
    *(Goal(name, "rolled_back", 0.05, True) for name in _NOT_WORSE),
    Goal("-50%", "rolled_back_requests", 2_000, True),
    Goal("-20%", "rolled_back_requests", 12_000, True),
    Goal("+10%", "promoted", 0.95, False),
    Goal("80 % overlap, +5%", "promoted", 0.90, False),
    Goal("broken serving, policies equal", "rolled_back", 0.95, False),
    Goal("-20%, half of its failures lost", "invalid", 0.95, False),
)


def results(worlds: tuple[World, ...], runs: int, requests: int, show: Any = None) -> dict[str, dict[str, Cell]]:
    """What every gate did in every world: by world, by gate. A world's seed is its own, whichever others are played."""
    found: dict[str, dict[str, Cell]] = {}
    for world in worlds:
        seen = play(world, runs, requests, seed=(*EFFECTS, *OTHERS).index(world))
        found[world.name] = {name: Cell.of(gate(seen)) for name, gate in GATES.items()}
        if show is not None:
            show(world.name)
    return found


def told(cell: Cell) -> str:
    """A cell as a person reads it: promoted / rolled back, and after how many requests."""
    text = f"{cell.promoted * 100:.0f}/{cell.rolled_back * 100:.0f}"
    times = [(cell.promoted, cell.promoted_requests), (cell.rolled_back, cell.rolled_back_requests)]
    if cell.invalid > max(cell.promoted, cell.rolled_back):
        text, times = f"{text}, {cell.invalid * 100:.0f} invalid", [(cell.invalid, cell.invalid_requests)]
    share, requests = max(times, key=lambda pair: pair[0])
    return text if requests is None or share < 0.5 else f"{text} ({requests / 1000:.1f}k)"


def goals_of(found: Mapping[str, Mapping[str, Cell]], runs: int) -> list[tuple[Goal, float | None, bool]]:
    """The goals of the worlds that were played: what was reached, and whether it is enough."""
    played = [goal for goal in GOALS if goal.world in found]
    cells = [found[goal.world]["this gate"] for goal in played]
    return [(g, getattr(c, g.field), g.met(c, runs)) for g, c in zip(played, cells, strict=True)]
