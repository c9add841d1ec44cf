"""The canary's verdict: promote, hold, roll back or void, with numbers and the reason in words.

Two differences per request are tested at all times, over all of a trial's requests: `D`, what the policies differ by,
and `H`, what users of the two arms felt (`trial`). A promotion rests on D, which sees more. A rollback rests on the
average of the bets on `-D` and `-H`, which is a fair bet itself: broken serving shows in H alone.

Every bet is on a known split of the traffic. Should the outcomes that came back not be split like the requests, then
some are lost, perhaps the bad ones, and nothing that was measured can be believed: the trial is void, first of all.

References
----------
Vovk, Wang 2021, "E-values: calibration, combination and applications", for the average. See `confidence`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, inf, log
from typing import Any

import numpy as np
import numpy.typing as npt

from alice_rl.online.confidence import BOLD, CAREFUL, Counts, Sample, confidence_sequence, log_e, log_e_ratio
from alice_rl.online.trial import TrialSums

__all__ = ["Decision", "Effect", "Evidence", "GateRules", "Reward", "Verdict", "decide", "judge", "weigh"]


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
class Evidence:
    """Natural logarithms of the e-values: that the canary is better, that it is worse, that outcomes are missing.

    Floats, or arrays of many trials.
    """

    promote: float | npt.NDArray[np.float64]
    rollback: float | npt.NDArray[np.float64]
    ratio: float | npt.NDArray[np.float64]


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
    arms = [sums.arms(**_given(reward, share)) for share, sums in trials.items()]
    policies = [sums.policies(**_given(reward, share)) for share, sums in trials.items()]
    counts = [Counts(sums.n_treatment, sums.n_control + sums.n_treatment, share) for share, sums in trials.items()]
    evidence = weigh(policies, arms, counts, rules.margin)
    promote, rollback, ratio = (float(e) for e in (evidence.promote, evidence.rollback, evidence.ratio))
    requests, canary = sum(int(c.n) for c in counts), sum(int(c.treated) for c in counts)
    felt, differ = (_effect(samples, rules.alpha) for samples in (arms, policies))
    decision = Decision(str(decide(evidence, rules, stable=minutes >= rules.stable_minutes_min)))
    return Verdict(
        decision,
        _reason(decision, differ, felt, requests, canary, evidence, rules, minutes),
        requests,
        canary,
        sum(sums.effective(share) for share, sums in trials.items()),
        differ,
        felt,
        promote,
        rollback,
        ratio,
    )


def weigh(
    policies: Sequence[Sample], arms: Sequence[Sample], counts: Sequence[Counts], margin: float = 0.0
) -> Evidence:
    """The evidence for and against a canary.

    Parameters
    ----------
    policies, arms : sequence of Sample
        D and H, one per share.
    counts : sequence of Counts
        One per share.
    margin : float
        What a canary may be worse by and still be promoted, reward.
    """
    worse = [log_e([-sample for sample in samples], 0.0, BOLD) for samples in (policies, arms)]
    return Evidence(
        promote=log_e(policies, -margin, CAREFUL),
        rollback=np.logaddexp(worse[0], worse[1]) - log(2),
        ratio=log_e_ratio(counts),
    )


def decide(evidence: Evidence, rules: GateRules, *, stable: bool = True) -> npt.NDArray[np.str_]:
    """The decision that the evidence makes, or those of many trials: names of `Decision`, in the evidence's shape.

    A promotion waits while outcomes seem to be missing, long before that is certain: where failures are lost, a bad
    canary looks good as quickly as it looks incomplete.

    Parameters
    ----------
    evidence : Evidence
    rules : GateRules
    stable : bool
        Whether the canary has run for long enough to be promoted.
    """
    enough = -log(rules.alpha)
    outcomes = [
        evidence.ratio >= np.float64(-log(rules.alpha_ratio)),
        evidence.rollback >= np.float64(enough),
        (evidence.promote >= np.float64(enough)) & (evidence.ratio < np.float64(enough)) & stable,
    ]
    return np.select(outcomes, [Decision.INVALID, Decision.ROLLBACK, Decision.PROMOTE], Decision.HOLD)


def _given(reward: Reward, share: float) -> dict[str, Any]:
    return {
        "weights": reward.weights,
        "centre": reward.centre,
        "share": share,
        "least": reward.least,
        "most": reward.most,
    }


def _effect(samples: Sequence[Sample], alpha: float) -> Effect:
    n = sum(float(sample.n) for sample in samples)
    if not n:
        return Effect(0.0, -inf, inf)
    return Effect(sum(float(sample.total) for sample in samples) / n, *confidence_sequence(samples, alpha))


def _reason(
    decision: Decision,
    differ: Effect,
    felt: Effect,
    requests: int,
    canary: int,
    evidence: Evidence,
    rules: GateRules,
    minutes: float,
) -> str:
    """Why, in words, with the numbers that decided."""
    after = f"after {requests:,} requests, {canary:,} of them by the canary"
    policies = f"{differ.estimate:+.3f} reward per request (between {differ.lower:+.3f} and {differ.upper:+.3f})"
    needed = 1 / rules.alpha
    if decision is Decision.INVALID:
        return (
            f"the outcomes that came back are not split as the requests were: {canary:,} of {requests:,} are the "
            f"canary's; chance does that at most once in {_times(float(evidence.ratio))} trials: "
            "outcomes are being lost"
        )
    if decision is Decision.ROLLBACK:
        arms = f"{felt.estimate:+.3f} (between {felt.lower:+.3f} and {felt.upper:+.3f})"
        return (
            f"the canary is worse: its policy by {policies}, what its users felt by {arms}, {after}; "
            f"the evidence is {_times(float(evidence.rollback))} where {needed:g} is enough"
        )
    better = f"no worse than {rules.margin:g}" if rules.margin else "better"
    strength = f"the evidence that it is {better} is {_times(float(evidence.promote))}"
    if decision is Decision.PROMOTE:
        return f"the canary is {better}: {policies} {after}; {strength} where {needed:g} is enough"
    if not requests:
        return "no request of the trial has been awaited to its end yet"
    if float(evidence.promote) >= -log(rules.alpha) and float(evidence.ratio) >= -log(rules.alpha):
        return (
            f"the canary looks better: {policies} {after}; but outcomes seem to be missing, "
            f"the evidence for that is {_times(float(evidence.ratio))} where {1 / rules.alpha_ratio:g} is enough"
        )
    if float(evidence.promote) >= -log(rules.alpha):
        return (
            f"the canary is {better}: {policies} {after}; it is promoted once it has run for "
            f"{rules.stable_minutes_min:g} minutes, {minutes:.1f} have passed"
        )
    return (
        f"undecided: {policies} {after}; {strength}, that it is worse {_times(float(evidence.rollback))}, "
        f"and {needed:g} is needed"
    )


def _times(log_value: float) -> str:
    """An e-value for people."""
    if log_value > log(1e6):
        return f"over 10^{int(log_value / log(10))}"
    value = exp(log_value)
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
