"""`decide()` beside what the peers need for the same: from the context, a dict, to a drawn arm with its probability."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from random import random
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from mabwiser.mab import MAB, LearningPolicy
from river.bandit import LinUCBDisjoint

from alice_rl.events import Context, Turn
from alice_rl.features import UNIT, Featuriser
from alice_rl.reward import RewardSettings, reward
from alice_rl.simulation.world import ROUTES
from alice_rl.snapshot.client import PolicyClient
from alice_rl.snapshot.policy import Policy
from tests.benchmarks import vw, workload
from tests.benchmarks.timing import Contestant, Finding, Rates, interleave, rate_of

__all__ = ["MABWISER", "RIVER", "measure_deciding"]

MABWISER = "MAB(arms, LearningPolicy.LinUCB(alpha=0.5))"
"""`x` is made by this project's featuriser, with its hashes kept."""

RIVER = "bandit.LinUCBDisjoint()"
"""`x` is a dict of one-hot names and the numerics."""

_REWARD = RewardSettings()
_RIVER_SHARE = 20  # of the contexts: a prediction takes some hundred times as long
_MAB_SHARE = 4


def measure_deciding(*, quick: bool) -> tuple[list[Finding], Rates]:
    """All deciders on the same contexts, each after it has learned the same turns."""
    turns, log = workload.partition_log(3000 if quick else 12_000)
    learned = workload.snapshot(workload.fold(log, workload.lineage()))
    contexts = [_wire(turn.context) for turn in turns[:2000]]
    offers = [turn.tool.available if turn.tool else () for turn in turns[:2000]]
    policy, client = Policy(learned), PolicyClient.from_snapshot(learned)
    contestants: dict[str, Contestant] = {
        "route": _over(contexts, lambda context: policy.route(context, random())),
        "decide": rate_of(
            lambda: [client.decide(c, tools) for c, tools in zip(contexts, offers, strict=True)], len(contexts)
        ),
        "MABWiser": _over(contexts[::_MAB_SHARE], _mabwiser(turns[:3000])),
        "river": _over(contexts[::_RIVER_SHARE], _river(turns[:200])),
    }
    for binding in vw.BINDINGS:
        contestants[f"{binding.name}, adf"] = _over(contexts, _vw_adf(binding, turns[:3000]))
        contestants[f"{binding.name}, fixed"] = _over(contexts, _vw_fixed(binding))
    rates = interleave(contestants, 5 if quick else 15)
    client.close()
    adf, fixed = (rates.fastest(*[f"{b.name}, {kind}" for b in vw.BINDINGS]) for kind in ("adf", "fixed"))
    section = "Deciding, from a dict"
    return [
        Finding(
            section,
            "route with its probability / VW predict",
            rates.ratio("route", adf),
            ">= 1.2",
            "decide_route_vs_vw_predict",
        ),
        Finding(
            section,
            "whole decide(), three slots / VW predict, the route alone",
            rates.ratio("decide", adf),
            ">= 0.5",
            "decide_all_vs_vw_predict",
        ),
        Finding(section, "route / VW predict with a fixed set of arms (one line)", rates.ratio("route", fixed)),
        Finding(
            section,
            "route / MABWiser predict (LinUCB)",
            rates.ratio("route", "MABWiser"),
            key="decide_route_vs_mabwiser",
        ),
        Finding(section, "route / river pull (LinUCBDisjoint)", rates.ratio("route", "river")),
    ], rates


def _wire(context: Context) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(context)
    return values


def _over(contexts: Sequence[dict[str, Any]], decide: Callable[[dict[str, Any]], object]) -> Contestant:
    def run() -> None:
        for context in contexts:
            decide(context)

    return rate_of(run, len(contexts))


def _vw_adf(binding: Any, turns: list[Turn]) -> Callable[[dict[str, Any]], object]:
    peer = binding(vw.OPTIONS["route"])
    for turn in turns:
        if lines := vw.taught_lines(turn).get("route"):
            peer.learn_text(lines)

    def decide(context: dict[str, Any]) -> object:
        k, p = peer.decide(vw.route_lines(context, ROUTES))
        return ROUTES[k], p

    return decide


def _vw_fixed(binding: Any) -> Callable[[dict[str, Any]], object]:
    peer = binding(vw.OPTIONS["fixed"])
    return lambda context: peer.decide(vw.fixed_route_line(context))


def _mabwiser(turns: list[Turn]) -> Callable[[dict[str, Any]], object]:
    featuriser = Featuriser(workload.lineage().features)
    static = lru_cache(maxsize=None)(featuriser.static)

    def x(context: Context) -> npt.NDArray[np.float64]:
        key, numerics = featuriser.split(context)
        row = static(key) / UNIT
        row[featuriser.columns] += np.array(numerics) / UNIT
        return row

    mab = MAB(list(ROUTES), LearningPolicy.LinUCB(alpha=0.5))
    rows = np.array([x(turn.context) for turn in turns])
    mab.fit([turn.route.arm for turn in turns if turn.route], [reward(turn.outcome, _REWARD) for turn in turns], rows)
    return lambda context: mab.predict(x(msgspec.convert(context, Context)).reshape(1, -1))


def _river(turns: list[Turn]) -> Callable[[dict[str, Any]], object]:
    bandit = LinUCBDisjoint()
    for turn in turns:
        if turn.route:
            bandit.update(turn.route.arm, _named(_wire(turn.context)), reward(turn.outcome, _REWARD))
    return lambda context: bandit.pull(list(ROUTES), _named(context))


def _named(context: dict[str, Any]) -> dict[str, float]:
    """A context as river takes it: one-hot names and numbers."""
    return {
        f"{k}={v}" if isinstance(v, str) else k: 1.0 if isinstance(v, str) else float(v) for k, v in context.items()
    }
