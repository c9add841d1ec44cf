"""The quality gates: what a policy's estimate must be before it serves anybody."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from msgspec import Struct

from worker.canary_settings import CanarySettings

__all__ = ["Estimate", "Passage", "Quality", "quality"]


class Estimate(Struct, frozen=True, kw_only=True):
    """What a window of turns says about one policy.

    Attributes
    ----------
    episodes : int
        Turns that it rests on.
    value : float or None
        Estimated reward per turn; None where nothing can be said.
    variance : float or None
        Square of its standard error.
    effective : float
        Effective sample size of the weights.
    mean_weight : float or None
        Honest propensities have 1.
    supported : bool
        Whether the logged propensities can be right.
    """

    episodes: int
    value: float | None = None
    variance: float | None = None
    effective: float = 0.0
    mean_weight: float | None = None
    supported: bool = True


class Passage(Enum):
    """What the gates say."""

    PASSED = "passed"
    WAITS = "waits"
    FAILED = "failed"


class Quality(NamedTuple):
    """What the gates say, and why."""

    passage: Passage
    reason: str


def quality(estimate: Estimate | None, settings: CanarySettings) -> Quality:
    """What the gates say of a policy.

    Examples
    --------
    >>> quality(Estimate(episodes=500, value=0.3, variance=0.01), CanarySettings()).reason
    'its estimated reward 0.3000 per turn is below canary.min_policy_value = 0.4'
    >>> quality(Estimate(episodes=5, value=9.0, variance=0.01), CanarySettings()).passage.value
    'waits'
    """
    seen = 0 if estimate is None else estimate.episodes
    if estimate is None or seen < settings.episodes_min:
        return Quality(Passage.WAITS, f"{seen} of canary.episodes_min = {settings.episodes_min} unseen turns")
    if not estimate.supported:
        weight = "unknown" if estimate.mean_weight is None else f"{estimate.mean_weight:.4f}"
        return Quality(Passage.FAILED, f"its mean importance weight is {weight} where honest propensities have 1")
    if estimate.value is None or estimate.variance is None:
        return Quality(Passage.FAILED, "nothing that it would do was ever done, so its reward cannot be estimated")
    least, most = settings.min_policy_value, settings.max_variance
    if most is not None and estimate.variance > most:
        words = f"the variance {estimate.variance:.4f} of its estimated reward is above canary.max_variance = {most:g}"
        return Quality(Passage.FAILED, words)
    if least is not None and estimate.value < least:
        words = f"its estimated reward {estimate.value:.4f} per turn is below canary.min_policy_value = {least:g}"
        return Quality(Passage.FAILED, words)
    return Quality(Passage.PASSED, f"its estimated reward is {estimate.value:.4f} per turn on {seen} unseen turns")
