"""Evidence at all times: what its numbers are, and that it is seldom wrong however often somebody looks."""

from __future__ import annotations

import numpy as np
import pytest

from alice_rl.online.confidence import BOLD, CAREFUL, Bets, Counts, Sample, confidence_sequence, log_e, log_e_ratio

RNG = np.random.default_rng


def sample_of(x: np.ndarray, least: float, most: float) -> Sample:
    """The sums of some observations."""
    return Sample(len(x), float(x.sum()), float((x * x).sum()), least, most)


def test_the_e_value_is_the_mixture_of_its_bets() -> None:
    """The three sums give what betting observation by observation gives."""
    x, m = RNG(1).uniform(-1.0, 2.0, 50), 0.3
    b = m + 1.0
    worth = np.zeros_like(BOLD.prior)
    for fraction in range(len(worth)):
        lam = BOLD.fractions[fraction]
        psi = -np.log1p(-lam) - lam
        worth[fraction] = np.exp(sum(lam * (v - m) / b - psi * ((v - m) / b) ** 2 for v in x))
    assert log_e([sample_of(x, -1.0, 2.0)], m, BOLD) == pytest.approx(np.log(BOLD.prior @ worth))


def test_evidence_adds_up_in_any_order() -> None:
    """Parts of a sample are as good as the whole, and shares may be told in any order."""
    x, y = RNG(2).uniform(0, 1, 40), RNG(3).uniform(-5, 5, 30)
    whole = [sample_of(x, 0, 1), sample_of(y, -5, 5)]
    parts = [sample_of(y[:7], -5, 5), sample_of(x, 0, 1), sample_of(y[7:], -5, 5)]
    assert log_e(whole, 0.2) == pytest.approx(log_e(parts, 0.2))
    assert confidence_sequence(whole, 0.05) == pytest.approx(confidence_sequence(parts, 0.05))


@pytest.mark.parametrize("bets", [CAREFUL, BOLD])
def test_a_bet_on_the_truth_seldom_wins_at_any_time(bets: Bets) -> None:
    """Of runs whose mean is the hypothesis, at most a twentieth ever reach 20, looked at after every observation."""
    runs, n = 600, 1500
    x = np.where(RNG(4).random((runs, n)) < 0.05, 20.0, -1 / 0.95 * 1.0) * (RNG(5).random((runs, n)) < 0.3)
    x = x - x.mean()
    seen = Sample(np.arange(1.0, n + 1), x.cumsum(1), (x * x).cumsum(1), float(x.min()), float(x.max()))
    for side in (seen, -seen):
        won = (log_e([side], 0.0, bets) >= np.log(20)).any(axis=1).mean()
        assert won <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)


def test_the_interval_holds_the_mean_and_narrows() -> None:
    """The interval lies around the estimate, inside the range, and is narrower the more was seen."""
    x = RNG(6).random(20_000) < 0.3
    widths = []
    for n in (10, 100, 1_000, 20_000):
        lower, upper = confidence_sequence([sample_of(x[:n].astype(float), 0.0, 1.0)], 0.05)
        assert 0.0 <= lower <= 0.3 <= upper <= 1.0
        widths.append(upper - lower)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.03


def test_nothing_seen_is_no_evidence() -> None:
    """Without observations the e-value is 1, and the interval the whole range."""
    nothing = Sample(0, 0.0, 0.0, -20.0, 5.0)
    assert log_e([nothing]) == pytest.approx(0.0)
    assert confidence_sequence([nothing], 0.05) == (-20.0, 5.0)
    assert log_e_ratio([]) == pytest.approx(0.0)


def test_an_open_range_has_an_open_end() -> None:
    """What is not bounded above has a lower end all the same."""
    x = RNG(7).exponential(1.0, 2_000)
    lower, upper = confidence_sequence([sample_of(x, 0.0, np.inf)], 0.05)
    assert 0.8 < lower < 1.0 and upper == np.inf


def test_an_end_passes_a_mean_when_the_bet_against_it_wins() -> None:
    """The interval and the e-value tell the same: the lower end is where the bet just wins."""
    sample = sample_of((RNG(8).random(3_000) < 0.4).astype(float), 0.0, 1.0)
    lower, upper = confidence_sequence([sample], 0.05)
    assert log_e([sample], lower, CAREFUL) >= np.log(20) > log_e([sample], lower + 1e-6, CAREFUL)
    assert log_e([-sample], -upper, BOLD) >= np.log(20) > log_e([-sample], -upper + 1e-6, BOLD)


def test_rare_large_observations_have_a_lower_end() -> None:
    """Close to the least value no bet wins, however clear it is further up: the end is looked for further up."""
    sample = Sample(2_840, 38.0, 38.0, 0.0, 1.0)
    assert log_e([sample], 38 / 2_840 / 2**9, BOLD) < np.log(20) <= log_e([sample], 0.0046, BOLD)
    assert 0.0046 <= confidence_sequence([sample], 0.05, above=BOLD)[0] < 38 / 2_840


def test_many_trials_at_once() -> None:
    """Arrays of sums give the numbers of each."""
    totals = np.array([3.0, 5.0, 8.0])
    many = log_e([Sample(10.0, totals, totals, 0.0, 1.0)], 0.3)
    assert many == pytest.approx([log_e([Sample(10.0, t, t, 0.0, 1.0)], 0.3) for t in totals])
    ratios = log_e_ratio([Counts(np.array([5.0, 60.0]), 100.0, 0.05)])
    assert ratios == pytest.approx([log_e_ratio([Counts(k, 100.0, 0.05)]) for k in (5.0, 60.0)])


def test_a_skewed_split_is_found_and_a_fair_one_is_not() -> None:
    """Losing two fifths of the canary's outcomes is found within some thousand; a fair split seldom looks skewed."""
    runs, n = 400, 4_000
    fair = (RNG(9).random((runs, n)) < 0.05).cumsum(axis=1).astype(float)
    seen = np.arange(1.0, n + 1)
    assert (log_e_ratio([Counts(fair, seen, 0.05)]) >= np.log(20)).any(axis=1).mean() <= 0.05 + 3 * 0.011
    lossy = (RNG(10).random((runs, n)) < 0.03).cumsum(axis=1).astype(float)
    assert (log_e_ratio([Counts(lossy, seen, 0.05)]) >= np.log(1000)).any(axis=1).mean() > 0.95
