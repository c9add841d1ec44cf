"""Evidence that may be looked at after every request: e-processes and confidence sequences from three sums.

A bet against a hypothesis starts with one unit of money and is fair, or worse, as long as the hypothesis holds. What it
is worth by now is the *e-value*: by Ville's inequality it ever reaches `1/alpha` with probability `alpha` at most,
however often somebody looks and whenever they stop. One bet per fraction `lambda_j`, the money spread over them:

    E = sum_j prior_j exp( lambda_j (S - n m) / b - psi(lambda_j) sum (X - m)^2 / b^2 ),   psi(l) = -log(1 - l) - l

is an e-process against "the mean is at most m" for observations with `X - m >= -b`. It needs `n`, `sum X` and `sum X^2`
alone, so evidence adds up in any order. Observations of several ranges (shares) are bet on in units of their own `b`,
which is known before they are made.

References
----------
Fan, Grama, Liu 2015, "Exponential inequalities for martingales with applications", for the exponent. Howard, Ramdas,
McAuliffe, Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences", for mixtures. Waudby-Smith,
Wu, Ramdas, Karampatziakis, Mineiro 2022, "Anytime-valid off-policy inference for contextual bandits", for its use here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["BOLD", "CAREFUL", "Bets", "Counts", "Sample", "confidence_sequence", "log_e", "log_e_ratio"]

FloatArray = npt.NDArray[np.float64]
Floats = float | FloatArray

_STEPS = 256
_HALVINGS = 48


class Sample(NamedTuple):
    """Sums of bounded observations `X_1 .. X_n`, all that their evidence needs.

    `n`, `total = sum X`, `squares = sum X^2`; every X lies in `[least, most]`, whatever happens.
    """

    n: Floats
    total: Floats
    squares: Floats
    least: Floats
    most: Floats

    def __neg__(self) -> Sample:
        """The sums of `-X`."""
        return Sample(self.n, -self.total, self.squares, -self.most, -self.least)


class Counts(NamedTuple):
    """How many of `n` requests the treatment served, of which it was to serve `share`."""

    treated: Floats
    n: Floats
    share: Floats


class Bets(NamedTuple):
    """Fractions that are bet, and how the money is spread over them: ndarrays, shape (J,), the latter of sum 1."""

    fractions: FloatArray
    prior: FloatArray

    @classmethod
    def around(cls, centre: float, spread: float, count: int = 20) -> Bets:
        """Log-spaced fractions: a bell of log-width `spread` around `centre`, and a quarter of the money spread evenly.

        The latter is for ranges that are much wider than what is ever seen, as that of a latency is: there, the best
        bet is the largest.
        """
        fractions = np.geomspace(0.004, 0.9, count)
        bell = np.exp(-0.5 * (np.log(fractions / centre) / spread) ** 2)
        return cls(fractions, 0.75 * bell / bell.sum() + 0.25 / count)


CAREFUL = Bets.around(0.045, 0.7)
"""For a promotion: gains are a few percent as a rule, and found soonest by small bets."""

BOLD = Bets.around(0.15, 1.0)
"""For a rollback: large bets as well, because what is badly broken should be gone at once."""


def log_e(samples: Sequence[Sample], mean: Floats = 0.0, bets: Bets = BOLD) -> Floats:
    """Natural logarithm of the e-value against "the observations' mean is at most `mean`".

    Parameters
    ----------
    samples : sequence of Sample
        One per range; fields may be arrays that broadcast.
    mean : float or ndarray
        m; above every `least`.
    bets : Bets

    Returns
    -------
    float or ndarray
        0 where nothing was observed.

    Examples
    --------
    >>> round(log_e([Sample(200, 60.0, 60.0, 0.0, 1.0)], mean=0.2), 2), log_e([Sample(0, 0.0, 0.0, 0.0, 1.0)], mean=0.2)
    (2.9, 0.0)
    """
    fractions = bets.fractions
    exponent: FloatArray = np.zeros(fractions.shape)
    for n, total, squares, least, _ in samples:
        b = mean - least
        gain = np.asarray((total - n * mean) / b)
        spread = np.asarray(np.maximum(squares - 2 * mean * total + n * mean * mean, 0.0) / b**2)
        exponent = exponent + fractions * gain[..., None] - (-np.log1p(-fractions) - fractions) * spread[..., None]
    return _log_mean(exponent, bets.prior)


def confidence_sequence(
    samples: Sequence[Sample], alpha: float, *, above: Bets = CAREFUL, below: Bets = BOLD
) -> tuple[float, float]:
    """An interval that holds the mean at all times, each end with an error of `alpha`.

    Parameters
    ----------
    samples : sequence of Sample
        One per range, fields not arrays. A range may be infinite on a side, which is then not bounded.
    alpha : float
    above, below : Bets
        For the lower end and for the upper one. With those of the gate, an end passes 0 when the gate decides.

    Examples
    --------
    >>> lower, upper = confidence_sequence([Sample(1000, 300.0, 300.0, 0.0, 1.0)], alpha=0.05)
    >>> round(lower, 3), round(upper, 3)
    (0.259, 0.344)
    >>> confidence_sequence([], alpha=0.05)
    (-inf, inf)
    """
    lower = _lower_end(samples, alpha, above)
    upper = -_lower_end([-sample for sample in samples], alpha, below)
    return lower, max(lower, upper)


def log_e_ratio(counts: Sequence[Counts]) -> Floats:
    """Natural logarithm of the e-value against "each side was told of as often as it was served".

    Parameters
    ----------
    counts : sequence of Counts
        One per share; fields may be arrays that broadcast.

    Notes
    -----
    Bets on odds that are `exp(theta)` times the intended ones, for thetas of either sign. A likelihood ratio of
    independent draws is a function of their counts.

    Examples
    --------
    >>> log_e_ratio([Counts(50, 1000, 0.05)]) < 0 < log_e_ratio([Counts(20, 1000, 0.05)])
    True
    """
    exponent: FloatArray = np.zeros(_TILTS.shape)
    for treated, n, share in counts:
        base = np.log1p(np.asarray(share)[..., None] * np.expm1(_TILTS))
        exponent = (
            exponent + _TILTS * np.asarray(treated, dtype=np.float64)[..., None] - np.asarray(n)[..., None] * base
        )
    return _log_mean(exponent, np.full(_TILTS.shape, 1 / len(_TILTS)))


_TILTS = np.concatenate((-np.geomspace(0.02, 4.0, 12), np.geomspace(0.02, 4.0, 12)))


def _log_mean(exponent: FloatArray, prior: FloatArray) -> Floats:
    """`log sum_j prior_j exp(exponent_j)` over the last axis."""
    weighed = exponent + np.log(prior)
    most = weighed.max(axis=-1)
    value = most + np.log(np.exp(weighed - most[..., None]).sum(axis=-1))
    return float(value) if value.ndim == 0 else value


def _lower_end(samples: Sequence[Sample], alpha: float, bets: Bets) -> float:
    """The largest m against which the bet has won: below the mean, but with an error of `alpha`.

    A bet that has won against m has not always won against everything below: close to the least value each observation
    is far above m in units of `b`, and psi takes more than lambda brings. So the steps are looked at first.
    """
    least = max((float(sample.least) for sample in samples), default=-np.inf)
    n = sum(float(sample.n) for sample in samples)
    high = sum(float(sample.total) for sample in samples) / n if n else least  # where it has not won
    if least == -np.inf or high <= least:
        return least
    steps = least + (high - least) * np.arange(1, _STEPS) / _STEPS
    won = np.flatnonzero(log_e(samples, steps, bets) >= -np.log(alpha))
    if not len(won):
        return least
    low, high = float(steps[won[-1]]), float([*steps, high][won[-1] + 1])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if log_e(samples, middle, bets) >= -np.log(alpha) else (low, middle)
    return low
