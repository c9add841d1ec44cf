"""The score of a stream of turns: how the served policy stands beside the rules, chance and the oracle.

    turns --Ledger.add--> rows of numbers --Ledger.score(window)--> Score

All four policies are played on the same turns with the same luck (common random numbers), so that their
differences are due to their choices. Only the served one is felt by anybody.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from alice_rl.events import Decision, SlotChoice
from alice_rl.lineage import SLOTS
from alice_rl.simulation.world import ROUTES, TIERS, TOOLS, Outcome

__all__ = ["PLAYERS", "TURNS_MAX", "HeldOut", "Ledger", "Play", "Score", "Standing"]

FloatArray = npt.NDArray[np.float64]

PLAYERS = ("served", "rules", "uniform", "oracle")
"""The policies that are played side by side."""

TURNS_MAX = 50_000
"""The newest turns that a ledger is sure to remember, unless told otherwise: up to 30 MB."""

_ARMS = {"route": ROUTES, "tool": TOOLS, "cache": TIERS}
_CODES = [{arm: float(code) for code, arm in enumerate(_ARMS[slot])} for slot in SLOTS]
_NAN = float("nan")
_NO_WEIGHTS = (_NAN,) * len(SLOTS)


class Play(NamedTuple):
    """What a policy chose on a turn, the reward that came of it, and the exact expectation of that reward."""

    arms: tuple[str, str, str]
    outcome: Outcome
    reward: float
    value: float


class Standing(NamedTuple):
    """How one policy did, per turn.

    Attributes
    ----------
    reward, value : float
        Means of the reward as it fell out, and of its exact expectation under the arms that were chosen.
    route_precision, tool_precision, cache_precision : float
        Agreement with the oracle's arm, exploration included.
    latency_p95_ms : float
        95th percentile, ms.
    cache_hit_rate : float
    """

    reward: float
    value: float
    route_precision: float
    tool_precision: float
    cache_precision: float
    latency_p95_ms: float
    cache_hit_rate: float


class HeldOut(NamedTuple):
    """What a hold-out shows, on the turns that were drawn for either side.

    Attributes
    ----------
    share : float
        Of these turns, those that the rules took.
    turns : int
        Their number.
    reward, policy_reward : float
        Mean reward on the turns of the rules, and on those of the policies; NaN without any.
    """

    share: float
    turns: int
    reward: float
    policy_reward: float


class Score(NamedTuple):
    """The score of a window of turns.

    Attributes
    ----------
    turns : int
    served, rules, uniform, oracle : Standing
    shares : dict of str to dict of str to float
        Per slot, the share of turns that each arm was served on.
    mean_weight, weight_error : float
        Mean importance weight `(1/K) / p` of the uniform policy against the logged propensities, over slots
        and turns, and its standard error; NaN without propensities. Honest propensities have a mean of 1.
    weighted : int
        Turns with propensities: those that were not decided by the rules.
    versions : int
        Distinct versions that served.
    holdout : HeldOut, optional
        None when there was no hold-out.
    """

    turns: int
    served: Standing
    rules: Standing
    uniform: Standing
    oracle: Standing
    shares: dict[str, dict[str, float]]
    mean_weight: float
    weight_error: float
    weighted: int
    versions: int
    holdout: HeldOut | None = None


# A turn's row: the facts of each player in the order of `Standing`, then what concerns the served one alone.
_FACTS = len(Standing._fields)
_BLOCKS = {player: slice(at * _FACTS, (at + 1) * _FACTS) for at, player in enumerate(PLAYERS)}
_ARM_CODES = slice(len(PLAYERS) * _FACTS, len(PLAYERS) * _FACTS + len(SLOTS))
_WEIGHTS = slice(_ARM_CODES.stop, _ARM_CODES.stop + len(SLOTS))
_VERSION = _WEIGHTS.stop
_SIDE = _VERSION + 1  # of the hold-out: 1 for the rules, 0 for the policies, NaN for turns that it does not concern
_WIDTH = _SIDE + 1


class Ledger:
    """The numbers of every turn, of the newest `turns_max` at least.

    Parameters
    ----------
    turns_max : int

    Attributes
    ----------
    turns : int
        Turns that were added, also those that are forgotten by now.
    """

    def __init__(self, turns_max: int = TURNS_MAX) -> None:
        self.turns = 0
        self._max = turns_max
        self._numbers = array("d")  # rows one after the other: appending costs no conversion

    def add(self, decision: Decision, served: Play, rules: Play, uniform: Play, oracle: Play) -> None:
        """Note a turn: what was decided, and what each player made of it."""
        best = oracle.arms
        for play in (served, rules, uniform, oracle):
            (route, tool, tier), outcome = play.arms, play.outcome
            right = route == best[0], tool == best[1], tier == best[2]
            self._numbers.extend((play.reward, play.value, *right, outcome.latency_ms, outcome.cache_hit))
        self._numbers.extend([code[arm] for code, arm in zip(_CODES, served.arms, strict=True)])
        self._numbers.extend(_weights(decision))
        version = decision.policy.version
        self._numbers.append(_NAN if version is None else version)
        drawn = decision.policy.holdout_share is not None
        self._numbers.append(decision.policy.stage == "fallback" if drawn else _NAN)
        self.turns += 1
        if len(self._numbers) > 2 * self._max * _WIDTH:
            del self._numbers[: self._max * _WIDTH]

    def score(self, first: int = 0, last: int | None = None) -> Score:
        """The score of turns `first` up to `last` (exclusive, all by default), counted from 0.

        Raises
        ------
        ValueError
            No turn that is still remembered lies in between.
        """
        rows = self._rows(first, last)
        if not len(rows):
            raise ValueError(f"no turns between {first} and {last}")
        weights = rows[:, _WEIGHTS].mean(axis=1)
        weights = weights[~np.isnan(weights)]
        versions = rows[:, _VERSION]
        served, rules, uniform, oracle = (_standing(rows[:, _BLOCKS[player]]) for player in PLAYERS)
        return Score(
            turns=len(rows),
            served=served,
            rules=rules,
            uniform=uniform,
            oracle=oracle,
            shares={slot: _shares(_ARMS[slot], rows[:, at]) for at, slot in enumerate(SLOTS, _ARM_CODES.start)},
            mean_weight=float(weights.mean()) if len(weights) else _NAN,
            weight_error=float(weights.std(ddof=1) / len(weights) ** 0.5) if len(weights) > 1 else _NAN,
            weighted=len(weights),
            versions=len(np.unique(versions[~np.isnan(versions)])),
            holdout=_held_out(rows[:, _SIDE], rows[:, _BLOCKS["served"]][:, 0]),
        )

    def rewards(self, player: str, parts: int, first: int = 0) -> list[float]:
        """The mean reward in each of `parts` equal parts of the turns from `first` on; fewer when turns are few."""
        rewards = self._rows(first, None)[:, _BLOCKS[player]][:, 0]
        return [float(part.mean()) for part in np.array_split(rewards, parts) if len(part)]

    def _rows(self, first: int, last: int | None) -> FloatArray:
        """A copy of the rows of those turns, ndarray, shape (turns, width)."""
        forgotten = self.turns - len(self._numbers) // _WIDTH
        start = max(0, first - forgotten) * _WIDTH
        stop = len(self._numbers) if last is None else max(0, last - forgotten) * _WIDTH
        return np.array(self._numbers[start:stop]).reshape(-1, _WIDTH)


def _weights(decision: Decision) -> tuple[float, ...]:
    """Importance weight of the uniform policy per slot; NaN for a decision that explored nothing."""
    choices = decision.route, decision.tool, decision.cache
    return tuple(map(_weight, choices)) if decision.policy.stage != "fallback" else _NO_WEIGHTS


def _weight(choice: SlotChoice | None) -> float:
    return _NAN if choice is None or choice.p is None else 1.0 / (len(choice.available) * choice.p)


def _standing(facts: FloatArray) -> Standing:
    means = facts.mean(axis=0).tolist()
    latency = Standing._fields.index("latency_p95_ms")
    means[latency] = float(np.quantile(facts[:, latency], 0.95))
    return Standing(*means)


def _held_out(side: FloatArray, rewards: FloatArray) -> HeldOut | None:
    by_rules, by_policy = rewards[side == 1.0], rewards[side == 0.0]
    drawn = len(by_rules) + len(by_policy)
    if not drawn:
        return None
    means = [float(part.mean()) if len(part) else _NAN for part in (by_rules, by_policy)]
    return HeldOut(len(by_rules) / drawn, len(by_rules), *means)


def _shares(arms: Sequence[str], codes: FloatArray) -> dict[str, float]:
    counts = np.bincount(codes.astype(np.int64), minlength=len(arms)) / len(codes)
    return dict(zip(arms, counts.tolist(), strict=True))
