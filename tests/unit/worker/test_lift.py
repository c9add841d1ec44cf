"""The lift over the rules: right on known worlds, at any time, and silent without a hold-out."""

from __future__ import annotations

import numpy as np
import pytest

from alice_rl.online.trial import TrialSums
from alice_rl.reward import COMPONENTS, RewardSettings
from alice_rl.trials import Trial
from worker.lift import Lift, lift_of

REWARD = RewardSettings()
SUCCESS = REWARD.weights[COMPONENTS.index("success")]


def world(seed: int, *, turns: int, share: float, rules: float, policy: float) -> TrialSums:
    """Turns that succeed with one probability by the rules, and with another by the policies."""
    rng, sums = np.random.default_rng(seed), TrialSums(len(COMPONENTS))
    for _ in range(turns // 500):
        treated = rng.random(500) < share
        y = np.zeros((500, len(COMPONENTS)), dtype=np.int64)
        y[:, COMPONENTS.index("success")] = rng.random(500) < np.where(treated, policy, rules)
        y[:, COMPONENTS.index("latency_ms")] = 4 * rng.exponential(500.0, 500)
        sums.add(y, treated, np.zeros(500, dtype=np.int64))
    return sums


def measured(trials: dict[float, TrialSums]) -> Lift:
    lift = lift_of({Trial("rules", "policy", share): sums for share, sums in trials.items()}, REWARD)
    assert lift is not None
    return lift


def test_without_a_hold_out_there_is_none() -> None:
    """Nor do canaries' trials make one, nor a hold-out of which nothing counts yet."""
    sums = world(1, turns=500, share=0.9, rules=0.5, policy=0.9)
    assert lift_of({}, REWARD) is None
    assert lift_of({Trial("ab" * 32, "cd" * 32, 0.9): sums}, REWARD) is None
    assert lift_of({Trial("rules", "policy", 0.9): TrialSums(len(COMPONENTS))}, REWARD) is None


def test_a_better_policy_is_told_from_the_rules() -> None:
    """The estimate is near the truth, the interval holds it and leaves 0 out; both sides' means are theirs."""
    lift = measured({0.95: world(2, turns=50_000, share=0.95, rules=0.4, policy=0.9)})
    truth = 0.5 * SUCCESS
    assert lift.estimate == pytest.approx(truth, abs=0.1)
    assert 0.0 < lift.lower < truth < lift.upper
    assert lift.policy_reward == pytest.approx(0.9 * SUCCESS - 0.5, abs=0.02)
    assert lift.rules_reward == pytest.approx(0.4 * SUCCESS - 0.5, abs=0.1)
    assert (lift.turns, lift.share) == (50_000, lift.held_out / 50_000)
    assert lift.share == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize("seed", range(20))
def test_the_interval_holds_the_truth_at_every_look(seed: int) -> None:
    """With equal sides and constant looking, no look leaves the truth out."""
    sums = TrialSums(len(COMPONENTS))
    for look in range(20):
        sums += world(100 * seed + look, turns=500, share=0.8, rules=0.6, policy=0.6)
        lift = measured({0.8: sums})
        assert lift.lower < 0.0 < lift.upper


def test_it_narrows_with_the_turns() -> None:
    """More turns know more; the first few know next to nothing, and say so."""
    widths = [
        lift.upper - lift.lower
        for turns in (500, 5000, 50_000)
        for lift in [measured({0.9: world(3, turns=turns, share=0.9, rules=0.4, policy=0.9)})]
    ]
    assert widths[0] > 3 * widths[1] > 6 * widths[2]


def test_shares_that_changed_are_one_lift() -> None:
    """What was held out at several shares is measured together."""
    parts = {share: world(4, turns=20_000, share=share, rules=0.4, policy=0.8) for share in (0.95, 0.75)}
    lift = measured(parts)
    assert (lift.turns, lift.held_out) == (40_000, sum(sums.n_control for sums in parts.values()))
    assert lift.lower < 0.4 * SUCCESS < lift.upper
    assert lift.estimate == pytest.approx(0.4 * SUCCESS, abs=0.1)


def test_missing_outcomes_of_one_side_are_told() -> None:
    """When every fourth outcome of the rules is lost, the sides are not as they were drawn, and the lift says so."""
    whole, lossy = (world(6, turns=20_000, share=share, rules=0.4, policy=0.8) for share in (0.9, 0.925))
    assert not measured({0.9: whole}).unequal
    assert measured({0.9: lossy}).unequal


def test_other_weights_are_another_lift() -> None:
    """Nothing is folded anew for them: the sums know no reward."""
    sums = world(5, turns=20_000, share=0.75, rules=0.4, policy=0.8)
    trial = {Trial("rules", "policy", 0.75): sums}
    plain, double = lift_of(trial, REWARD), lift_of(trial, RewardSettings(success=2 * SUCCESS))
    assert plain is not None and double is not None
    assert double.estimate == pytest.approx(2 * plain.estimate, abs=0.1)


def test_before_anything_was_held_out_one_side_is_unknown() -> None:
    """The rules have no mean, and the interval is as wide as the reward's range makes it."""
    sums = TrialSums(len(COMPONENTS))
    sums.add(np.zeros((3, len(COMPONENTS)), dtype=np.int64), np.ones(3, dtype=np.bool_), np.zeros(3, dtype=np.int64))
    lift = measured({0.95: sums})
    assert (lift.held_out, lift.rules_reward, lift.policy_reward) == (0, None, 0.0)
    assert lift.lower < 0.0 < lift.upper
