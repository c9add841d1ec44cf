"""The cache tiers' bandit: `alice_rl/online/epsilon_greedy.py`."""

from __future__ import annotations

import numpy as np
import pytest

from alice_rl.online.epsilon_greedy import distribution, epsilon, means


def test_epsilon_falls_from_start_to_floor() -> None:
    """It starts at `start`, has lost half of its excess at `half_after`, and never goes below `floor`."""
    assert epsilon(0.0, 0.4, 0.05, 200.0) == pytest.approx(0.4)
    assert epsilon(200.0, 0.4, 0.05, 200.0) == pytest.approx(0.225)
    course = [epsilon(n, 0.4, 0.05, 200.0) for n in (0.0, 1.0, 10.0, 1e3, 1e6, 1e12)]
    assert course == sorted(course, reverse=True)
    assert min(course) >= 0.05


def test_no_decay_time_is_the_floor() -> None:
    """`half_after = 0` explores at the floor from the first turn on."""
    assert epsilon(0.0, 0.4, 0.05, 0.0) == 0.05


def test_means_without_pooling_are_plain_means() -> None:
    """With `pooled_counts = 0` a class that was seen has its own mean, the unseen class the tier's."""
    got = means([[2, 4], [2, 0]], [[1.0, 2.0], [3.0, 0.0]], 0.0)
    np.testing.assert_allclose(got, [[0.5, 0.5], [1.5, 0.5], [1.0, 0.5]])


def test_means_shrink_towards_the_tier() -> None:
    """Few turns stay near the tier's mean, many are their own."""
    n, total = np.array([[1.0], [1e6]]), np.array([[5.0], [1e6]])
    got = means(n, total, 10.0)
    overall = (total.sum() / n.sum()).item()
    assert got[0, 0] == pytest.approx((5.0 + 10.0 * overall) / 11.0)
    assert got[1, 0] == pytest.approx(1.0, abs=1e-4)
    assert got[2, 0] == pytest.approx(overall)


@pytest.mark.parametrize("pooled_counts", [0.0, 5.0])
def test_an_untried_tier_has_the_mean_of_all(pooled_counts: float) -> None:
    """A tier nobody tried is neither favoured nor ruled out: it has the grand mean, in every row."""
    got = means([[4, 0], [4, 0]], [[2.0, 0.0], [6.0, 0.0]], pooled_counts)
    np.testing.assert_allclose(got[:, 1], 1.0)


def test_means_before_the_first_turn_are_zero() -> None:
    """Nothing known is 0 for every tier, so the distribution is uniform."""
    got = means(np.zeros((0, 3)), np.zeros((0, 3)), 5.0)
    assert got.tolist() == [[0.0, 0.0, 0.0]]
    assert distribution(got[0].tolist(), 0.1) == pytest.approx([1 / 3, 1 / 3, 1 / 3])


def test_distribution_is_greedy_with_a_floor() -> None:
    """The best tier has `1 - eps + eps / K`, the others `eps / K`; tied tiers share."""
    assert distribution([0.1, 0.9, 0.3], 0.3) == pytest.approx([0.1, 0.8, 0.1])
    assert distribution([0.9, 0.9, 0.3], 0.3) == pytest.approx([0.45, 0.45, 0.1])
    assert distribution([-2.0], 0.3) == pytest.approx([1.0])
