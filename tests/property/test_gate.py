"""Evidence: fair bets whatever is played against them, and sums that do not remember how they were added."""

from __future__ import annotations

from math import comb, exp, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alice_rl.online.canary import GateRules, Reward, judge
from alice_rl.online.confidence import BOLD, CAREFUL, Bets, Counts, Sample, confidence_sequence, log_e, log_e_ratio
from alice_rl.online.trial import U_UNIT, TrialSums

shares = st.floats(1 / 256, 255 / 256)
bets = st.sampled_from([CAREFUL, BOLD])
requests = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 30_000), st.booleans(), st.integers(-U_UNIT, 20 * U_UNIT)), max_size=60
)
coins = st.tuples(st.integers(1, 10_000), st.floats(0.0, 1.0), st.floats(1e-3, 30.0), st.floats(-5.0, 5.0))


def trial_of(rows: list[tuple[int, int, bool, int]]) -> TrialSums:
    """The sums of some requests: success, latency, side, difference of the weights."""
    sums = TrialSums(2)
    if rows:
        success, latency, treated, u = (np.array(column) for column in zip(*rows, strict=True))
        sums.add(np.stack((success, latency), axis=1), treated, u)
    return sums


def sample_of(n: int, rate: float, width: float, least: float) -> Sample:
    """The sums of n throws of a coin that is worth `least`, or `width` more."""
    heads = round(n * rate)
    most = least + width
    total = (n - heads) * least + heads * most
    return Sample(n, total, (n - heads) * least * least + heads * most * most, least, most)


@given(requests, st.integers(1, 5), st.randoms())
def test_a_verdict_does_not_remember_how_its_sums_were_added(
    rows: list[tuple[int, int, bool, int]], parts: int, rng: Any
) -> None:
    """However requests are dealt to parts, and in whatever order these are merged, the verdict is the same."""
    shuffled = rng.sample(rows, len(rows))
    whole = trial_of(rows)
    merged = sum((trial_of(shuffled[i::parts]) for i in range(parts)), start=TrialSums(2))
    assert merged.to_bytes() == whole.to_bytes()
    reward = Reward(np.array([2.0, -0.001]), centre=0.5, least=-30.0, most=2.0)
    assert judge({0.05: merged}, reward, GateRules(), 9.0) == judge({0.05: whole}, reward, GateRules(), 9.0)


@given(st.floats(1e-3, 1 - 1e-3), st.integers(1, 25), shares, bets)
def test_no_coin_whose_mean_is_the_hypothesis_makes_a_bet_gain(rate: float, n: int, share: float, bets: Bets) -> None:
    """A bet on a coin of mean 0, and an average of two, is worth 1 at most in expectation: summed over all throws."""
    up, down = (1 - rate) / share, -rate / share
    heads = np.arange(n + 1.0)
    fell = Sample(n, heads * up + (n - heads) * down, heads * up**2 + (n - heads) * down**2, down, up)
    ways = np.array([comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(n + 1)])
    for seen in (fell, -fell):
        assert ways @ np.exp(log_e([seen], 0.0, bets)) <= 1 + 1e-9
        both = np.logaddexp(log_e([fell], 0.0, bets), log_e([-fell], 0.0, bets)) - log(2)
        assert ways @ np.exp(both) <= 1 + 1e-9


@given(st.integers(0, 25), shares)
def test_a_bet_against_the_split_is_fair(n: int, share: float) -> None:
    """The expected worth of the bet against the split is 1 where requests are split as they should be."""
    worth = sum(
        comb(n, k) * share**k * (1 - share) ** (n - k) * exp(float(log_e_ratio([Counts(k, n, share)])))
        for k in range(n + 1)
    )
    assert worth == pytest.approx(1.0)


@given(st.lists(coins, min_size=1, max_size=3), bets, st.floats(0.01, 100.0), st.randoms())
def test_evidence_has_neither_order_nor_unit(
    drawn: list[tuple[int, float, float, float]], bets: Bets, scale: float, rng: Any
) -> None:
    """Shares may come in any order, and rewards in cents as in euros."""
    samples = [sample_of(*coin) for coin in drawn]
    mean = max(sample.least for sample in samples) + 0.1
    evidence = log_e(samples, mean, bets)
    assert log_e(rng.sample(samples, len(samples)), mean, bets) == pytest.approx(evidence, rel=1e-6, abs=1e-6)
    scaled = [Sample(s.n, s.total * scale, s.squares * scale**2, s.least * scale, s.most * scale) for s in samples]
    assert log_e(scaled, mean * scale, bets) == pytest.approx(evidence, rel=1e-6, abs=1e-6)


@given(coins, st.floats(0.001, 0.5))
def test_an_interval_is_where_the_bets_have_not_won(coin: tuple[int, float, float, float], alpha: float) -> None:
    """It lies in the range, around the estimate; a stricter one contains it; beyond its ends no bet has lost."""
    sample = sample_of(*coin)
    lower, upper = confidence_sequence([sample], alpha)
    estimate, tiny = float(sample.total) / float(sample.n), 1e-6 * coin[2]
    assert sample.least <= lower <= estimate + tiny and estimate - tiny <= upper <= sample.most
    stricter = confidence_sequence([sample], alpha / 10)
    assert stricter[0] <= lower + tiny and upper - tiny <= stricter[1]
    for m in np.linspace(lower, estimate, 9)[1:-1]:
        if m > lower + tiny:
            assert log_e([sample], float(m), CAREFUL) < -log(alpha)
    for m in np.linspace(estimate, upper, 9)[1:-1]:
        if m < upper - tiny:
            assert log_e([-sample], -float(m), BOLD) < -log(alpha)
