"""The route's scores in microseconds: LinUCB's mean and width as polynomials of the few numerics.

For one static part of `x` (categoricals and missing-indicators), only q = 4 numerics z are left, so that for
every arm

    theta.x      = sum_i c_i m_i,    i over 1 and the z,
    |F x|^2      = sum_i c_i m_i,    i over the 15 monomials m = (1, z_i, z_i z_j),

exactly. The coefficients are made once per static part and kept; a decision then multiplies 15 numbers
instead of d^2 per arm.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt

from alice_rl.features import UNIT, ContextLike, Featuriser
from alice_rl.snapshot.format import Snapshot

__all__ = ["RouteScorer"]

FloatArray = npt.NDArray[np.float64]
Key = tuple[str | None, ...]
Row = tuple[float, ...]

Q = 4  # numerics that the wire has; a spec with fewer leaves the others at 0
_KEYS_MAX = 4096  # static parts kept; the table starts anew beyond it
# From so many arms on, one product in numpy costs less than the loop over the arms.
_MANY_ARMS = 10
_ORDER = [(0, 0), *((0, i + 1) for i in range(Q)), *((i + 1, j + 1) for i in range(Q) for j in range(i, Q))]


class RouteScorer:
    """Means and widths of the route's arms.

    Parameters
    ----------
    snapshot : Snapshot
    scale : ndarray, shape (K,)
        What the squared width of each arm is multiplied by: `alpha^2` for confidence bounds, the noise
        variance for posterior variances.
    bounds_only : bool
        Whether only `bounds` will be asked for: a few arms then take a shorter way.
    """

    def __init__(self, snapshot: Snapshot, scale: FloatArray, *, bounds_only: bool) -> None:
        self._featuriser = Featuriser(snapshot.manifest.features)
        self._theta = snapshot.route_theta
        self._factor = snapshot.route_factor * np.sqrt(scale)[:, None, None]
        self._columns = self._featuriser.columns
        self._pad = [0] * (Q - len(self._columns))
        self._by_row = bounds_only and len(self._theta) < _MANY_ARMS
        self._rows: dict[Key, list[Row]] = {}
        self._tables: dict[Key, FloatArray] = {}

    @property
    def keys(self) -> list[Key]:
        """The static parts seen, the latest last."""
        return list(self._rows if self._by_row else self._tables)

    def bounds(self, context: ContextLike) -> list[float]:
        """`theta.x + sqrt(scale) |F x|` of every arm."""
        if not self._by_row:
            return self._bounds_by_table(context)
        key, z = self._featuriser.split(context)
        rows = self._rows.get(key)
        if rows is None:
            rows = self._learn_rows(key)
        z1, z2, z3, z4 = map(float, z + self._pad if self._pad else z)
        try:
            return [
                a + a1 * z1 + a2 * z2 + a3 * z3 + a4 * z4
                + sqrt(
                    b + z1 * (b1 + b11 * z1 + b12 * z2 + b13 * z3 + b14 * z4)
                    + z2 * (b2 + b22 * z2 + b23 * z3 + b24 * z4)
                    + z3 * (b3 + b33 * z3 + b34 * z4)
                    + z4 * (b4 + b44 * z4)
                )
                for a, a1, a2, a3, a4, b, b1, b2, b3, b4, b11, b12, b13, b14, b22, b23, b24, b33, b34, b44 in rows
            ]  # fmt: skip
        except ValueError:  # rounding made a width of 0 negative
            return self._bounds_by_table(context)

    def posteriors(self, context: ContextLike) -> tuple[list[float], list[float]]:
        """`theta.x` and `sqrt(scale) |F x|` of every arm."""
        means, squares = self._values(context)
        return means.tolist(), np.sqrt(squares).tolist()

    def learn(self, key: Key) -> None:
        """Make the coefficients of a static part before a decision needs them."""
        if self._by_row:
            self._learn_rows(key)
        else:
            self._learn_table(key)

    def _bounds_by_table(self, context: ContextLike) -> list[float]:
        means, squares = self._values(context)
        bounds: list[float] = (means + np.sqrt(squares)).tolist()
        return bounds

    def _values(self, context: ContextLike) -> tuple[FloatArray, FloatArray]:
        """Means and squared widths, ndarrays, shape (K,)."""
        key, z = self._featuriser.split(context)
        table = self._tables.get(key)
        if table is None:
            table = self._learn_table(key)
        a, b, c, d = z + self._pad if self._pad else z
        monomials = (1, a, b, c, d, a * a, a * b, a * c, a * d, b * b, b * c, b * d, c * c, c * d, d * d)
        values = table.dot(monomials)
        n_arms = len(self._theta)
        return values[:n_arms], np.maximum(values[n_arms:], 0.0)  # rounding may make a width of 0 negative

    def _learn_rows(self, key: Key) -> list[Row]:
        means, widths = self._coefficients(key)
        rows = [(*mean[: 1 + Q], *width) for mean, width in zip(means.tolist(), widths.tolist(), strict=True)]
        if len(self._rows) >= _KEYS_MAX:
            self._rows = {}
        self._rows[key] = rows
        return rows

    def _learn_table(self, key: Key) -> FloatArray:
        table = np.concatenate(self._coefficients(key))  # (2K, 15)
        if len(self._tables) >= _KEYS_MAX:
            self._tables = {}
        self._tables[key] = table
        return table

    def _coefficients(self, key: Key) -> tuple[FloatArray, FloatArray]:
        """Coefficients of mean and squared width over the monomials of z in steps of 1/256: shapes (K, 15) twice."""
        static = self._featuriser.static(key)
        some = np.flatnonzero(static)  # a static part is sparse: the bias, the categoricals, the indicators
        x = static[some] / UNIT
        n_arms, q = len(self._theta), len(self._columns)
        linear = np.zeros((n_arms, 1 + Q))
        linear[:, 0] = self._theta[:, some] @ x
        linear[:, 1 : 1 + q] = self._theta[:, self._columns] / UNIT
        images = np.zeros((n_arms, self._theta.shape[1], 1 + Q))  # of the static part and of one step of each numeric
        images[:, :, 0] = self._factor[:, :, some] @ x
        images[:, :, 1 : 1 + q] = self._factor[:, :, self._columns] / UNIT
        gram = images.transpose(0, 2, 1) @ images  # (K, 1+Q, 1+Q)
        means, widths = np.zeros((n_arms, len(_ORDER))), np.empty((n_arms, len(_ORDER)))
        means[:, : 1 + Q] = linear
        for at, (i, j) in enumerate(_ORDER):
            widths[:, at] = gram[:, i, j] * (1.0 if i == j else 2.0)
        return means, widths
