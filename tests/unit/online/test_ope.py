"""Estimators against independent sums, against another library, and against the truth."""

from __future__ import annotations

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
from estimators.bandits import gaussian, ips, snips

from alice_rl.online.earlier_means import EarlierMeans
from alice_rl.online.ope import CLIP, Estimates, Pane

RANGE = {"least": -1.0, "most": 2.0}


def log_of(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of the log and of a policy, and rewards in the range."""
    rng = np.random.default_rng(seed)
    p_log, p_policy = rng.uniform(0.02, 1.0, n), rng.uniform(0.0, 1.0, n)
    return p_log, p_policy, rng.uniform(-1.0, 2.0, n)


def said(n: int, seed: int = 1) -> Estimates:
    """What a pane says of such a log."""
    p_log, p_policy, r = log_of(n, seed)
    return Pane.of((p_policy / p_log).tolist(), r.tolist()).estimates(**RANGE)


def test_estimates_are_those_of_independent_sums() -> None:
    """IPS, SNIPS, their errors, sizes and bounds are the textbook's, to nine digits."""
    p_log, p_policy, r = log_of(2_000)
    w, e = p_policy / p_log, said(2_000)
    assert e.ips is not None and e.snips is not None and e.clipped is not None
    close = pytest.approx
    assert e.ips.value == close(np.mean(w * r), rel=1e-9)
    assert e.ips.error == close(np.std(w * r, ddof=1) / np.sqrt(2_000), rel=1e-9)
    ratio = np.sum(w * r) / np.sum(w)
    assert e.snips.value == close(ratio, rel=1e-9)
    assert e.snips.error == close(np.sqrt(np.sum(w**2 * (r - ratio) ** 2)) / np.sum(w), rel=1e-9)
    assert e.effective == close(w.sum() ** 2 / (w * w).sum(), rel=1e-9)
    assert e.n == 2_000
    assert e.max_weight == close(w.max())
    assert e.mean_weight == close(w.mean(), rel=1e-9)
    assert e.mean_weight_error == close(w.std(ddof=1) / np.sqrt(2_000), rel=1e-9)
    cut = np.minimum(w, CLIP)
    assert e.clipped.lower == close(-1.0 + np.mean(cut * (r + 1.0)), rel=1e-9)
    assert e.clipped.upper == close(2.0 - np.mean(cut * (2.0 - r)), rel=1e-9)


def test_estimates_agree_with_vw_estimators() -> None:
    """Another implementation gives the same values and standard errors, to nine digits."""
    theirs = ips.Estimator(), snips.Estimator(), gaussian.Interval()
    for p_log, p_policy, r in zip(*(column.tolist() for column in log_of(3_000, seed=2)), strict=True):
        for estimator in theirs:
            estimator.add_example(p_log, r, p_policy)
    e, (lower, upper) = said(3_000, seed=2), theirs[2].get(alpha=0.05)
    assert e.ips is not None and e.snips is not None
    assert e.ips.value == pytest.approx(theirs[0].get(), rel=1e-9)
    assert e.snips.value == pytest.approx(theirs[1].get(), rel=1e-9)
    assert e.ips.error == pytest.approx((upper - lower) / 2 / 1.959963984540054, rel=1e-9)


def test_doubly_robust_is_the_mean_of_its_terms() -> None:
    """DR is the mean of psi with its sample error; with a perfect model it has no variance left."""
    w, r = [2.0, 0.5, 0.0, 1.5], [1.0, 0.0, 2.0, 1.0]
    psi = [1.3, 0.2, 0.9, 1.1]
    e = Pane.of(w, r, psi).estimates(**RANGE)
    assert e.dr is not None and e.dr.value == pytest.approx(np.mean(psi), rel=1e-12)
    assert e.dr.error == pytest.approx(np.std(psi, ddof=1) / 2, rel=1e-12)
    perfect = Pane.of(w, r, [0.7] * 4).estimates(**RANGE)
    assert perfect.dr is not None and perfect.dr.error == pytest.approx(0.0, abs=1e-9)


def test_what_cannot_be_said_is_none_and_never_zero() -> None:
    """An empty pane says nothing, and without weight SNIPS is undefined."""
    nothing = Pane().estimates(**RANGE)
    assert (nothing.ips, nothing.snips, nothing.dr, nothing.mean_weight, nothing.interval) == (None,) * 5
    never = Pane.of([0.0] * 5, [1.0] * 5, unfit=3).estimates(**RANGE)
    assert never.snips is None and never.ips is not None and never.ips.value == 0.0
    assert never.unfit == 3
    one = Pane.of([1.0], [1.0]).estimates(**RANGE)
    assert one.ips is not None and one.ips.error is None


@pytest.mark.parametrize(("floor", "lost"), [(0.0, True), (0.1, False)], ids=["deterministic", "with a floor"])
def test_lost_support_is_told(floor: float, lost: bool) -> None:
    """A log of a policy without a floor cannot judge another one, and that shows in the mean weight."""
    rng, n = np.random.default_rng(3), 5_000
    best = rng.integers(0, 2, n)  # what the log's policy prefers; the other one prefers arm 0
    p_best = 1.0 - floor / 2
    arm = np.where(rng.random(n) < p_best, best, 1 - best)
    p = np.where(arm == best, p_best, 1.0 - p_best)
    w = np.where(arm == 0, 0.9, 0.1) / p
    e = Pane.of(w.tolist(), rng.random(n).tolist()).estimates(least=0.0, most=1.0)
    assert e.support_lost is lost


def test_constant_weights_other_than_one_are_lost_support() -> None:
    """Where all weights are the same and not 1, no chance explains it."""
    assert Pane.of([0.5] * 200, [1.0] * 200).estimates(**RANGE).support_lost
    assert not Pane.of([1.0] * 200, [1.0] * 200).estimates(**RANGE).support_lost
    assert not Pane.of([0.5] * 20, [1.0] * 20).estimates(**RANGE).support_lost  # too few to tell


def test_the_interval_holds_the_value_at_every_look() -> None:
    """Looked at every hundred turns, the interval of hardly any log ever leaves the truth out."""
    rng, missed, runs, widths = np.random.default_rng(4), 0, 60, []
    for _ in range(runs):
        pane, out = Pane(), False
        for _ in range(10):
            arm = rng.random(100) < 0.2
            r = (rng.random(100) < np.where(arm, 0.6, 0.3)).astype(float)
            w = np.where(arm, 0.8 / 0.2, 0.2 / 0.8)  # the policy takes the arm with .8: its value is .54
            pane += Pane.of(w.tolist(), r.tolist())
            interval = pane.estimates(least=0.0, most=1.0).interval
            assert interval is not None
            width = interval.upper - interval.lower
            out |= not interval.lower <= 0.54 <= interval.upper
        missed += out
        widths.append(width)
    assert missed / runs <= 0.10 + 3 * np.sqrt(0.1 * 0.9 / runs)
    assert np.mean(widths) < 0.4


def test_the_reward_model_knows_earlier_turns_alone() -> None:
    """What is expected of a turn does not depend on that turn; few turns lean on the overall mean."""
    means = EarlierMeans()
    means.learn(("a", "micro"), 1.0)
    before = means.expect(("a", "deep"))
    means.learn(("a", "deep"), -5.0)
    assert before == 1.0
    assert -5.0 < means.expect(("a", "deep")) < -2.0 < means.expect(("a", "micro")) < 1.0


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -0.5, 1e200])
def test_weights_of_no_use_make_a_turn_unfit(weight: float) -> None:
    """What is no weight, or cannot be squared, is counted and changes nothing else."""
    pane = Pane.of([1.0], [1.0])
    pane.add(weight, 1.0, 1.0)
    assert (pane.n, pane.unfit) == (1, 1)
    assert pane.estimates(**RANGE).max_weight == 1.0


