"""The lift: how much more a turn earns by the policies than by the rules, measured on the hold-out.

    trials of rules and policy --arms' difference H--> lift, with an interval that may be looked at at any time

Nothing is modelled: a share of the turns is drawn for the rules, whatever serves, and both sides are averaged. So the
lift is that of the whole system, canaries and bad releases included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import log

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from alice_rl.online.confidence import BOLD, Counts, Sample, confidence_sequence, log_e_ratio
from alice_rl.online.trial import TrialSums
from alice_rl.reward import STEPS, RewardSettings, reward_range
from alice_rl.trials import Trial

__all__ = ["ALPHA", "ALPHA_RATIO", "Lift", "lift_of"]

ALPHA = 0.05
"""The probability that the interval ever misses the lift."""

ALPHA_RATIO = 0.001
"""The probability that sides which were told of alike are ever called unequal."""

_CENTRES = 64  # steps of the reward's range, of which the best serves as m0
_SIDES = "rules", "policy"


class Lift(Struct, frozen=True, kw_only=True):
    """What a hold-out has shown.

    Attributes
    ----------
    estimate, lower, upper : float
        Reward per turn by the policies less that by the rules, and its interval.
    policy_reward, rules_reward : float or None
        Mean reward per turn of either side; None without turns.
    turns, held_out : int
        Turns of both sides, and those of the rules.
    share : float
        `held_out / turns`.
    unequal : bool
        Whether the sides' turns are not in the proportion in which they were drawn: outcomes of one side are missing,
        and the lift is not to be trusted.
    """

    estimate: float
    lower: float
    upper: float
    policy_reward: float | None
    rules_reward: float | None
    turns: int
    held_out: int
    share: float
    unequal: bool = False


def lift_of(trials: Mapping[Trial, TrialSums], reward: RewardSettings) -> Lift | None:
    """The lift, over all shares that were ever held out; None before any turn counts.

    Parameters
    ----------
    trials : mapping of Trial to TrialSums
        As the fold keeps them; other trials than those of a hold-out are passed over.
    reward : RewardSettings

    Notes
    -----
    H is centred before it is weighed, or its variance would be that of the reward's size. A canary's centre is fixed
    before the canary begins. A hold-out has no before: of 64 centres, fixed by the reward's range, the one with the
    smallest squares is taken, and the interval is drawn at the 64th part of alpha: it holds for whichever is chosen.
    """
    held = {trial.share: sums for trial, sums in trials.items() if trial[:2] == _SIDES}
    turns = sum(sums.n_control + sums.n_treatment for sums in held.values())
    if not turns:
        return None
    least, most = reward_range(reward.weights, reward.bounds)
    weights = reward.weights / STEPS
    candidates = (
        [sums.arms(weights, centre=m0, share=share, least=least, most=most) for share, sums in held.items()]
        for m0 in np.linspace(least, most, _CENTRES).tolist()
    )
    samples = min(candidates, key=_squares)
    lower, upper = confidence_sequence(samples, ALPHA / 2 / _CENTRES, above=BOLD, below=BOLD)
    counts = [Counts(sums.n_treatment, sums.n_control + sums.n_treatment, share) for share, sums in held.items()]
    held_out = sum(sums.n_control for sums in held.values())
    rules_reward, policy_reward = (_mean(held.values(), side, weights) for side in (0, 1))
    return Lift(
        estimate=sum(float(sample.total) for sample in samples) / turns,
        lower=lower,
        upper=upper,
        policy_reward=policy_reward,
        rules_reward=rules_reward,
        turns=turns,
        held_out=held_out,
        share=held_out / turns,
        unequal=bool(log_e_ratio(counts) >= -log(ALPHA_RATIO)),
    )


def _squares(samples: Sequence[Sample]) -> float:
    return sum(float(sample.squares) for sample in samples)


def _mean(trials: Iterable[TrialSums], side: int, weights: npt.NDArray[np.float64]) -> float | None:
    """The mean reward of one side."""
    n, *y = np.sum([sums.sides[side, : 1 + len(weights)] for sums in trials], axis=0).tolist()
    return float(np.array(y, dtype=np.float64) @ weights) / n if n else None
