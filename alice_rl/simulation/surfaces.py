"""What each arm does in each kind of situation, and the exact expected reward of every combination of arms.

A *cell* is one kind of situation: (intent, language, guardian state, length band), before or after the drift.
Given its cell, a turn's outcome is drawn from the cell's numbers alone (`outcomes.py`), so that its expected
reward has a closed form. With `h` the hit rate of the tier,

    V(route, tool, tier) = h V_hit(tier) + (1 - h) V_miss(route, tool, tier)

and the means of the clipped latency and cost are exact.

References
----------
The mean of a log-normal capped at c is the "limited expected value" of Klugman, Panjer and Willmot, *Loss
Models*, appendix A: E min(X, c) = exp(mu + s^2/2) Phi((ln c - mu - s^2)/s) + c Phi((mu - ln c)/s).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from alice_rl.simulation.intents import (
    GUARDIAN_STATES,
    INTENTS,
    LANGUAGES,
    NO_TOOL,
    ROUTES,
    TIERS,
    TOOLS,
    Intent,
    Repeats,
    RouteFit,
    drifted,
)

__all__ = [
    "AFTER_FAILED_TOOL",
    "BAND_EDGES",
    "COST_SPREAD",
    "HIT_COST_USD",
    "HIT_MS",
    "HIT_SUCCESS",
    "LATENCY_SIGMA",
    "LOOKUP_MS",
    "Cell",
    "RewardShape",
    "build_cells",
    "cell_index",
]

FloatArray = npt.NDArray[np.float64]

BAND_EDGES = (80, 200, 600)
"""Text lengths (characters) at which a length band ends; from the second edge on a text counts as long."""
_BANDS, _LONG_BAND = len(BAND_EDGES) + 1, 2

LOOKUP_MS = (2.0, 12.0, 6.0)
"""What asking a tier costs when it misses, ms."""
HIT_MS = ((20.0, 34.0), (32.0, 60.0), (22.0, 44.0))
"""What a hit takes, by tier: uniform between the two, ms."""
HIT_SUCCESS = (0.985, 0.965, 0.95)
HIT_COST_USD = 0.00005
LATENCY_SIGMA = (0.22, 0.22, 0.24)
"""Standard deviation of the log of a route's latency."""
COST_SPREAD = 0.2
"""A turn's cost is uniform within this fraction of its mean."""
AFTER_FAILED_TOOL = 0.2
"""Factor on the chance of success when the tool failed."""

_WITHOUT_TOOL = 0.45  # the same when a tool was needed and none was used
_WRONG_TOOL_OK = 0.06  # how often a tool works that is neither right nor plausible
_SLOWER_BY_BAND = (1.0, 1.06, 1.18, 1.28)
_COST_USD = (  # by route and band
    (0.0003, 0.0004, 0.0008, 0.0016),
    (0.004, 0.005, 0.009, 0.016),
    (0.05, 0.06, 0.09, 0.14),
)

# By guardian state and route. Under LOCKDOWN the guardian objects to whatever is not the small model, which
# is told to stop at its first try: micro is then the best route everywhere.
_SLOWER_BY_STATE = ((1.0, 1.0, 1.0), (1.05, 1.18, 1.05), (0.6, 1.6, 1.2))
_SUCCESS_BY_STATE = ((1.0, 1.0, 1.0), (1.0, 0.98, 0.98), (1.0, 0.3, 0.1))
_FLAG_BY_STATE = ((0.003, 0.006, 0.015), (0.005, 0.01, 0.02), (0.02, 0.9, 0.95))
_FLAG_FACTOR = {"code": 2.0, "email": 1.5, "greeting": 0.5}

# What each tier finds among exact, near, dead and new queries. Among terse texts L2 seldom trusts a match.
_CATCH = ((0.97, 0.0, 0.0, 0.0), (0.93, 0.93, 0.0, 0.01), (0.0, 0.0, 0.92, 0.01))
_CATCH_TERSE = (_CATCH[0], (0.25, 0.25, 0.0, 0.01), _CATCH[2])


