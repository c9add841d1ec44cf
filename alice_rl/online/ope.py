"""Off-policy evaluation: what a policy would have earned on turns that another one has served.

A turn that was served with probability `p`, and that the policy in question serves with probability `pi`, counts
`w = pi / p` times. A pane keeps the sums of `w`, `w r` and their squares over a slice of event time, and panes merge by
`+`; an estimator is a formula over these sums. Clipped weights give bounds and never an estimate.

Weights, rewards and doubly robust terms are rounded once, to a step of `2^-100`; their products and sums are integers
without any error. So parts that are merged in any order have the bits of the whole, and nothing is lost where variances
cancel: what does not vary has an error of 0.

Where what was served could not have been everything that the policy does, its support is lost: the weights fall short
of their mean of 1, and the estimates are about something else. The bounds and the interval still hold then, as what was
never served only adds to rewards that are counted from the least one up. Against wrong propensities nothing helps.

References
----------
Dudik, Langford, Li 2011, "Doubly robust policy evaluation and learning". Swaminathan, Joachims 2015, "The
self-normalized estimator for counterfactual learning". Owen 2013, "Monte Carlo theory, methods and examples", 9.2-9.3,
for the delta method and the effective sample size. Karampatziakis, Mineiro, Ramdas 2021, "Off-policy confidence
sequences".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, ldexp, sqrt
from typing import ClassVar

from alice_rl.online.confidence import Sample, confidence_sequence

__all__ = ["CLIP", "Bounds", "Estimate", "Estimates", "Pane"]

CLIP = 10.0
"""Weights are cut here for the clipped bounds."""

_BITS = 100  # weights down to 1e-14 keep all the digits that a double has
_TERM_MAX = 2.0**200  # of products of four, sums of very many are still doubles
_SUPPORT_N = 100
_SUPPORT_ERRORS = 5.0


@dataclass(frozen=True)
class Estimate:
    """A value in reward per turn with its standard error: that of one look, not of many."""

    value: float
    error: float | None


@dataclass(frozen=True)
class Bounds:
    """What lies below and above a value."""

    lower: float
    upper: float


@dataclass(frozen=True)
class Estimates:
    """What a pane says; None is what cannot be said.

    Attributes
    ----------
    n, unfit : int
        Turns that count, and turns whose propensities are missing or of no use.
    ips, snips, dr : Estimate or None
    effective : float
        Turns of its own that the weighed ones are worth, `(sum w)^2 / sum w^2`.
    mean_weight, max_weight : float or None
        The mean is 1 but for chance, if the logged propensities are right.
    mean_weight_error : float or None
    clipped : Bounds or None
        The mean with clipped weights: below the value, and above it.
    interval : Bounds or None
        Holds the value at all times, each end with an error of `alpha`.
    support_lost : bool
        The mean weight is many of its standard errors from 1.
    """

    n: int
    unfit: int
    ips: Estimate | None
    snips: Estimate | None
    dr: Estimate | None
    effective: float
    mean_weight: float | None
    mean_weight_error: float | None
    max_weight: float | None
    clipped: Bounds | None
    interval: Bounds | None
    support_lost: bool


class Pane:
    """Sums over some turns.

    Attributes
    ----------
    n, unfit : int
        Turns that count, and turns that cannot: they have no usable propensity. They are counted, never repaired.
    max_weight : float

    Examples
    --------
    >>> pane = Pane.of([2.0, 0.5, 0.5], [1.0, 0.0, 1.0])
    >>> pane.estimates(least=0.0, most=1.0).snips.value
    0.8333333333333334
    >>> (pane + Pane.of([1.0], [1.0])).n
    4
    """

    __slots__ = ("_sums", "max_weight", "n", "unfit")

    # Of how many factors each sum's terms are: so many times has it the step.
    _FACTORS: ClassVar = {"w": 1, "w2": 2, "wr": 2, "w2r": 3, "w2r2": 4, "psi": 1, "psi2": 2, "cut": 1, "cut_r": 2}

    def __init__(self) -> None:
        self.n = 0
        self.unfit = 0
        self.max_weight = 0.0
        self._sums = [0] * len(self._FACTORS)

    @classmethod
    def of(cls, w: Sequence[float], r: Sequence[float], psi: Sequence[float] | None = None, unfit: int = 0) -> Pane:
        """The pane of some turns; without a reward model, `psi` is `w r`."""
        pane = cls()
        for i, weight in enumerate(w):
            pane.add(weight, r[i], weight * r[i] if psi is None else psi[i])
        pane.unfit = unfit
        return pane

    def add(self, w: float, r: float, psi: float) -> None:
        """Add one turn.

        Parameters
        ----------
        w : float
            Importance weight, at least 0. What is no number, or is beyond all measure, makes the turn unfit.
        r : float
            Reward.
        psi : float
            Doubly robust term `v + w (r - q)`.
        """
        if not (0.0 <= w <= _TERM_MAX and abs(r) <= _TERM_MAX and abs(psi) <= _TERM_MAX):
            self.unfit += 1
            return
        W, R, P = _steps(w), _steps(r), _steps(psi)
        WR, cut = W * R, min(W, _CLIP_STEPS)
        terms = (W, W * W, WR, W * WR, WR * WR, P, P * P, cut, cut * R)
        self._sums = [total + term for total, term in zip(self._sums, terms, strict=True)]
        self.max_weight = max(self.max_weight, w)
        self.n += 1

    def __add__(self, other: Pane) -> Pane:
        total = Pane()
        total.n, total.unfit = self.n + other.n, self.unfit + other.unfit
        total.max_weight = max(self.max_weight, other.max_weight)
        total._sums = [a + b for a, b in zip(self._sums, other._sums, strict=True)]
        return total

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pane):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # it changes

    @property
    def ips(self) -> Estimate | None:
        """The mean of `w r`; of who served, whose weights are 1, the mean reward."""
        by_name = dict(zip(self._FACTORS, self._sums, strict=True))
        return _mean(self.n, by_name["wr"], by_name["w2r2"], 2 * _BITS)

    def estimates(self, *, least: float, most: float, alpha: float = 0.05) -> Estimates:
        """What the pane says.

        Parameters
        ----------
        least, most : float
            Range of the reward.
        alpha : float
            Error of each end of the interval.
        """
        n, exact = self.n, dict(zip(self._FACTORS, self._sums, strict=True))
        # Of an integer the quotient is rounded once, however large it is.
        s = {name: total / (1 << _BITS * self._FACTORS[name]) for name, total in exact.items()}
        weight = _mean(n, exact["w"], exact["w2"], _BITS)
        return Estimates(
            n=n,
            unfit=self.unfit,
            ips=self.ips,
            snips=_snips(exact),
            dr=_mean(n, exact["psi"], exact["psi2"], _BITS),
            effective=exact["w"] ** 2 / exact["w2"] if exact["w2"] else 0.0,
            mean_weight=weight.value if weight else None,
            mean_weight_error=weight.error if weight else None,
            max_weight=self.max_weight if n else None,
            clipped=_clipped(n, s, least, most) if n else None,
            interval=_interval(n, s, least, most, alpha) if n else None,
            support_lost=n >= _SUPPORT_N and weight is not None and _far_from_one(weight),
        )


def _steps(x: float) -> int:
    return int(ldexp(x, _BITS))


_CLIP_STEPS = _steps(CLIP)


def _mean(n: int, total: int, squares: int, bits: int) -> Estimate | None:
    """A mean of terms in steps of `2^-bits`, with the standard error from the sample variance."""
    if not n:
        return None
    spread = n * squares - total * total  # n (n - 1) times the variance
    return Estimate(total / (n << bits), sqrt(spread / (n * n * (n - 1) << 2 * bits)) if n > 1 else None)


def _snips(s: dict[str, int]) -> Estimate | None:
    """`S = sum w r / sum w`, with its error by the delta method, `sqrt(sum w^2 (r - S)^2) / sum w`."""
    w, wr = s["w"], s["wr"]
    if not w:
        return None
    squared = s["w2r2"] * w * w - 2 * wr * w * s["w2r"] + wr * wr * s["w2"]
    return Estimate(wr / (w << _BITS), sqrt(squared / (w**4 << 2 * _BITS)))


def _clipped(n: int, s: dict[str, float], least: float, most: float) -> Bounds:
    """With smaller weights, gains above the least reward shrink, and so do losses below the most."""
    return Bounds(least + (s["cut_r"] - least * s["cut"]) / n, most - (most * s["cut"] - s["cut_r"]) / n)


def _interval(n: int, s: dict[str, float], least: float, most: float, alpha: float) -> Bounds:
    """From below by `w (r - least)`, from above by `w (most - r)`: neither is negative, and `w` has mean 1."""
    above = Sample(n, s["wr"] - least * s["w"], _squared(s, least), 0.0, inf)
    below = Sample(n, most * s["w"] - s["wr"], _squared(s, most), 0.0, inf)
    lower, upper = (confidence_sequence([sample], alpha)[0] for sample in (above, below))
    return Bounds(min(most, least + lower), max(least, most - upper))


def _squared(s: dict[str, float], centre: float) -> float:
    """`sum w^2 (r - centre)^2`."""
    return max(0.0, s["w2r2"] - 2 * centre * s["w2r"] + centre * centre * s["w2"])


def _far_from_one(weight: Estimate) -> bool:
    # Probabilities that are worked out again may be off by a rounding error, which has no spread to be held against.
    return abs(weight.value - 1.0) > _SUPPORT_ERRORS * (weight.error or 0.0) + 1e-9
