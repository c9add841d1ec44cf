"""A trial's sums: exact, additive, and the two differences that they give."""

from __future__ import annotations

import numpy as np
import pytest

from alice_rl.online.trial import U_UNIT, TrialSums

WEIGHTS = np.array([2.0, -0.001])
REWARD = {"centre": 0.4, "share": 0.25, "least": -30.0, "most": 2.0}


def made(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Components, sides and weight differences of some requests."""
    rng = np.random.default_rng(seed)
    y = np.stack((rng.integers(0, 2, n), rng.integers(0, 30_000, n)), axis=1)
    treated = rng.random(n) < 0.25
    u = np.rint(np.where(treated, 1 / 0.25, -1 / 0.75) * rng.random(n) * U_UNIT).astype(np.int64)
    return y, treated, u


def sums_of(n: int, seed: int = 1) -> TrialSums:
    """The sums of these."""
    sums = TrialSums(2)
    sums.add(*made(n, seed))
    return sums


def test_differences_are_those_of_the_definition() -> None:
    """H and D, their squares and their range, are what summing over the requests gives."""
    y, treated, u = made(500)
    r = y @ WEIGHTS - 0.4
    felt = np.where(treated, 1 / 0.25, -1 / 0.75) * r
    differ = u / U_UNIT * r
    for sample, x in ((sums_of(500).arms(WEIGHTS, **REWARD), felt), (sums_of(500).policies(WEIGHTS, **REWARD), differ)):
        assert (sample.n, sample.total, sample.squares) == pytest.approx((500, x.sum(), (x * x).sum()))
        assert sample.least == pytest.approx(4 * -30.4)
        assert sample.most == pytest.approx(max(4 * 1.6, 30.4 / 0.75))
        assert sample.least <= x.min() and x.max() <= sample.most


def test_sums_are_exact_beyond_64_bits() -> None:
    """The largest weights and components, many times, are summed without an error."""
    u = np.full(1000, (1 << 24) - 1)
    y = np.full((1000, 1), 120_000)
    sums = TrialSums(1)
    sums.add(y, np.ones(1000, dtype=np.bool_), u)
    sums.add(y, np.ones(1000, dtype=np.bool_), -u)
    q = 2000 * int(u[0]) ** 2
    assert sums.squares.tolist() == [q, q * 120_000, q * 120_000**2]
    assert q * 120_000**2 > 1 << 63
    assert sums.weighted.tolist() == [0, 0]


def test_parts_add_up_to_the_whole_whatever_their_order() -> None:
    """Sums of parts are those of the whole, to the byte."""
    y, treated, u = made(300)
    whole, parts = sums_of(300), []
    for rows in np.array_split(np.random.default_rng(5).permutation(300), 7):
        part = TrialSums(2)
        part.add(y[rows], treated[rows], u[rows])
        parts.append(part)
    assert sum(parts[1:], start=parts[0]).to_bytes() == whole.to_bytes()


def test_sums_survive_their_bytes() -> None:
    """What is read back is what was written, signs included."""
    sums = sums_of(50)
    again = TrialSums.from_bytes(2, sums.to_bytes())
    assert again.to_bytes() == sums.to_bytes()
    assert len(sums.to_bytes()) == TrialSums.size(2)
    assert (again.n_control, again.n_treatment) == (sums.n_control, sums.n_treatment)


def test_the_centre_shifts_no_mean_but_by_the_weights() -> None:
    """Another centre changes D by the mean of u times the difference: nothing, where u has mean 0."""
    sums = sums_of(400)
    one, other = (sums.policies(WEIGHTS, **{**REWARD, "centre": centre}) for centre in (0.0, 1.0))
    assert one.total - other.total == pytest.approx(float(sums.weighted[0]) / U_UNIT)


def test_the_effective_size_is_that_of_the_mixture_weights() -> None:
    """(sum w)^2 / sum w^2 of w = 1 + (1 - rho) u; nothing without requests."""
    _, _, u = made(400)
    w = 1 + 0.75 * u / U_UNIT
    assert sums_of(400).effective(0.25) == pytest.approx(w.sum() ** 2 / (w * w).sum())
    assert TrialSums(2).effective(0.25) == 0.0


def test_what_the_treatment_would_never_do_has_no_effective_size() -> None:
    """While only the control has served, and nothing that the treatment would do, there is nothing of the latter."""
    sums = TrialSums(1)
    sums.add(np.ones((3, 1), dtype=np.int64), np.zeros(3, dtype=np.bool_), np.full(3, -2 * U_UNIT))
    assert sums.effective(0.5) == 0.0
