"""From scores to one draw: `alice_rl/online/exploration.py`."""

from __future__ import annotations

from itertools import combinations
from math import erf, sqrt

import numpy as np
import numpy.typing as npt
import pytest

from alice_rl.online.exploration import capped, draw, greedy, igw, linear_thompson, uniform, uniforms, with_floor

IDS = [f"0198c0de-0000-7000-8000-{i:012x}" for i in range(20_000)]


@pytest.fixture(name="drawn", scope="module")
def fixture_drawn() -> npt.NDArray[np.float64]:
    """The four uniforms of 20 000 consecutive ids, shape (20000, 4)."""
    return np.array([uniforms(decision_id, b"alice") for decision_id in IDS])


def chi_square(counts: npt.NDArray[np.float64]) -> float:
    """Pearson's statistic against equal expectations, in standard deviations above its mean."""
    expected = counts.sum() / counts.size
    degrees = counts.size - 1
    return float((((counts - expected) ** 2 / expected).sum() - degrees) / np.sqrt(2.0 * degrees))


def test_greedy_splits_ties_exactly() -> None:
    """Equal best scores share the probability, the rest have none."""
    assert greedy([1.0, 3.0, 3.0, 3.0]) == [0.0, 1 / 3, 1 / 3, 1 / 3]
    assert greedy([-5.0]) == [1.0]
    with pytest.raises(ValueError, match="empty"):
        greedy([])


def test_floor_is_eps_over_the_arms() -> None:
    """An arm of probability 0 gets `eps / K`; `eps = 1` is uniform and 0 changes nothing."""
    assert with_floor([1.0, 0.0, 0.0], 0.03) == pytest.approx([0.98, 0.01, 0.01])
    assert with_floor([1.0, 0.0], 1.0) == [0.5, 0.5]
    assert with_floor([0.3, 0.7], 0.0) == [0.3, 0.7]


def test_caps_that_do_not_bind_change_nothing() -> None:
    """Within its caps a distribution comes back bit for bit."""
    assert capped([0.1, 0.2, 0.7], [1.0, 0.2, 0.7]) == [0.1, 0.2, 0.7]


def test_excess_goes_to_arms_with_room_in_proportion() -> None:
    """What a cap takes away is spread in proportion, and a cap reached that way binds in turn."""
    assert capped([0.6, 0.3, 0.1], [0.2, 1.0, 1.0]) == pytest.approx([0.2, 0.6, 0.2])
    assert capped([0.6, 0.3, 0.1], [0.2, 0.4, 1.0]) == pytest.approx([0.2, 0.4, 0.4])


def test_excess_without_a_claimant_is_spread_evenly() -> None:
    """Where the arms with room have probability 0, they share up to their caps."""
    assert capped([1.0, 0.0, 0.0], [0.4, 1.0, 1.0]) == pytest.approx([0.4, 0.3, 0.3])
    assert capped([1.0, 0.0, 0.0], [0.4, 0.1, 1.0]) == pytest.approx([0.4, 0.1, 0.5])


def test_a_cap_of_zero_closes_an_arm() -> None:
    """An arm with cap 0 is not served."""
    assert capped([0.5, 0.25, 0.25], [0.0, 1.0, 1.0]) == [0.0, 0.5, 0.5]


def test_infeasible_caps_are_exceeded_by_one_factor() -> None:
    """Caps that sum below 1 are scaled up together; caps of 0 alone are ignored."""
    assert capped([0.9, 0.1], [0.1, 0.3]) == pytest.approx([0.25, 0.75])
    assert capped([0.9, 0.1], [0.0, 0.0]) == [0.9, 0.1]


def test_draw_follows_the_cumulative_distribution() -> None:
    """Each arm owns an interval as long as its probability, closed below and open above."""
    pi = [0.25, 0.0, 0.5, 0.25]
    assert [draw(pi, u) for u in (0.0, 0.2499, 0.25, 0.7499, 0.75, 0.9999)] == [0, 0, 2, 2, 3, 3]


