from __future__ import annotations

import msgspec
import numpy as np
import pytest

from alice_rl.events import Context, Decision, PolicyStamp, SlotChoice
from alice_rl.simulation.score import HeldOut, Ledger, Play
from alice_rl.simulation.world import ROUTES, TIERS, Outcome

BEST = ("micro", "none", "L2")


def play(arms: tuple[str, str, str], reward: float, latency_ms: float = 100.0, hit: bool = False) -> Play:
    return Play(arms, Outcome(True, None, latency_ms, 0.001, hit, False, 10), reward, reward)


def decided(p: float | None, version: int | None = 1) -> Decision:
    stamp = PolicyStamp("fallback") if p is None else PolicyStamp("live", version)
    choices = [SlotChoice(arms[0], arms, p, p) for arms in (ROUTES, ("none", "search.web"), TIERS)]
    return Decision("d", 1767225600000, Context("weather"), stamp, None, *choices)


def filled(rewards: list[float], **options) -> Ledger:
    """A ledger whose served policy earned these rewards."""
    ledger = Ledger(**options)
    for reward in rewards:
        ledger.add(decided(0.5), play(BEST, reward), play(BEST, 0.0), play(BEST, 0.0), play(BEST, 9.0))
    return ledger


def test_score_is_the_mean_of_its_window() -> None:
    """A window takes the turns it names, and all by default."""
    ledger = filled([float(n) for n in range(10)])
    assert ledger.score().served.reward == 4.5
    assert ledger.score(8).served.reward == 8.5
    assert ledger.score(2, 4).served.reward == 2.5
    assert (ledger.score(2, 4).turns, ledger.score().oracle.reward) == (2, 9.0)


def test_an_empty_window_has_no_score() -> None:
    """It is refused rather than scored as nothing."""
    with pytest.raises(ValueError, match="no turns"):
        Ledger().score()
    with pytest.raises(ValueError, match="no turns"):
        filled([1.0]).score(1)


def test_precision_is_agreement_with_the_oracle_per_slot() -> None:
    """A slot is right where its arm is the oracle's."""
    ledger = Ledger()
    for arms in (BEST, ("deep", "none", "L2"), ("micro", "search.web", "L1"), ("micro", "none", "L1")):
        ledger.add(decided(0.5), play(arms, 0.0), play(BEST, 0.0), play(BEST, 0.0), play(BEST, 0.0))
    served = ledger.score().served
    assert (served.route_precision, served.tool_precision, served.cache_precision) == (0.75, 0.75, 0.5)
    assert ledger.score().shares["cache"] == {"L1": 0.5, "L2": 0.5, "L3": 0.0}


def test_latency_and_hits_are_those_of_each_player() -> None:
    """The percentile is of the player's own latencies, the rate of its own hits."""
    ledger = Ledger()
    for n in range(100):
        slow = play(BEST, 0.0, latency_ms=1000.0)
        ledger.add(decided(0.5), play(BEST, 0.0, float(n), hit=n < 30), slow, slow, slow)
    score = ledger.score()
    assert score.served.latency_p95_ms == pytest.approx(np.quantile(range(100), 0.95))
    assert (score.served.cache_hit_rate, score.rules.cache_hit_rate) == (0.3, 0.0)
    assert score.rules.latency_p95_ms == 1000.0


def test_weights_leave_out_decisions_without_propensities() -> None:
    """The mean weight is over slots and over the decisions that a policy drew."""
    ledger = Ledger()
    for p in (0.25, None, 0.5):
        ledger.add(decided(p), play(BEST, 0.0), play(BEST, 0.0), play(BEST, 0.0), play(BEST, 0.0))
    score = ledger.score()
    per_turn = [np.mean([1 / (3 * p), 1 / (2 * p), 1 / (3 * p)]) for p in (0.25, 0.5)]
    assert score.weighted == 2
    assert score.mean_weight == pytest.approx(np.mean(per_turn))
    assert score.weight_error == pytest.approx(np.std(per_turn, ddof=1) / 2**0.5)


def test_a_hold_out_is_scored_by_its_sides() -> None:
    """Turns of the rules beside those of the policies; what was drawn for neither is left out."""
    ledger = Ledger()
    for stamp, reward in (
        (PolicyStamp("fallback", holdout_share=0.25), 1.0),
        (PolicyStamp("live", holdout_share=0.25), 2.0),
        (PolicyStamp("canary", holdout_share=0.25), 3.0),
        (PolicyStamp("live", holdout_share=0.25), 4.0),
        (PolicyStamp("fallback"), 50.0),
        (PolicyStamp("live"), 50.0),
    ):
        decision = msgspec.structs.replace(decided(0.5), policy=stamp)
        ledger.add(decision, play(BEST, reward), *[play(BEST, 0.0)] * 3)
    assert ledger.score().holdout == HeldOut(share=0.25, turns=1, reward=1.0, policy_reward=3.0)
    assert ledger.score(4).holdout is None
    only_policies = ledger.score(1, 4).holdout
    assert only_policies is not None and only_policies.share == 0.0 and np.isnan(only_policies.reward)


def test_versions_are_counted_once() -> None:
    """Each version that served counts, the rules do not."""
    ledger = Ledger()
    for version, p in ((1, 0.5), (2, 0.5), (2, 0.5), (None, None)):
        ledger.add(decided(p, version), *[play(BEST, 0.0)] * 4)
    assert ledger.score().versions == 2


def test_a_ledger_forgets_the_oldest_turns() -> None:
    """It holds a bounded number of turns, at least the newest ones, and numbers them as before."""
    ledger = filled([float(n) for n in range(1000)], turns_max=100)
    assert ledger.turns == 1000
    assert ledger.score(990).served.reward == 994.5
    assert ledger.score(900).turns == 100
    assert 100 <= ledger.score().turns <= 200
    with pytest.raises(ValueError, match="no turns"):
        ledger.score(0, 500)


def test_rewards_over_time_are_means_of_equal_parts() -> None:
    """The way up is cut into parts; there are no more parts than turns."""
    ledger = filled([0.0, 2.0, 4.0, 6.0])
    assert ledger.rewards("served", 2) == [1.0, 5.0]
    assert ledger.rewards("served", 50) == [0.0, 2.0, 4.0, 6.0]
