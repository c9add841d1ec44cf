"""Additive moments -> ridge coefficients and a confidence factor per arm: the posterior LinUCB explores with.

Everything that shapes a policy but is not data enters here and only here: units, reward weights,
standardisation and the prior. So moments merge by `+`, and new weights or a new prior cost one `solve`, not a
replay.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Regularization", "Solution", "maximise_evidence", "solve", "standardiser", "young_alpha"]

FloatArray = npt.NDArray[np.float64]
Regularization = Literal["fixed", "evidence"]

_CONSTANT_SHARE = 1e-8  # a variance below this share of the second moment is rounding error: a constant
_EVIDENCE_REACH = float(6.0 * np.log(10.0))  # the search goes six decades either side of the weak prior
_HYPERPRIOR_SD = 4.0  # in log units: holds an arm near the weak prior until its data speak


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """A solved slot: what a snapshot carries of the regression, in raw-`x` space and real units, read-only.

    Attributes
    ----------
    theta : ndarray, shape (K, d)
        Coefficients, reward per unit of `x`.
    factor : ndarray, shape (K, d, d)
        Lower triangular; `|factor[k] @ x|` is the posterior sd of `theta[k].x` for unit noise and the weak
        prior.
    alpha : ndarray, shape (K,)
        Width of the confidence bound, larger for young arms.
    lam : ndarray, shape (K,)
        Ridge behind `theta`: the weak prior, unless the evidence chose another.
    noise_variance : ndarray, shape (K,)
        Variance of the reward around `theta.x`; 1 where fewer than two turns say nothing about it.
    """

    theta: FloatArray
    factor: FloatArray
    alpha: FloatArray
    lam: FloatArray
    noise_variance: FloatArray

    def __post_init__(self) -> None:
        for field in fields(self):
            getattr(self, field.name).setflags(write=False)

    def estimate(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Expected reward `theta.x` (K,) and confidence width `|factor @ x|` (K,) for one `x` (d,).

        Examples
        --------
        >>> G, B, Y = np.array([[[3.0]]]), np.array([[[6.0]]]), np.array([[[12.0]]])
        >>> solve(np.array([3.0]), G, B, Y, np.ones(1)).estimate(np.ones(1))
        (array([1.5]), array([0.5]))
        """
        width: FloatArray = np.sqrt(np.square(self.factor @ x).sum(axis=1))  # (K,)
        return self.theta @ x, width


def solve(
    n: FloatArray,
    G: FloatArray,
    B: FloatArray,
    Y: FloatArray,
    weights: FloatArray,
    *,
    x_unit: float | FloatArray = 1.0,
    y_unit: float | FloatArray = 1.0,
    lam: float = 1.0,
    alpha: float = 0.5,
    young_rounds: float = 50.0,
    regularization: Regularization = "fixed",
    standardise: bool = True,
    scale_min: float = 0.0,
) -> Solution:
    """The ridge posterior of every arm, from raw sums that are already merged and decayed.

    Parameters
    ----------
    n, G, B, Y : ndarray, shapes (K,), (K, d, d), (K, d, m), (K, m, m)
        Turns, `sum x x'`, `sum x y'` and `sum y y'` per arm, in stored units.
    weights : ndarray, shape (m,)
        Reward weights, per real unit of each component.
    x_unit, y_unit : float or ndarray, shapes (d,) and (m,)
        Real value of one stored unit: `x = x_unit * x_stored`. In real units `x[0]` is 1.
    lam : float
        The weak prior on standardised features: as many turns' worth of knowing that every coefficient is 0.
    alpha, young_rounds : float
        Width of the confidence bound and how long a young arm keeps a wider one, see `young_alpha`.
    regularization : {"fixed", "evidence"}
        `"evidence"` takes each arm's ridge and noise variance from its own moments, see `maximise_evidence`.
    standardise, scale_min : bool, float
        False solves in raw `x`; see `standardiser`.

    Raises
    ------
    ValueError
        Shapes that disagree, moments that are not finite, `lam` not positive: bugs, not operating errors.

    Notes
    -----
    `A` is solved afresh each time, so nothing drifts, unlike a running Sherman-Morrison inverse. The width
    stays with the weak prior even when the evidence shrinks `theta`: an evidence-shrunk posterior is too sure
    of what it has not tried. For an arm without turns, `theta = 0` and `factor = T / sqrt(lam)`.

    References
    ----------
    Li et al. (2010), "A contextual-bandit approach to personalized news article recommendation", Algorithm 1.

    Examples
    --------
    Two turns of one arm with rewards 1 and 3; the second arm was never tried.

    >>> n, G = np.array([2.0, 0.0]), np.array([[[2.0]], [[0.0]]])
    >>> B, Y = np.array([[[4.0]], [[0.0]]]), np.array([[[10.0]], [[0.0]]])
    >>> solution = solve(n, G, B, Y, np.ones(1), lam=1.0, alpha=0.5, young_rounds=2.0)
    >>> solution.theta.round(4).tolist(), solution.factor.round(4).tolist(), solution.alpha.tolist()
    ([[1.3333], [0.0]], [[[0.5774]], [[1.0]]], [0.75, 1.0])
    """
    K, d, m = B.shape
    if n.shape != (K,) or G.shape != (K, d, d) or Y.shape != (K, m, m) or weights.shape != (m,):
        raise ValueError(f"shapes disagree: {n.shape} {G.shape} {B.shape} {Y.shape} {weights.shape}")
    u, w = np.broadcast_to(x_unit, (d,)), weights * y_unit  # (d,), (m,): w in reward per stored unit
    G, b, rr = G * np.outer(u, u), u * (B @ w), np.einsum("kij,i,j->k", Y, w, w)  # (K, d, d), (K, d), (K,)
    if not (lam > 0.0 and all(np.isfinite(part).all() for part in (n, G, b, rr))):
        raise ValueError(f"moments, units and weights must be finite and lam positive, got lam = {lam}")
    T = standardiser(G, scale_min) if standardise else np.eye(d)
    G, b = T @ G @ T.T, b @ T.T  # (K, d, d), (K, d): of z = T x
    factor = _inverse_factor(G, np.full(b.shape, lam))
    theta, ridge = _coefficients(factor, b), np.full(n.shape, lam)
    left = np.maximum(rr - np.einsum("kd,kd->k", b, theta), 0.0)  # (K,), the prior's cost included
    noise = np.where(n >= 2.0, left / np.maximum(n, 2.0), 1.0)
    if regularization == "evidence":
        found = [maximise_evidence(*arm, lam) for arm in zip(n, G, b, rr, strict=True)]
        ridge, noise = np.array(found).reshape(-1, 2).T.copy()
        precision = np.repeat(ridge[:, None], d, axis=1)
        precision[:, 0] = lam  # an arm's mean reward is no reason to trust its features
        theta = _coefficients(_inverse_factor(G, precision), b)
    return Solution(theta @ T, np.tril(factor @ T), young_alpha(n, alpha, young_rounds), ridge, noise)