def test_draw_survives_rounding() -> None:
    """When the running sum ends below `u`, the last arm with a probability is drawn, never one without."""
    pi = [0.1] * 10 + [0.0]
    total = 0.0
    for p in pi:
        total += p
    assert total < 1.0
    assert draw(pi, 1.0 - 2.0**-53) == 9
    with pytest.raises(ValueError, match="positive"):
        draw([0.0, 0.0], 0.5)


def test_draw_frequencies_match_the_distribution(drawn: npt.NDArray[np.float64]) -> None:
    """Over many ids each arm is drawn as often as its probability says, within five standard errors."""
    pi = np.array([0.01, 0.0, 0.29, 0.6, 0.1])
    counts = np.bincount([draw(pi.tolist(), u) for u in drawn[:, 1].tolist()], minlength=5)
    assert counts[1] == 0
    assert (np.abs(counts - pi * len(drawn)) <= 5.0 * np.sqrt(pi * (1.0 - pi) * len(drawn))).all()


def test_uniforms_are_in_the_unit_interval_and_repeatable(drawn: npt.NDArray[np.float64]) -> None:
    """All lie in [0, 1) on the 53-bit grid, and the same id gives the same numbers."""
    assert ((drawn >= 0.0) & (drawn < 1.0)).all()
    assert (drawn * 2.0**53 % 1.0 == 0.0).all()
    assert uniforms(IDS[7], b"alice") == tuple(drawn[7])


def test_uniforms_are_uniform(drawn: npt.NDArray[np.float64]) -> None:
    """Each of the four fills a hundred bins evenly."""
    for column in drawn.T:
        assert abs(chi_square(np.histogram(column, 100, (0.0, 1.0))[0].astype(np.float64))) < 4.0


def test_uniforms_are_independent_of_each_other(drawn: npt.NDArray[np.float64]) -> None:
    """Every pair fills a 12 by 12 board evenly: the canary split tells nothing about an arm's draw."""
    unit = ((0.0, 1.0), (0.0, 1.0))
    for i, j in combinations(range(4), 2):
        board = np.histogram2d(drawn[:, i], drawn[:, j], 12, unit)[0]
        assert abs(chi_square(board)) < 4.0
        assert abs(np.corrcoef(drawn[:, i], drawn[:, j])[0, 1]) < 5.0 / np.sqrt(len(drawn))


def test_uniforms_of_neighbouring_ids_and_salts_are_independent(drawn: npt.NDArray[np.float64]) -> None:
    """Consecutive ids, and the same id under another salt, have nothing to do with each other."""
    other = np.array([uniforms(decision_id, b"bob") for decision_id in IDS])
    limit = 5.0 / np.sqrt(len(drawn))
    for column in range(4):
        assert abs(np.corrcoef(drawn[:-1, column], drawn[1:, column])[0, 1]) < limit
        assert abs(np.corrcoef(drawn[:, column], other[:, column])[0, 1]) < limit


def test_a_uniform_for_a_purpose_is_independent_of_all_others(drawn: npt.NDArray[np.float64]) -> None:
    """It fills its bins and, beside each of the four and another purpose's, a 12 by 12 board evenly."""
    held, other = (np.array([uniform(name, b"alice", purpose) for name in IDS]) for purpose in (b"holdout", b"other"))
    assert ((held >= 0.0) & (held < 1.0)).all() and (held * 2.0**53 % 1.0 == 0.0).all()
    assert abs(chi_square(np.histogram(held, 100, (0.0, 1.0))[0].astype(np.float64))) < 4.0
    for column in (*drawn.T, other):
        assert abs(chi_square(np.histogram2d(held, column, 12, ((0.0, 1.0), (0.0, 1.0)))[0])) < 4.0
        assert abs(np.corrcoef(held, column)[0, 1]) < 5.0 / np.sqrt(len(IDS))


def test_a_salt_that_is_too_long_is_refused() -> None:
    """A key of more than 64 bytes is not silently cut."""
    with pytest.raises(ValueError, match="64"):
        uniforms("id", b"x" * 65)
    with pytest.raises(ValueError, match="64"):
        uniform("id", b"x" * 65, b"holdout")


