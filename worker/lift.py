"""The lift: how much more a turn earns by the policies than by the rules, measured on the hold-out.

    trials of rules and policy --arms' difference H--> lift, with an interval that may be looked at at any time

Nothing is modelled: a share of the turns is drawn for the rules, whatever serves, and both sides are averaged. So the
lift is that of the whole system, canaries and bad releases included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from alice_rl.online.confidence import Sample, confidence_sequence
from alice_rl.online.trial import TrialSums
from alice_rl.reward import STEPS, RewardSettings, reward_range
from alice_rl.trials import Trial

__all__ = ["ALPHA", "Lift", "lift_of"]

ALPHA = 0.05
"""The probability that the interval ever misses the lift."""

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
    """

    estimate: float
    lower: float
    upper: float
    policy_reward: float | None
    rules_reward: float | None
    turns: int
    held_out: int
    share: float


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
    samples = (
        _pooled([s.arms(weights, centre=m0, share=share, least=least, most=most) for share, s in held.items()])
        for m0 in np.linspace(least, most, _CENTRES).tolist()
    )
    sample = min(samples, key=lambda candidate: candidate.squares)
    lower, upper = confidence_sequence(sample, ALPHA / _CENTRES)
    held_out = sum(sums.n_control for sums in held.values())
    rules_reward, policy_reward = (_mean(held.values(), side, weights) for side in (0, 1))
    return Lift(
        estimate=float(sample.total) / turns,
        lower=lower,
        upper=upper,
        policy_reward=policy_reward,
        rules_reward=rules_reward,
        turns=turns,
        held_out=held_out,
        share=held_out / turns,
    )


def _pooled(samples: Sequence[Sample]) -> Sample:
    """Samples of one mean, taken at several shares, as one."""
    n, total, squares, least, most = zip(*samples, strict=True)
    return Sample(sum(n), sum(total), sum(squares), min(least), max(most))


def _mean(trials: Iterable[TrialSums], side: int, weights: npt.NDArray[np.float64]) -> float | None:
    """The mean reward of one side."""
    n, *y = np.sum([sums.sides[side, : 1 + len(weights)] for sums in trials], axis=0).tolist()
    return float(np.array(y, dtype=np.float64) @ weights) / n if n else None
