"""What becomes of a turn: an outcome as a pure function of the cell, the turn's luck and the chosen arms.

First the cache tier is asked. A hit answers at once and no tool runs; else the route answers, with its tool
if one was chosen. Every policy that is played on the same turn meets the same luck (common random numbers).
"""

from __future__ import annotations

from bisect import bisect_right
from math import exp
from typing import NamedTuple

from alice_rl.simulation.surfaces import (
    AFTER_FAILED_TOOL,
    COST_SPREAD,
    HIT_COST_USD,
    HIT_MS,
    HIT_SUCCESS,
    LATENCY_SIGMA,
    LOOKUP_MS,
    Cell,
)

__all__ = ["Luck", "Outcome", "settle"]

_FEEDBACK_MS = 250.0  # the outcome is known at most this long after the answer


class Luck(NamedTuple):
    """The random numbers that settle a turn under any arms: uniforms on [0, 1), and a standard normal `z`."""

    kind: float
    hit: float
    tool: float
    success: float
    flag: float
    cost: float
    hit_ms: float
    feedback: float
    z: float


class Outcome(NamedTuple):
    """What became of a turn.

    Attributes
    ----------
    success : bool
    tool_ok : bool or None
        None where no tool ran, which is not a failure.
    latency_ms, cost_usd : float
    cache_hit, guardian_flag : bool
    delay_ms : int
        Time from the decision to the outcome event.
    """

    success: bool
    tool_ok: bool | None
    latency_ms: float
    cost_usd: float
    cache_hit: bool
    guardian_flag: bool
    delay_ms: int


def settle(cell: Cell, luck: Luck, route: int, tool: int | None, tier: int) -> Outcome:
    """The outcome of a turn.

    Parameters
    ----------
    cell : Cell
    luck : Luck
    route, tier : int
        Positions of the arms.
    tool : int or None
        Position of the tool; None uses no tool.
    """
    if luck.hit < cell.catch[tier][bisect_right(cell.kinds, luck.kind)]:
        return _answer_from_cache(luck, tier)
    return _answer_by_route(cell, luck, route, tool, LOOKUP_MS[tier])


def _answer_from_cache(luck: Luck, tier: int) -> Outcome:
    """A hit: fast, nearly free and nearly always right."""
    low, high = HIT_MS[tier]
    latency_ms = round(low + (high - low) * luck.hit_ms, 2)
    success = luck.success < HIT_SUCCESS[tier]
    return Outcome(success, None, latency_ms, HIT_COST_USD, True, False, _delay_ms(luck, latency_ms))


def _answer_by_route(cell: Cell, luck: Luck, route: int, tool: int | None, lookup_ms: float) -> Outcome:
    """A miss: the route runs, after the tier has been asked in vain."""
    tool_ok = None if tool is None else luck.tool < cell.tool_ok[tool]
    factor = cell.bare_factor if tool_ok is None else 1.0 if tool_ok else AFTER_FAILED_TOOL
    latency_ms = round(lookup_ms + exp(cell.log_ms[route] + LATENCY_SIGMA[route] * luck.z), 2)
    return Outcome(
        success=luck.success < cell.success[route] * factor,
        tool_ok=tool_ok,
        latency_ms=latency_ms,
        cost_usd=round(cell.cost_usd[route] * (1.0 + COST_SPREAD * (2.0 * luck.cost - 1.0)), 6),
        cache_hit=False,
        guardian_flag=luck.flag < cell.flag[route],
        delay_ms=_delay_ms(luck, latency_ms),
    )


def _delay_ms(luck: Luck, latency_ms: float) -> int:
    """When the outcome is known, counted from the decision."""
    return int(latency_ms + _FEEDBACK_MS * luck.feedback)
