"""Verdicts: which evidence leads to which, and what they say."""

from __future__ import annotations

import numpy as np
import pytest

from alice_rl.online.canary import Decision, Evidence, GateRules, Reward, decide, judge
from alice_rl.online.trial import U_UNIT, TrialSums

REWARD = Reward(np.array([1.0]), centre=0.3, least=0.0, most=1.0)
RULES = GateRules()


def trial(n: int, share: float, live: float, canary: float, *, overlap: float = 0.0, lost: float = 0.0) -> TrialSums:
    """A trial of rewards of 0 and 1; `lost` is the part of the canary's failures that nobody hears of."""
    rng = np.random.default_rng(3)
    treated, same = rng.random(n) < share, rng.random(n) < overlap
    good = rng.random(n) < np.where(treated, canary, live)
    told = ~(treated & ~good & (rng.random(n) < lost))
    u = np.where(same, 0.0, np.where(treated, 1 / share, -1 / (1 - share)))
    sums = TrialSums(1)
    sums.add(good[told][:, None].astype(np.int64), treated[told], np.rint(u[told] * U_UNIT).astype(np.int64))
    return sums


@pytest.mark.parametrize(
    ("sums", "decision", "words"),
    [
        (trial(3_000, 0.05, 0.3, 0.1), Decision.ROLLBACK, "the canary is worse"),
        (trial(60_000, 0.05, 0.3, 0.35), Decision.PROMOTE, "the canary is better"),
        (trial(20_000, 0.05, 0.3, 0.3), Decision.HOLD, "undecided"),
        (trial(20_000, 0.05, 0.3, 0.3, lost=0.6), Decision.INVALID, "outcomes are being lost"),
        (trial(0, 0.05, 0.3, 0.3), Decision.HOLD, "no request of the trial"),
        (trial(12_000, 0.05, 0.3, 0.1, overlap=1.0), Decision.ROLLBACK, "what its users felt by -0.2"),
    ],
    ids=["worse", "better", "equal", "lossy", "nothing yet", "broken serving"],
)
def test_the_verdict_follows_the_evidence(sums: TrialSums, decision: Decision, words: str) -> None:
    """Each story has its verdict, and the reason says why."""
    verdict = judge({0.05: sums}, REWARD, RULES, minutes=60.0)
    assert verdict.decision is decision
    assert words in verdict.reason
    assert verdict.canary_requests == sums.n_treatment
    assert verdict.policies.lower <= verdict.policies.estimate <= verdict.policies.upper


def test_shares_are_weighed_together() -> None:
    """What was seen at one share of a ramp counts at the next."""
    early, late = trial(20_000, 0.05, 0.3, 0.345), trial(9_000, 0.25, 0.3, 0.345)
    alone = judge({0.25: late}, REWARD, RULES, 60.0)
    both = judge({0.05: early, 0.25: late}, REWARD, RULES, 60.0)
    assert both.requests == 29_000
    assert both.log_e_promote > alone.log_e_promote


def test_a_promotion_waits_for_its_minutes_and_a_rollback_does_not() -> None:
    """A canary that is better is held until it has run for long enough; one that is worse goes at once."""
    verdict = judge({0.05: trial(60_000, 0.05, 0.3, 0.35)}, REWARD, RULES, minutes=1.0)
    assert verdict.decision is Decision.HOLD and "once it has run for 5 minutes" in verdict.reason
    assert judge({0.05: trial(3_000, 0.05, 0.3, 0.1)}, REWARD, RULES, minutes=0.0).decision is Decision.ROLLBACK


def test_a_margin_lets_an_equal_canary_pass() -> None:
    """With a margin, a canary need only be no worse than that."""
    equal = {0.25: trial(60_000, 0.25, 0.3, 0.3)}
    assert judge(equal, REWARD, RULES, 60.0).decision is Decision.HOLD
    verdict = judge(equal, REWARD, GateRules(margin=0.03), 60.0)
    assert verdict.decision is Decision.PROMOTE and "no worse than 0.03" in verdict.reason


def test_missing_outcomes_come_first_and_hold_a_promotion_before() -> None:
    """Void beats worse beats better; evidence of loss that is not enough yet keeps a promotion back."""
    sure, hint = np.log(1e4), np.log(30.0)
    for promote, rollback, ratio, decision in (
        (sure, sure, sure, Decision.INVALID),
        (sure, sure, 0.0, Decision.ROLLBACK),
        (sure, 0.0, hint, Decision.HOLD),
        (sure, 0.0, 0.0, Decision.PROMOTE),
        (hint, 0.0, 0.0, Decision.PROMOTE),
        (0.0, 0.0, 0.0, Decision.HOLD),
    ):
        assert str(decide(Evidence(promote, rollback, ratio), RULES)) == decision
    waits = judge({0.05: trial(9_000, 0.05, 0.3, 0.45, lost=0.6)}, REWARD, GateRules(alpha_ratio=1e-30), 60.0)
    assert waits.decision is Decision.HOLD and "outcomes seem to be missing" in waits.reason


def test_a_rollback_averages_the_two_bets() -> None:
    """Where policies are equal and serving is broken, the evidence is half of the arms' own."""
    sums = trial(9_000, 0.05, 0.3, 0.1, overlap=1.0)
    verdict = judge({0.05: sums}, REWARD, RULES, 60.0)
    assert verdict.policies.estimate == 0.0
    assert verdict.arms.upper < 0.0
