"""Beta posteriors and P(best): `alice_rl/online/thompson.py`."""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from math import comb, pi

import numpy as np
import numpy.typing as npt
import pytest

from alice_rl.online.thompson import posterior, probability_best

Poly = list[Fraction]


def times(p: Poly, q: Poly) -> Poly:
    """Product of two polynomials, lowest power first."""
    out = [Fraction(0)] * (len(p) + len(q) - 1)
    for i, x in enumerate(p):
        for j, y in enumerate(q):
            out[i + j] += x * y
    return out


def density(a: int, b: int) -> Poly:
    """Beta(a, b) density for whole a, b, as a polynomial."""
    scale = Fraction(comb(a + b - 2, a - 1) * (a + b - 1))
    return [Fraction(0)] * (a - 1) + [scale * comb(b - 1, i) * (-1) ** i for i in range(b)]


def antiderivative(p: Poly) -> Poly:
    """Integral from 0."""
    return [Fraction(0), *(x / (i + 1) for i, x in enumerate(p))]


def exact(a: list[int], b: list[int]) -> list[float]:
    """P(best) in rational arithmetic."""
    f = [density(*arm) for arm in zip(a, b, strict=True)]
    F = [antiderivative(p) for p in f]
    return [
        float(sum(antiderivative(reduce(times, (*F[:k], *F[k + 1 :]), f[k])), start=Fraction(0))) for k in range(len(a))
    ]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1, 2], [1, 1]),
        ([1, 30], [1, 3]),
        ([3, 1, 7], [4, 1, 2]),
        ([2, 2, 5, 9], [3, 3, 1, 9]),
        ([1, 1, 1, 1, 1, 2], [1, 1, 1, 1, 1, 2]),
        ([25, 1, 4], [1, 25, 4]),
    ],
)
def test_agrees_with_rational_arithmetic(a: list[int], b: list[int]) -> None:
    """For whole parameters P(best) is rational, and the quadrature finds it to eleven digits."""
    np.testing.assert_allclose(probability_best(a, b), exact(a, b), rtol=0.0, atol=1e-11)


def test_agrees_with_the_closed_form_of_two_arms_at_large_counts() -> None:
    """P(X > Y) for whole parameters is a finite sum; hundreds of counts agree to ten digits."""
    a1, b1, a2, b2 = 180, 220, 170, 240

    def log_beta(a: int, b: int) -> float:
        return float(
            np.sum(np.log(np.arange(1, a))) + np.sum(np.log(np.arange(1, b))) - np.sum(np.log(np.arange(1, a + b)))
        )

    terms = [log_beta(a1 + i, b1 + b2) - np.log(b2 + i) - log_beta(1 + i, b2) - log_beta(a1, b1) for i in range(a2)]
    second_wins = 1.0 - float(np.sum(np.exp(terms)))
    # The sum is P(second > first) counted over the second's successes.
    assert probability_best([a2, a1], [b2, b1]).tolist() == pytest.approx([1.0 - second_wins, second_wins], abs=1e-10)


def test_arcsine_arms() -> None:
    """Densities with poles at 0 and 1 give the integrals that are known in closed form."""
    assert probability_best([0.5, 1.0], [0.5, 1.0]).tolist() == pytest.approx([0.5, 0.5], abs=1e-12)
    # P(X > Y) = E[1 - (1 - X)^2] = 1 - E[X^2] = 1 - 3/8 for X arcsine, Y ~ Beta(1, 2).
    assert probability_best([0.5, 1.0], [0.5, 2.0])[0] == pytest.approx(0.625, abs=1e-12)
    # Against the uniform an arm wins with its mean; Beta(1/2, 1) has F(t) = sqrt(t), and E sqrt(U) = 2/3.
    assert probability_best([1.5, 1.0], [0.5, 1.0])[0] == pytest.approx(0.75, abs=1e-12)
    assert probability_best([1.0, 0.5], [1.0, 1.0])[0] == pytest.approx(2.0 / 3.0, abs=1e-12)
    # E sqrt(X) for X arcsine is 2 / pi.
    assert probability_best([0.5, 0.5], [0.5, 1.0])[0] == pytest.approx(2.0 / pi, abs=1e-12)


@pytest.mark.parametrize("scale", [0.5, 1.0, 37.0, 1e4, 1e7])
@pytest.mark.parametrize("arms", [1, 2, 3, 10, 30])
def test_equal_arms_share_exactly(scale: float, arms: int) -> None:
    """Equal posteriors split evenly to the last bit."""
    got = probability_best(np.full(arms, scale), np.full(arms, 0.7 * scale))
    assert (got == got[0]).all()
    assert got[0] == pytest.approx(1.0 / arms, rel=1e-15)


def test_equal_arms_among_others_are_equal_to_the_last_bit() -> None:
    """Ties between some arms are exact wherever those arms stand, and the order of arms does not matter."""
    a, b = np.array([9.0, 2.0, 9.0, 5.0, 2.0]), np.array([4.0, 1.0, 4.0, 5.0, 1.0])
    got = probability_best(a, b)
    assert got[0] == got[2]
    assert got[1] == got[4]
    order = np.array([3, 0, 4, 2, 1])
    np.testing.assert_allclose(probability_best(a[order], b[order]), got[order], rtol=1e-12)


