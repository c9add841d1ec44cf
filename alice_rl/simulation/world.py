"""The simulated world: what happens on a turn for every choice of arms, and what the best choice was.

The world knows the exact expected reward of each (route, tool, cache tier) in each situation, so the oracle's
choice and the regret of any other are exact. The learner never sees that: it sees what the wire carries. Luck
is part of the situation, so an outcome is a pure function of (situation, arms): another policy can be
played beside the served one, with the same random numbers and without disturbing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from alice_rl.simulation.contexts import ContextStream, Situation
from alice_rl.simulation.intents import NO_TOOL, ROUTES, TIERS, TOOLS
from alice_rl.simulation.outcomes import Outcome, settle
from alice_rl.simulation.surfaces import RewardShape, build_cells

__all__ = ["ROUTES", "RULES", "TIERS", "TOOLS", "Outcome", "RewardShape", "Rules", "Situation", "World"]


class Rules(TypedDict):
    """Hand-written rules: an arm per intent and slot, and the arm of any other intent."""

    route: dict[str, str]
    route_default: str
    tool: dict[str, str]
    tool_default: str
    cache: str


RULES: Rules = {
    "route": {
        "knowledge": "deep",
        "weather": "micro",
        "home": "planner",
        "music": "planner",
        "email": "planner",
        "calendar": "micro",
        "greeting": "micro",
        "summarise": "deep",
        "time": "planner",
        "translate": "planner",
        "code": "planner",
        "travel": "deep",
        "math": "planner",
        "analysis": "deep",
    },
    "route_default": "planner",
    "tool": {
        "knowledge": "none",
        "weather": "weather.lookup",
        "home": "home.control",
        "music": "music.play",
        "email": "email.api",
        "calendar": "email.api",
        "greeting": "none",
        "summarise": "search.docs",
        "time": "calendar.api",
        "translate": "none",
        "code": "code.run",
        "travel": "calendar.api",
        "math": "code.run",
        "analysis": "search.docs",
    },
    "tool_default": "none",
    "cache": "L1",
}
"""The predecessor's hand-written rules, as the shipped configuration carries them: they ask the exact cache
alone, take plain questions for hard ones and know half of the tools. Where a rule's tool is not on offer it
takes `tool_default`."""

_ROUTE = {arm: i for i, arm in enumerate(ROUTES)}
_TIER = {arm: i for i, arm in enumerate(TIERS)}
_TOOL = {arm: i for i, arm in enumerate(TOOLS)}


class World:
    """A seeded world of contexts and outcomes that knows its own oracle.

    Parameters
    ----------
    seed : int
        One seed is one world and one stream of turns.
    drift_at_turn : int or None
        From this turn on several intents' surfaces are changed.
    turns_per_second : float
        Mean rate of turns in simulated time.
    reward : RewardShape
        What the oracle maximises: weights and clipping bounds, the default ones unless given.

    Examples
    --------
    >>> world = World(7)
    >>> turn = world.next_turn()
    >>> best = world.oracle(turn)
    >>> world.value(turn, *best) >= world.uniform_value(turn)
    True
    """

    def __init__(
        self,
        seed: int,
        *,
        drift_at_turn: int | None = None,
        turns_per_second: float = 20.0,
        reward: RewardShape | None = None,
    ) -> None:
        self.reward_shape = reward if reward is not None else RewardShape()
        self._cells = build_cells(seed, self.reward_shape)
        # As lists: looking up one number is several times cheaper than in an array.
        self._values: list[list[list[list[float]]]] = [cell.value.tolist() for cell in self._cells]
        self._stream = ContextStream(seed, drift_at_turn=drift_at_turn, turns_per_second=turns_per_second)
        # Bounded by the number of cells times the menus of an intent.
        self._oracles: dict[tuple[int, tuple[int, ...]], tuple[str, str, str]] = {}
        self._uniform: dict[tuple[int, tuple[int, ...]], float] = {}

    def next_turn(self) -> Situation:
        """The next situation, before it is decided."""
        return self._stream.next_turn()

    def record(self, situation: Situation, outcome: Outcome) -> None:
        """Tell the session what it was served: its next turns carry it as `recent_*`."""
        self._stream.record(situation.session_id, outcome.latency_ms, outcome.cost_usd)

    def oracle(self, situation: Situation) -> tuple[str, str, str]:
        """The (route, tool, tier) of the highest expected reward among the tools on offer."""
        key = situation.cell, situation.offered
        best = self._oracles.get(key)
        if best is None:
            value = self._cells[situation.cell].value[:, situation.offered, :]
            route, tool, tier = np.unravel_index(int(value.argmax()), value.shape)
            best = self._oracles[key] = ROUTES[route], situation.tools[tool], TIERS[tier]
        return best

    def value(self, situation: Situation, route: str, tool: str, tier: str) -> float:
        """Exact expected reward of a choice."""
        return self._values[situation.cell][_ROUTE[route]][_TOOL[tool]][_TIER[tier]]

    def uniform_value(self, situation: Situation) -> float:
        """Exact expected reward of drawing each slot's arm uniformly from what is on offer."""
        key = situation.cell, situation.offered
        mean = self._uniform.get(key)
        if mean is None:
            mean = float(self._cells[situation.cell].value[:, situation.offered, :].mean())
            self._uniform[key] = mean
        return mean

    def value_of_distribution(
        self, situation: Situation, route: Sequence[float], tool: Sequence[float], tier: Sequence[float]
    ) -> float:
        """Exact expected reward of independent draws per slot.

        Parameters
        ----------
        situation : Situation
        route, tier : sequence of float
            Probabilities in the order of `ROUTES` and `TIERS`.
        tool : sequence of float
            Probabilities in the order of `situation.tools`.
        """
        value = self._cells[situation.cell].value[:, situation.offered, :]  # (R, offered, tiers)
        return float(np.asarray(route) @ (value @ np.asarray(tier)) @ np.asarray(tool))

    def outcome(self, situation: Situation, route: str, tool: str, tier: str) -> Outcome:
        """What would become of the turn under these arms: a pure function, equal luck for every choice."""
        used = None if tool == NO_TOOL else _TOOL[tool]
        return settle(self._cells[situation.cell], situation.luck, _ROUTE[route], used, _TIER[tier])

    def reward(self, outcome: Outcome) -> float:
        """Reward of an outcome as it fell out, under this world's weights and bounds."""
        shape = self.reward_shape
        return (
            shape.success * outcome.success
            + shape.tool_ok * (outcome.tool_ok or False)
            + shape.latency_ms * min(outcome.latency_ms, shape.latency_ms_max)
            + shape.cost_usd * min(outcome.cost_usd, shape.cost_usd_max)
            + shape.cache_hit * outcome.cache_hit
            + shape.guardian_flag * outcome.guardian_flag
        )