class RewardShape(NamedTuple):
    """The reward's weights, in the order of the wire's outcome fields, and the bounds of latency and cost."""

    success: float = 2.0
    tool_ok: float = 1.0
    latency_ms: float = -0.001
    cost_usd: float = -0.5
    cache_hit: float = 0.4
    guardian_flag: float = -0.7
    latency_ms_max: float = 30_000.0
    cost_usd_max: float = 1.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of situation: the numbers its outcomes are drawn from, and their exact expected rewards.

    Attributes
    ----------
    success : tuple of float
        Per route, chance of success when the tool did its job.
    flag : tuple of float
        Per route, chance that the guardian objects.
    log_ms : tuple of float
        Per route, mean of the log of the latency in ms.
    cost_usd : tuple of float
        Per route, mean cost.
    tool_ok : tuple of float
        Per tool, chance that it works.
    bare_factor : float
        Factor on the chance of success when no tool is used.
    kinds : tuple of float
        Cumulative shares of exact, near and dead repeats; the rest is new.
    catch : tuple of tuple of float
        Per tier and kind, chance of a hit.
    value : ndarray, shape (routes, tools, tiers)
        Exact expected reward.
    """

    success: tuple[float, ...]
    flag: tuple[float, ...]
    log_ms: tuple[float, ...]
    cost_usd: tuple[float, ...]
    tool_ok: tuple[float, ...]
    bare_factor: float
    kinds: tuple[float, ...]
    catch: tuple[tuple[float, ...], ...]
    value: FloatArray


def cell_index(intent: int, language: int, state: int, band: int, *, after_drift: bool) -> int:
    """Position of a cell in the list of `build_cells`."""
    position = (after_drift * len(INTENTS) + intent) * len(LANGUAGES) + language
    return (position * len(GUARDIAN_STATES) + state) * _BANDS + band


def build_cells(seed: int, shape: RewardShape) -> list[Cell]:
    """Every cell of the world of `seed`, before and after the drift, in the order of `cell_index`."""
    rng = np.random.default_rng([seed, 1])
    before = [_jittered(intent, rng) for intent in INTENTS]
    return [
        _build_cell(intent, language, state, band, shape)
        for era in (before, [drifted(intent) for intent in before])
        for intent in era
        for language in range(len(LANGUAGES))
        for state in range(len(GUARDIAN_STATES))
        for band in range(_BANDS)
    ]


def _jittered(intent: Intent, rng: np.random.Generator) -> Intent:
    """The intent with a seed's small deviations: every seed is a world of its own, none reorders the arms."""
    fit = intent.routes
    success = np.array([fit.micro, fit.planner, fit.deep]) + rng.uniform(-0.015, 0.015, 3)
    latency_ms = np.array([fit.micro_ms, fit.planner_ms, fit.deep_ms]) * np.exp(rng.uniform(-0.025, 0.025, 3))
    tool_ok = np.array([intent.tools.right_ok, intent.tools.second_ok]) + rng.uniform(-0.015, 0.015, 2)
    repeats = np.array(intent.repeats) * np.exp(rng.uniform(-0.015, 0.015, 3))
    micro, planner, deep = success.tolist()
    right_ok, second_ok = tool_ok.tolist()
    return intent._replace(
        routes=RouteFit(micro, planner, deep, fit.by_length, fit.by_swedish, *latency_ms.tolist()),
        tools=intent.tools._replace(right_ok=right_ok, second_ok=second_ok),
        repeats=Repeats(*repeats.tolist()),
    )


def _build_cell(intent: Intent, language: int, state: int, band: int, shape: RewardShape) -> Cell:
    """The cell of one intent, language, guardian state and length band."""
    fit, (exact, near, dead) = intent.routes, intent.repeats
    cases = ((fit.by_length, band >= _LONG_BAND), (fit.by_swedish, LANGUAGES[language] == "sv"))
    shifts = [shift for shift, applies in cases if applies]
    micro = fit.micro + sum(shift.micro for shift in shifts)
    planner = fit.planner + sum(shift.planner for shift in shifts)
    micro_ms = fit.micro_ms * math.prod(shift.micro_slower for shift in shifts)
    medians = zip((micro_ms, fit.planner_ms, fit.deep_ms), _SLOWER_BY_STATE[state], strict=True)
    chances = zip((micro, planner, fit.deep), _SUCCESS_BY_STATE[state], strict=True)
    flag_factor = _FLAG_FACTOR.get(intent.name, 1.0)
    cell = Cell(
        success=tuple(chance * factor for chance, factor in chances),
        flag=tuple(min(chance * flag_factor, 1.0) for chance in _FLAG_BY_STATE[state]),
        log_ms=tuple(math.log(median * slower * _SLOWER_BY_BAND[band]) for median, slower in medians),
        cost_usd=tuple(by_band[band] for by_band in _COST_USD),
        tool_ok=tuple(_tool_ok(intent, tool) for tool in TOOLS),
        bare_factor=1.0 if intent.tools.right == NO_TOOL else _WITHOUT_TOOL,
        kinds=(exact, exact + near, exact + near + dead),
        catch=_CATCH_TERSE if intent.text.terse else _CATCH,
        value=np.empty((len(ROUTES), len(TOOLS), len(TIERS))),
    )
    cell.value[:] = _expected_rewards(cell, shape)
    cell.value.setflags(write=False)
    return cell


