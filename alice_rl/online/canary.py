"""The canary's verdict: promote, hold, roll back or void, with numbers and the reason in words.

To be written; what stands here is the interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from alice_rl.online.trial import TrialSums

__all__ = ["Decision", "Effect", "GateRules", "Reward", "Verdict", "judge"]


class Decision(StrEnum):
    """What is to become of a canary."""

    PROMOTE = "PROMOTE"
    HOLD = "HOLD"
    ROLLBACK = "ROLLBACK"
    INVALID = "INVALID"


@dataclass(frozen=True)
class Reward:
    """What a request is worth: `weights` (m,) per step of each component, `centre` m0, and the reward's range."""

    weights: npt.NDArray[np.float64]
    centre: float
    least: float
    most: float


@dataclass(frozen=True)
class GateRules:
    """When the evidence is enough.

    `alpha` is the probability of a false verdict, per side; `margin` what a canary may be worse by and still be
    promoted, reward; `alpha_ratio` the same for a false INVALID; `stable_minutes_min` how long a canary runs at least.
    """

    alpha: float = 0.05
    margin: float = 0.0
    alpha_ratio: float = 0.001
    stable_minutes_min: float = 5.0


@dataclass(frozen=True)
class Effect:
    """A difference in reward per request, with its anytime-valid interval."""

    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Verdict:
    """What the evidence says.

    `policies` is the policies' difference D, `arms` the arms' difference H; `log_e_*` natural logarithms of e-values.
    """

    decision: Decision
    reason: str
    requests: int
    canary_requests: int
    effective: float
    policies: Effect
    arms: Effect
    log_e_promote: float
    log_e_rollback: float
    log_e_ratio: float


def judge(trials: Mapping[float, TrialSums], reward: Reward, rules: GateRules, minutes: float) -> Verdict:
    """The verdict on everything that a canary's trial has shown, at all its shares.

    Parameters
    ----------
    trials : mapping of share to TrialSums
        Of one pair of policies; shares strictly between 0 and 1.
    reward : Reward
    rules : GateRules
    minutes : float
        How long the canary has run, event time.
    """
    raise NotImplementedError
