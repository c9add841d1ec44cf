"""What every distribution keeps, whatever the scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alice_rl.online.epsilon_greedy import distribution, epsilon
from alice_rl.online.exploration import capped, draw, greedy, igw, linear_thompson, uniform, uniforms, with_floor
from alice_rl.online.thompson import probability_best

scores = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)
shares = st.floats(0.0, 1.0)
unit = st.floats(0.0, 1.0, exclude_max=True)
posteriors = st.lists(st.tuples(st.floats(-50.0, 50.0), st.floats(0.0, 20.0)), min_size=1, max_size=12)
counts = st.lists(st.tuples(st.floats(0.5, 1e7), st.floats(0.5, 1e7)), min_size=1, max_size=12)


@st.composite
def distributions(draw_from: st.DrawFn) -> list[float]:
    """A distribution over 1 to 12 arms, some of them with probability 0."""
    raw = draw_from(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12).filter(lambda raw: sum(raw) > 1e-3))
    return [p / sum(raw) for p in raw]


@st.composite
def distributions_and_caps(draw_from: st.DrawFn) -> tuple[list[float], list[float]]:
    """A distribution and a cap per arm."""
    pi = draw_from(distributions())
    return pi, draw_from(st.lists(st.floats(0.0, 1.2), min_size=len(pi), max_size=len(pi)))


def is_distribution(pi: list[float]) -> bool:
    """Whether `pi` sums to 1 and has no negative entry."""
    return abs(sum(pi) - 1.0) < 1e-12 and min(pi) >= 0.0


@given(scores, shares)
def test_greedy_with_a_floor_is_a_distribution_that_keeps_its_floor(values: list[float], eps: float) -> None:
    """It sums to 1, gives no arm less than `eps / K` and none more than the best."""
    pi = with_floor(greedy(values), eps)
    assert is_distribution(pi)
    assert min(pi) >= eps / len(pi)
    assert pi[values.index(max(values))] == max(pi)


@given(scores, st.floats(0.0, 1e12), st.floats(0.0, 1e6))
def test_epsilon_greedy_keeps_the_floor_for_ever(values: list[float], n: float, half_after: float) -> None:
    """However many turns there were, every tier keeps its share of the floor."""
    eps = epsilon(n, 0.5, 0.04, half_after)
    assert 0.04 <= eps <= 0.5
    assert min(distribution(values, eps)) >= 0.04 / len(values)


@given(distributions_and_caps())
def test_caps_hold_wherever_they_can(case: tuple[list[float], list[float]]) -> None:
    """The result is a distribution; where caps can hold they do, and arms below theirs only gained."""
    pi, caps = case
    got = capped(pi, caps)
    assert is_distribution(got)
    if sum(caps) > 1.0 + 1e-9:
        for before, after, cap in zip(pi, got, caps, strict=True):
            assert after <= cap + 1e-12
            assert after >= min(before, cap) - 1e-12


@given(distributions_and_caps())
def test_arms_with_room_keep_their_proportions(case: tuple[list[float], list[float]]) -> None:
    """Among arms that had a probability and were not capped, the ratios are as before."""
    pi, caps = case
    got = capped(pi, caps)
    if sum(caps) > 1.0 + 1e-9:
        arms = zip(pi, got, caps, strict=True)
        ratios = [after / before for before, after, cap in arms if before > 1e-6 and after < cap - 1e-9]
        assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=1e-6) if ratios else True


@given(distributions(), unit)
def test_draw_never_returns_an_arm_without_probability(pi: list[float], u: float) -> None:
    """Whatever `u`, what is drawn can be logged with a positive propensity."""
    assert pi[draw(pi, u)] > 0.0


@given(distributions(), unit, unit)
def test_draw_is_monotone(pi: list[float], u: float, v: float) -> None:
    """A larger uniform never draws an earlier arm."""
    assert draw(pi, min(u, v)) <= draw(pi, max(u, v))


@given(st.text(st.characters(codec="utf-8")), st.binary(max_size=64))
def test_uniforms_lie_in_the_unit_interval(decision_id: str, salt: bytes) -> None:
    """Any id and any salt give four numbers in [0, 1), the same every time."""
    numbers = uniforms(decision_id, salt)
    assert all(0.0 <= u < 1.0 for u in numbers)
    assert numbers == uniforms(decision_id, salt)


@given(st.text(st.characters(codec="utf-8")), st.binary(max_size=64), st.binary(max_size=16))
def test_a_uniform_for_a_purpose_lies_in_the_unit_interval(decision_id: str, salt: bytes, purpose: bytes) -> None:
    """Any id, salt and purpose give a number in [0, 1), the same every time, and none of the four."""
    u = uniform(decision_id, salt, purpose)
    assert 0.0 <= u < 1.0 and u == uniform(decision_id, salt, purpose)
    assert u not in uniforms(decision_id, salt)


@given(posteriors, st.floats(0.0, 1e4))
def test_igw_is_a_distribution_that_favours_the_best(arms: list[tuple[float, float]], gamma: float) -> None:
    """It sums to 1 and no arm is served more often than the best one."""
    means, sds = [mean for mean, _ in arms], [sd for _, sd in arms]
    pi = igw(means, sds, gamma)
    assert is_distribution(pi)
    assert pi[means.index(max(means))] >= max(pi) - 1e-12


@given(posteriors)
def test_linear_thompson_is_a_distribution(arms: list[tuple[float, float]]) -> None:
    """It sums to 1, and of two arms equally uncertain the better one wins more often."""
    means, sds = [mean for mean, _ in arms], [sd for _, sd in arms]
    pi = linear_thompson(means, sds)
    assert is_distribution(pi)
    for i in range(len(arms)):
        for j in range(len(arms)):
            if sds[i] == sds[j] and means[i] >= means[j]:
                assert pi[i] >= pi[j] - 1e-9


@given(counts)
def test_probability_best_is_a_distribution(arms: list[tuple[float, float]]) -> None:
    """It sums to 1, and an arm with more successes and no more failures wins at least as often."""
    pi = probability_best([a for a, _ in arms], [b for _, b in arms])
    assert is_distribution(pi.tolist())
    for i, (a, b) in enumerate(arms):
        for j, (c, d) in enumerate(arms):
            if a >= c and b <= d:
                assert pi[i] >= pi[j] - 1e-7


@given(st.integers(2, 30), st.floats(0.5, 1e7), st.floats(0.5, 1e7))
def test_equal_posteriors_split_evenly(arms: int, a: float, b: float) -> None:
    """K equal tools have 1/K each, exactly alike."""
    pi = probability_best(np.full(arms, a), np.full(arms, b))
    assert (pi == pi[0]).all()