def _tool_ok(intent: Intent, tool: str) -> float:
    """Chance that `tool` works for the intent."""
    fit = intent.tools
    if tool == NO_TOOL:
        return 0.0
    return {fit.right: fit.right_ok, fit.second: fit.second_ok}.get(tool, _WRONG_TOOL_OK)


def _expected_rewards(cell: Cell, shape: RewardShape) -> FloatArray:
    """Exact expected reward of every combination, ndarray, shape (routes R, tools T, tiers C)."""
    ok = np.array(cell.tool_ok)  # (T,)
    aided = ok + (1.0 - ok) * AFTER_FAILED_TOOL  # (T,)
    aided[TOOLS.index(NO_TOOL)] = cell.bare_factor
    earned = shape.success * np.outer(cell.success, aided) + shape.tool_ok * ok  # (R, T)
    burden = np.array(
        [[_burden(cell, route, tier, shape) for tier in range(len(TIERS))] for route in range(len(ROUTES))]
    )  # (R, C)
    miss = earned[:, :, None] + burden[:, None, :]  # (R, T, C)
    hit = np.array([_hit_reward(tier, shape) for tier in range(len(TIERS))])  # (C,)
    kinds = np.diff(cell.kinds, prepend=0.0, append=1.0)  # (4,)
    hit_rate = np.array(cell.catch) @ kinds  # (C,)
    value: FloatArray = hit_rate * hit + (1.0 - hit_rate) * miss
    return value


def _hit_reward(tier: int, shape: RewardShape) -> float:
    """Expected reward of an answer from cache."""
    return (
        shape.success * HIT_SUCCESS[tier]
        + shape.latency_ms * _capped_uniform_mean(*HIT_MS[tier], shape.latency_ms_max)
        + shape.cost_usd * min(HIT_COST_USD, shape.cost_usd_max)
        + shape.cache_hit
    )


def _burden(cell: Cell, route: int, tier: int, shape: RewardShape) -> float:
    """Expected reward of a miss's latency, cost and guardian flag."""
    cost_usd = cell.cost_usd[route]
    low, high = cost_usd * (1.0 - COST_SPREAD), cost_usd * (1.0 + COST_SPREAD)
    mu, sigma = cell.log_ms[route], LATENCY_SIGMA[route]
    return (
        shape.latency_ms * _capped_lognormal_mean(LOOKUP_MS[tier], mu, sigma, shape.latency_ms_max)
        + shape.cost_usd * _capped_uniform_mean(low, high, shape.cost_usd_max)
        + shape.guardian_flag * cell.flag[route]
    )


def _capped_lognormal_mean(offset: float, mu: float, sigma: float, cap: float) -> float:
    """Mean of `min(offset + X, cap)`, X log-normal.

    Examples
    --------
    >>> round(_capped_lognormal_mean(1.0, 0.0, 1.0, 1e9), 4), _capped_lognormal_mean(1.0, 0.0, 1.0, 0.5)
    (2.6487, 0.5)
    """
    room = cap - offset
    if room <= 0.0:
        return cap
    normal, edge = NormalDist(), (math.log(room) - mu) / sigma
    return offset + math.exp(mu + sigma * sigma / 2) * normal.cdf(edge - sigma) + room * normal.cdf(-edge)


def _capped_uniform_mean(low: float, high: float, cap: float) -> float:
    """Mean of `min(U, cap)`, U uniform on [low, high].

    Examples
    --------
    >>> _capped_uniform_mean(0.0, 2.0, 1.0)
    0.75
    """
    if cap >= high:
        return (low + high) / 2
    if cap <= low:
        return cap
    return ((cap * cap - low * low) / 2 + cap * (high - cap)) / (high - low)