@pytest.mark.parametrize("arms", [2, 7, 30])
def test_agrees_with_the_normal_limit(arms: int) -> None:
    """At ten million counts an arm a posterior sd of the difference ahead wins as a normal would."""
    size, rate = 1e7, 0.3
    sd = np.sqrt(rate * (1.0 - rate) / size)
    a = np.full(arms, rate * size)
    a[0] += sd * np.sqrt(2.0) * size
    got = probability_best(a, size - a)
    rng = np.random.default_rng(0)
    z = rng.standard_normal((200_000, arms))
    z[:, 0] += np.sqrt(2.0)
    wins = np.bincount(z.argmax(axis=1), minlength=arms) / 200_000
    assert np.abs(got - wins).max() < 5.0 * np.sqrt(0.25 / 200_000)
    if arms == 2:
        assert got[0] == pytest.approx(0.8413447460685429, abs=1e-4)  # the normal cdf at 1


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_a_million_draws(seed: int) -> None:
    """Against a million Monte Carlo draws every probability is within five standard errors."""
    rng = np.random.default_rng(seed)
    arms = int(rng.integers(2, 9))
    size = 10.0 ** rng.uniform(0.0, 5.0, arms) if seed % 2 else np.full(arms, 20.0)
    rate = np.clip(0.6 + rng.normal(0.0, 1.0, arms) / np.sqrt(size + 1.0), 0.05, 0.95)
    a, b = np.maximum(size * rate, 0.5), np.maximum(size * (1.0 - rate), 0.5)
    best = np.zeros(1_000_000)
    winner = np.zeros(1_000_000, dtype=np.intp)
    for k in range(arms):  # arm by arm, to hold two columns and not all
        drawn = rng.beta(a[k], b[k], 1_000_000)
        winner[drawn > best] = k
        np.maximum(best, drawn, out=best)
    share = np.bincount(winner, minlength=arms) / 1e6
    got = probability_best(a, b)
    error = np.sqrt(np.maximum(got * (1.0 - got), 1e-6) / 1e6)
    assert (np.abs(got - share) < 5.0 * error).all()


@pytest.mark.parametrize("seed", range(4))
def test_splitting_panels_changes_nothing(seed: int) -> None:
    """An arm that cannot win adds panels everywhere, and moves no probability by more than 1e-9."""
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.uniform(-0.3, 7.0, 12)
    a, b = (
        np.maximum(size * 0.5, 0.5),
        np.maximum(size * 0.5 * (1.0 + rng.normal(0.0, 1.0, 12) / np.sqrt(size + 9)), 0.5),
    )
    got = probability_best(a, b)
    with_loser = probability_best(np.r_[a, 1.0, 3.0], np.r_[b, 1e7, 1e6])
    np.testing.assert_allclose(with_loser[:12], got, rtol=0.0, atol=1e-8)
    assert with_loser[12:].max() < 1e-12


def test_dominated_and_lone_arms() -> None:
    """A hopeless arm has nothing but rounding, a lone arm is certain, no arm is an empty answer."""
    got = probability_best([1e6, 1.0], [1.0, 1e6])
    assert got[0] == pytest.approx(1.0, abs=1e-12)
    assert 0.0 <= got[1] < 1e-12
    assert probability_best([3.0], [8.0]).tolist() == [1.0]
    assert probability_best([], []).tolist() == []


@pytest.mark.parametrize(("a", "b"), [([0.0, 1.0], [1.0, 1.0]), ([1.0, np.nan], [1.0, 1.0]), ([1.0], [np.inf])])
def test_bad_parameters_are_refused(a: list[float], b: list[float]) -> None:
    """Parameters that no Beta distribution has raise at once."""
    with pytest.raises(ValueError, match="positive"):
        probability_best(a, b)


def test_posterior_without_pooling_is_counts_and_prior() -> None:
    """Each intent is alone, and an unseen intent has the prior."""
    a, b = posterior([[3, 0], [1, 5]], [[1, 0], [0, 2]], alpha_prior=2.0, beta_prior=0.5)
    assert a.tolist() == [[5.0, 2.0], [3.0, 7.0], [2.0, 2.0]]
    assert b.tolist() == [[1.5, 0.5], [0.5, 2.5], [0.5, 0.5]]


def test_pooling_borrows_the_tools_overall_rate() -> None:
    """Six pseudo-counts at 3/4 are 4.5 successes and 1.5 failures, for every intent, seen or not."""
    a, b = posterior([[10], [5]], [[0], [5]], pooled_counts=6.0)
    np.testing.assert_allclose(a, [[15.5], [10.5], [5.5]])
    np.testing.assert_allclose(b, [[2.5], [7.5], [2.5]])


def test_nobody_borrows_more_turns_than_there_were() -> None:
    """A tool that was never used keeps its prior; one used twice lends two counts, not six."""
    a, b = posterior([[2, 0]], [[0, 0]], pooled_counts=6.0)
    np.testing.assert_allclose(a, [[5.0, 1.0], [3.0, 1.0]])
    np.testing.assert_allclose(b, [[1.0, 1.0], [1.0, 1.0]])


def test_posterior_of_no_intents_is_the_unseen_row() -> None:
    """Before the first turn there is the prior and nothing else."""
    a, b = posterior(np.zeros((0, 3)), np.zeros((0, 3)), pooled_counts=6.0)
    counts: npt.NDArray[np.float64] = np.ones((1, 3))
    np.testing.assert_array_equal(a, counts)
    np.testing.assert_array_equal(b, counts)