def young_alpha(n: FloatArray, alpha: float, young_rounds: float) -> FloatArray:
    """Confidence width per arm: `alpha_k = alpha (1 + 2^(-n_k / young_rounds))`.

    Twice `alpha` for an arm without turns; the excess halves every `young_rounds` turns.

    Parameters
    ----------
    n, alpha, young_rounds : ndarray (K,), float, float
        Turns per arm (forgotten turns make it young again), width of a mature arm, and turns (0: no arm is
        young).

    Examples
    --------
    >>> young_alpha(np.array([0.0, 50.0, 1e6]), 0.5, 50.0).tolist()
    [1.0, 0.75, 0.5]
    """
    if young_rounds <= 0.0:
        return np.full(n.shape, alpha)
    return np.asarray(alpha * (1.0 + np.exp2(-n / young_rounds)), dtype=np.float64)


def standardiser(G: FloatArray, scale_min: float = 0.0) -> FloatArray:
    """The affine map `z = T x` that gives every column mean 0 and variance 1, over all arms together.

    Parameters
    ----------
    G : ndarray, shape (K, d, d)
        `sum x x'` per arm, real units, `x[0] = 1`.
    scale_min : float
        Columns are divided by `max(sd, scale_min)`; 0 is the plain z-score. Columns that are constant or were
        never seen keep scale 1 and shift 0.

    Notes
    -----
    Pooled, so that arms are compared in one space; means and variances are entries of `G`, hence not state.
    The z-score stretches a rare indicator by `1 / sqrt(share)`, which all but removes its ridge and makes
    arms explore it at length; `scale_min = 1` centres such columns and leaves their scale alone.

    Examples
    --------
    Rows (1, 2) and (1, 4): mean 3, sd 1.

    >>> standardiser(np.array([[[2.0, 6.0], [6.0, 20.0]]])).tolist()
    [[1.0, 0.0], [-3.0, 1.0]]
    """
    pooled = G.sum(axis=0)  # (d, d)
    T = np.eye(len(pooled))
    if pooled[0, 0] <= 0.0:
        return T
    mean, square = pooled[0] / pooled[0, 0], np.diagonal(pooled) / pooled[0, 0]  # (d,), (d,)
    variance = square - mean**2
    (varies,) = np.nonzero(variance > _CONSTANT_SHARE * square)  # never the bias
    scale = np.maximum(np.sqrt(variance[varies]), scale_min)
    T[varies, varies] = 1.0 / scale
    T[varies, 0] = -mean[varies] / scale
    return T