def test_nothing_is_lost_to_cancellation() -> None:
    """Tiny weights keep nine digits, and what does not vary has no error."""
    rng = np.random.default_rng(6)
    w, r = rng.uniform(0.5, 1.0, 500) * 1e-9, 100.0 + rng.uniform(0.0, 1.0, 500)
    e = Pane.of(w.tolist(), r.tolist()).estimates(least=0.0, most=200.0)
    assert e.effective == pytest.approx(w.sum() ** 2 / (w * w).sum(), rel=1e-9)
    assert e.snips is not None
    centred = float(np.sum(w * (r - 100.0)) / np.sum(w))
    assert e.snips.error == pytest.approx(np.sqrt(np.sum(w**2 * (r - 100.0 - centred) ** 2)) / w.sum(), rel=1e-9)
    same = Pane.of([1.0] * 50, [1.1] * 50).estimates(**RANGE)
    assert same.ips is not None and same.ips.error == 0.0


@pytest.mark.parametrize("spread", [1e-3, 1e-6, 1e-9])
def test_errors_of_rewards_that_hardly_vary_keep_nine_digits(spread: float) -> None:
    """The delta method's error is that of fractions, though almost all of its sums cancels."""
    rng = np.random.default_rng(8)
    w, r = rng.lognormal(0.0, 2.0, 300).tolist(), (2.5 + spread * rng.random(300)).tolist()
    exact = [(Fraction(a), Fraction(b)) for a, b in zip(w, r, strict=True)]
    total = sum(a for a, _ in exact)
    ratio = sum(a * b for a, b in exact) / total
    snips = Pane.of(w, r).estimates(**RANGE).snips
    assert snips is not None
    assert snips.error == pytest.approx(sqrt(sum(a * a * (b - ratio) ** 2 for a, b in exact) / total**2), rel=1e-9)