def test_igw_weights_by_the_gap_in_posterior_sds() -> None:
    """An arm two sds behind gets `1 / (K + 2 gamma)`; scaling rewards and sds alike changes nothing."""
    pi = igw([1.0, 0.0, 0.0], [0.3, 0.4, 0.0], 10.0)
    assert pi[1] == pytest.approx(1.0 / (3.0 + 10.0 * 2.0))
    assert pi[2] == pytest.approx(1.0 / (3.0 + 10.0 / 0.3))
    assert sum(pi) == pytest.approx(1.0)
    assert igw([7.0, 0.0, 0.0], [2.1, 2.8, 0.0], 10.0) == pytest.approx(pi)


def test_igw_at_its_limits() -> None:
    """`gamma = 0` is uniform, tied leaders share, and certainty about all arms is greedy."""
    assert igw([3.0, 1.0, 2.0], [1.0, 1.0, 1.0], 0.0) == pytest.approx([1 / 3] * 3)
    tied = igw([2.0, 2.0, 1.0], [0.1, 0.5, 0.5], 4.0)
    assert tied[0] == tied[1] > tied[2]
    assert igw([2.0, 1.0], [0.0, 0.0], 4.0) == [1.0, 0.0]


@pytest.mark.parametrize("ratio", [1.0, 3.0, 1e2, 1e5])
@pytest.mark.parametrize("gap", [0.0, 0.3, 1.0, 4.0])
def test_linear_thompson_of_two_arms_is_the_normal_cdf(ratio: float, gap: float) -> None:
    """P(X > Y) is known for two normals, however different their widths."""
    expected = 0.5 * (1.0 + erf(gap / sqrt(2.0)))
    got = linear_thompson([5.0 + gap * sqrt(1.0 + ratio**2), 5.0], [1.0, ratio])
    assert got == pytest.approx([expected, 1.0 - expected], abs=1e-9)


def test_linear_thompson_of_three_arms_has_a_closed_form() -> None:
    """A sure arm at 0 between two standard normals around 0: both are below it a quarter of the time."""
    got = linear_thompson([0.0, 0.0, 0.0], [0.0, 1.0, 1.0])
    assert got == pytest.approx([0.25, 0.375, 0.375], abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_linear_thompson_agrees_with_a_million_draws(seed: int) -> None:
    """Against a million Monte Carlo draws every probability is within five standard errors."""
    rng = np.random.default_rng(seed)
    arms = int(rng.integers(2, 12))
    mean, sd = rng.normal(0.0, 1.0, arms), 10.0 ** rng.uniform(-2.0, 0.5, arms)
    best = np.full(1_000_000, -np.inf)
    winner = np.zeros(1_000_000, dtype=np.intp)
    for k in range(arms):
        drawn = rng.normal(mean[k], sd[k], 1_000_000)
        winner[drawn > best] = k
        np.maximum(best, drawn, out=best)
    share = np.bincount(winner, minlength=arms) / 1e6
    got = np.array(linear_thompson(mean.tolist(), sd.tolist()))
    error = np.sqrt(np.maximum(got * (1.0 - got), 1e-6) / 1e6)
    assert (np.abs(got - share) < 5.0 * error).all()


@pytest.mark.parametrize("arms", [1, 2, 3, 30])
def test_linear_thompson_splits_equal_arms_exactly(arms: int) -> None:
    """Equal posteriors have equal probabilities to the last bit."""
    got = linear_thompson([1e6] * arms, [0.25] * arms)
    assert len(set(got)) == 1
    assert got[0] == pytest.approx(1.0 / arms)


def test_linear_thompson_of_sure_arms_is_greedy() -> None:
    """Without any uncertainty the best arm has everything."""
    assert linear_thompson([1.0, 2.0, 2.0], [0.0, 0.0, 0.0]) == [0.0, 0.5, 0.5]