def maximise_evidence(n: float, G: FloatArray, b: FloatArray, rr: float, lam: float) -> tuple[float, float]:
    """The ridge and noise variance that make one arm's rewards most probable, from its moments alone.

    Parameters
    ----------
    n, G, b, rr : float, ndarray (d, d), ndarray (d,), float
        Turns, `sum z z'`, `sum z r`, `sum r^2`; of standardised features, `z[0] = 1`.
    lam : float
        The weak prior: the centre of the search, and the answer when there is nothing to learn from.

    Returns
    -------
    tuple of float
        `(lam, noise_variance)`.

    Notes
    -----
    The bias is integrated out under a flat prior (restricted likelihood), or a reward far from 0 would pass
    for noise. With `s` the eigenvalues of the centred `G` and `c` the centred `b` in its eigenbasis,

        Q = sum (r - mean)^2 - sum c^2 / (s + lam)
        log evidence = -(n - 1)/2 log Q - 1/2 sum log(1 + s / lam) - log(lam / weak prior)^2 / (2 sd^2)

    up to a constant, at the best noise variance, `Q / (n - 1)`. With one unknown, a grid that zooms in can
    neither diverge nor stop at a saddle. The last term is a broad hyperprior, felt only while data are few.

    References
    ----------
    Bishop (2006), "Pattern recognition and machine learning", eq. 3.86.

    Examples
    --------
    >>> rng = np.random.default_rng(7)
    >>> z = np.c_[np.ones(4000), rng.standard_normal((4000, 3))]
    >>> r = z @ [5.0, 1.0, -1.0, 0.5] + 0.5 * rng.standard_normal(4000)
    >>> _, variance = maximise_evidence(4000, z.T @ z, z.T @ r, float(r @ r), lam=1.0)
    >>> bool(abs(variance - 0.25) < 0.02)
    True
    """
    spread = rr - b[0] ** 2 / n if n >= 2.0 else 0.0  # sum (r - mean)^2
    if spread <= 1e-14 * rr:
        return lam, 1.0 if n < 2.0 else 0.0  # too few turns, or every reward the same: nothing to explain
    s, V = np.linalg.eigh(G[1:, 1:] - np.outer(G[1:, 0], G[0, 1:]) / n)  # (d-1,), (d-1, d-1)
    s = np.maximum(s, 0.0)
    c = V.T @ (b[1:] - G[1:, 0] * (b[0] / n))  # (d-1,)
    cc = np.minimum(c**2, s * spread)  # Cauchy-Schwarz, which rounding must not break, or Q turns negative

    def unexplained(ridge: FloatArray) -> FloatArray:  # Q: (N,) -> (N,)
        Q: FloatArray = spread - (cc / (s + ridge[:, None])).sum(axis=1)
        return np.maximum(Q, 1e-12 * spread)

    centre, reach = 0.0, _EVIDENCE_REACH
    for _ in range(4):
        offset = np.linspace(centre - reach, centre + reach, 41)  # (N,), log(lam / weak prior)
        ridge = lam * np.exp(offset)
        volume = np.log1p(s / ridge[:, None]).sum(axis=1)
        evidence = -0.5 * ((n - 1.0) * np.log(unexplained(ridge)) + volume + (offset / _HYPERPRIOR_SD) ** 2)
        centre, reach = float(offset[np.argmax(evidence)]), reach / 20.0
    best = lam * float(np.exp(centre))
    return best, float(unexplained(np.array([best]))[0] / (n - 1.0))


def _inverse_factor(G: FloatArray, precision: FloatArray) -> FloatArray:
    """`L^-1` per arm, `L L' = G + diag(precision)`: shapes (K, d, d), (K, d) -> (K, d, d)."""
    identity = np.eye(G.shape[1])
    A = 0.5 * (G + G.transpose(0, 2, 1)) + precision[:, :, None] * identity  # (K, d, d)
    inverse = np.empty_like(A)
    for k, A_k in enumerate(A):
        inverse[k] = np.tril(np.linalg.solve(_cholesky(A_k), identity))
    return inverse


def _cholesky(A: FloatArray) -> FloatArray:
    """Cholesky factor of `A`, with as little added to its diagonal as rounding has made necessary.

    The sums are exact but `T G T'` cancels: what should be `lam` can fall below 0 by `eps * trace(A)`, times
    the largest `mean^2 / variance` of a column, which `standardiser` bounds at 1e8.
    """
    ulp = float(np.finfo(np.float64).eps * np.trace(A))
    for jitter in (0.0, 1.0, 1e2, 1e4, 1e6, 1e8):
        try:
            return np.asarray(np.linalg.cholesky(A + jitter * ulp * np.eye(len(A))), dtype=np.float64)
        except np.linalg.LinAlgError:
            continue
    raise ValueError("sum x x' is not positive semidefinite: the moments are corrupt")


def _coefficients(factor: FloatArray, b: FloatArray) -> FloatArray:
    """`A^-1 b = L^-T (L^-1 b)`: shapes (K, d, d), (K, d) -> (K, d)."""
    half = np.einsum("kij,kj->ki", factor, b)
    return np.asarray(np.einsum("kji,kj->ki", factor, half), dtype=np.float64)
