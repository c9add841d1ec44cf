"""A trial's exact sums: two policies side by side on randomised traffic, at one share.

A request is served by the treatment with probability `rho`, else by the control; both policies' probabilities of what
was served are known. With `p_mix = rho pi_t + (1 - rho) pi_c`, the difference of the mixture weights

    u = (pi_t - pi_c) / p_mix,    -1/(1 - rho) <= u <= 1/rho,

has mean 0, and `u (r - m0)` has the difference of the policies' values for its mean, whatever the centre `m0`. What is
kept does not know the reward yet: with `z = (1, y)` of the reward components,

    M_s = sum z z'  per side s,    a = sum u z,    Q = sum u^2 z z',

in integers. Reward weights and centre are put in when somebody asks, as everywhere here.

References
----------
Waudby-Smith, Wu, Ramdas, Karampatziakis, Mineiro 2022, "Anytime-valid off-policy inference for contextual bandits".
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from alice_rl.online.confidence import Sample

__all__ = ["U_UNIT", "TrialSums"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

U_UNIT = 1 << 16
"""Steps of `u` per unit: its rounding is far below what any trial could tell."""

_BYTES = 16  # u^2 y^2 of one request may have 82 bits; a sum of 128 holds 2^45 of them


class TrialSums:
    """Sums of one trial at one share.

    Parameters
    ----------
    outputs : int
        m, the number of reward components.

    Attributes
    ----------
    sides : ndarray of int, shape (2, w)
        Upper triangle of `M_s` by rows, w = (m+1)(m+2)/2: first the control's, then the treatment's.
    weighted : ndarray of int, shape (m+1,)
        `a`, in steps of `1 / U_UNIT`.
    squares : ndarray of int, shape (w,)
        Upper triangle of `Q`, in steps of `1 / U_UNIT^2`.

    Examples
    --------
    >>> sums = TrialSums(1)
    >>> sums.add(np.array([[1], [0], [1]]), np.array([True, False, False]), np.array([65536, -65536, 0]))
    >>> sums.n_control, sums.n_treatment, (sums + sums).n_control
    (2, 1, 4)
    >>> sums.policies(np.array([1.0]), centre=0.5, share=0.5, least=0.0, most=1.0).total
    1.0
    """

    def __init__(self, outputs: int) -> None:
        self._pairs = np.triu_indices(outputs + 1)
        width = len(self._pairs[0])
        self.sides = np.zeros((2, width), dtype=object)
        self.weighted = np.zeros(outputs + 1, dtype=object)
        self.squares = np.zeros(width, dtype=object)

    @property
    def n_control(self) -> int:
        """Requests that the control served."""
        return int(self.sides[0, 0])

    @property
    def n_treatment(self) -> int:
        """Requests that the treatment served."""
        return int(self.sides[1, 0])

    def add(self, y: IntArray, treated: npt.NDArray[np.bool_], u: IntArray) -> None:
        """Add requests.

        Parameters
        ----------
        y : ndarray, shape (N, m)
            Reward components, |y| <= 2^17.
        treated : ndarray of bool, shape (N,)
            Whether the treatment served.
        u : ndarray, shape (N,)
            Weight differences in steps of `1 / U_UNIT`, |u| <= 2^24.
        """
        z = np.concatenate((np.ones((len(y), 1), dtype=np.int64), y), axis=1)
        pairs = z[:, self._pairs[0]] * z[:, self._pairs[1]]  # (N, w)
        self.sides[0] += pairs[~treated].sum(axis=0).astype(object)
        self.sides[1] += pairs[treated].sum(axis=0).astype(object)
        self.weighted += (u @ z).astype(object)
        self.squares += _products(u * u, pairs)

    def __add__(self, other: TrialSums) -> TrialSums:
        total = TrialSums(len(self.weighted) - 1)
        for name in ("sides", "weighted", "squares"):
            setattr(total, name, getattr(self, name) + getattr(other, name))
        return total

    def arms(self, weights: FloatArray, *, centre: float, share: float, least: float, most: float) -> Sample:
        """What users felt: `H = (1{treated}/rho - 1{control}/(1 - rho)) (r - m0)`.

        Parameters
        ----------
        weights : ndarray, shape (m,)
            Reward per step of each component.
        centre : float
            m0, fixed before the trial began.
        share : float
            rho.
        least, most : float
            Range of the reward.
        """
        control, treated = (_form(side, _with_centre(weights, centre), self._pairs) for side in self.sides)
        total = _inner(self.sides[1], weights, centre) / share - _inner(self.sides[0], weights, centre) / (1 - share)
        squares = treated / share**2 + control / (1 - share) ** 2
        return Sample(self.n_control + self.n_treatment, total, squares, *_range(share, least - centre, most - centre))

    def policies(self, weights: FloatArray, *, centre: float, share: float, least: float, most: float) -> Sample:
        """What the policies differ by: `D = u (r - m0)`; parameters as for `arms`."""
        total = _inner(self.weighted, weights, centre) / U_UNIT
        squares = _form(self.squares, _with_centre(weights, centre), self._pairs) / U_UNIT**2
        return Sample(self.n_control + self.n_treatment, total, squares, *_range(share, least - centre, most - centre))

    def effective(self, share: float) -> float:
        """Effective sample size of the treatment's mixture weights, `w = 1 + (1 - rho) u`: `(sum w)^2 / sum w^2`."""
        n, total, squares = self.n_control + self.n_treatment, self.weighted[0] / U_UNIT, self.squares[0] / U_UNIT**2
        w = n + (1 - share) * total
        spread = n + 2 * (1 - share) * total + (1 - share) ** 2 * squares
        return w * w / spread if spread > 0.0 else 0.0  # what the treatment would never do has no weight at all

    def to_bytes(self) -> bytes:
        """The sums one after the other, 128-bit little-endian."""
        flat = (*self.sides.ravel(), *self.weighted, *self.squares)
        return b"".join(int(value).to_bytes(_BYTES, "little", signed=True) for value in flat)

    @classmethod
    def from_bytes(cls, outputs: int, data: bytes) -> TrialSums:
        """The sums that `to_bytes` wrote."""
        sums = cls(outputs)
        chunks = (data[at : at + _BYTES] for at in range(0, len(data), _BYTES))
        flat = np.array([int.from_bytes(chunk, "little", signed=True) for chunk in chunks], dtype=object)
        width = sums.sides.shape[1]
        sums.sides = flat[: 2 * width].reshape(2, width)
        sums.weighted = flat[2 * width : -width]
        sums.squares = flat[-width:]
        return sums

    @classmethod
    def size(cls, outputs: int) -> int:
        """Bytes of one trial's sums."""
        return _BYTES * (3 * (outputs + 1) * (outputs + 2) // 2 + outputs + 1)


def _products(q: IntArray, pairs: IntArray) -> npt.NDArray[np.object_]:
    """`q' pairs` exactly, ndarray of int, shape (w,), although 64 bits do not hold it.

    Notes
    -----
    Integers of numpy wrap, so their product is right in its low 64 bits; that of floats is right in its high 53 or so.
    The one number that agrees with both is the sum, as long as the floats err by less than 2^63: up to sums of 2^110.
    """
    low = (q @ pairs).tolist()
    near = (q.astype(np.float64) @ pairs.astype(np.float64)).tolist()
    return np.array([_agreeing(modulo, about) for modulo, about in zip(low, near, strict=True)], dtype=object)


def _agreeing(low: int, near: float) -> int:
    """The integer nearest to `near` that is `low` modulo 2^64."""
    return low + ((int(near) - low + (1 << 63)) >> 64 << 64)


def _with_centre(weights: FloatArray, centre: float) -> FloatArray:
    return np.concatenate(([-centre], weights))


def _inner(z: Iterable[int], weights: FloatArray, centre: float) -> float:
    """`sum (r - m0)` out of `sum z`, which the first row of a triangle begins with."""
    return float(sum(c * float(value) for c, value in zip(_with_centre(weights, centre).tolist(), z, strict=False)))


def _form(triangle: npt.NDArray[np.object_], c: FloatArray, pairs: tuple[IntArray, IntArray]) -> float:
    """`c' M c` out of the upper triangle of M, never below 0."""
    twice = np.where(pairs[0] == pairs[1], 1.0, 2.0)
    return max(0.0, float((c[pairs[0]] * c[pairs[1]] * twice) @ triangle.astype(np.float64)))


def _range(share: float, least: float, most: float) -> tuple[float, float]:
    """The range of `u (r - m0)` for `u` in `[-1/(1-rho), 1/rho]` and `r - m0` in `[least, most]`."""
    corners = [u * r for u in (-1 / (1 - share), 1 / share) for r in (least, most)]
    return min(corners), max(corners)
