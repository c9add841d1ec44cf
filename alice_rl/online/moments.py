"""Additive integer moments: what a policy is learned from, and all that is kept of an episode.

Sums of integers do not depend on the order in which they are added, on how a log is cut into batches, or on which
worker added what. That is the whole of this project's exactness: states add by `+`, and equal states have equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["ROWS_MAX", "MomentOverflowError", "RidgeMoments", "Tally", "sum_by"]

IntArray = npt.NDArray[np.int64]

ROWS_MAX = 1 << 18
"""Rows a batch may have: with |x| <= 2^12 and |y| <= 2^17, all partial sums of float64 products stay below 2^53."""

_HALF = 1 << 62


class MomentOverflowError(OverflowError):
    """A sum came within a factor of two of what 64 bits hold; adding on would be wrong in silence."""


class Cells(NamedTuple):
    """Sums of rows that share a key: `keys` (C,) ascending, `sums` (C, k), and `order`, the rows sorted by key."""

    keys: IntArray
    sums: IntArray
    order: npt.NDArray[np.intp]


def sum_by(keys: IntArray, values: IntArray) -> Cells:
    """Sum the rows of `values` (N, k) that share a key of `keys` (N,), exactly.

    Examples
    --------
    >>> cells = sum_by(np.array([7, 3, 7]), np.array([[1], [10], [100]]))
    >>> cells.keys.tolist(), cells.sums.tolist()
    ([3, 7], [[10], [101]])
    """
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1]))) if len(keys) else np.empty(0, np.intp)
    sums = np.add.reduceat(values[order], starts, axis=0) if len(keys) else np.empty((0, values.shape[1]), np.int64)
    return Cells(ranked[starts], sums, order)


class RidgeMoments:
    """Per arm `n`, `G = sum x x'`, `B = sum x y'`, `Y = sum y y'`: the sufficient statistics of ridge regression.

    Parameters
    ----------
    arms, dim, outputs : int
        K, d and m.

    Attributes
    ----------
    n : ndarray, shape (K,), int64
    G : ndarray, shape (K, d, d), int64
    B : ndarray, shape (K, d, m), int64
    Y : ndarray, shape (K, m, m), int64

    Examples
    --------
    >>> one = RidgeMoments(arms=2, dim=2, outputs=1)
    >>> table, codes = np.array([[256.0, -256.0]]), np.zeros(3, dtype=np.int64)
    >>> none = np.empty((3, 0), dtype=np.int64)
    >>> one.add(np.array([0, 1, 1]), table, codes, none, np.empty(0, np.int64), np.array([[1], [0], [1]]))
    >>> one.n.tolist(), one.G[1].tolist(), one.B[1].tolist()
    ([1, 2], [[131072, -131072], [-131072, 131072]], [[256], [-256]])
    >>> (one + one).n.tolist()
    [2, 4]
    """

    def __init__(self, arms: int, dim: int, outputs: int) -> None:
        self.n: IntArray = np.zeros(arms, dtype=np.int64)
        self.G: IntArray = np.zeros((arms, dim, dim), dtype=np.int64)
        self.B: IntArray = np.zeros((arms, dim, outputs), dtype=np.int64)
        self.Y: IntArray = np.zeros((arms, outputs, outputs), dtype=np.int64)

    def add(
        self,
        arm: IntArray,
        table: npt.NDArray[np.float64],
        codes: IntArray,
        numerics: IntArray,
        columns: IntArray,
        y: IntArray,
    ) -> None:
        """Add the rows `x_i = table[codes_i]`, plus `numerics_i` at `columns`, with outputs `y_i`, to the arms `arm_i`.

        Parameters
        ----------
        arm, codes : ndarray, shape (N,), int64
        table : ndarray, shape (U, d), float64 holding integers
        numerics : ndarray, shape (N, q), int64
        columns : ndarray, shape (q,), int64
        y : ndarray, shape (N, m), int64

        Raises
        ------
        MomentOverflowError
            A sum no longer fits; nothing more may be added to this state.

        Notes
        -----
        Rows that share their static part `t_u = table[u]` share its outer product. With `n_u` rows, sums `s_u` of
        their numerics and `r_u` of their outputs, and `E` the columns' unit vectors:

            G = T' diag(n) T + T' S E' + E S' T + E (sum z z') E'
            B = T' R + E (sum z y')

        which costs one small product per distinct static part instead of one of size d^2 per row: the work hardly
        grows with d.
        """
        assert len(arm) <= ROWS_MAX
        q = numerics.shape[1]
        ones = np.ones((len(arm), 1), dtype=np.int64)
        values = np.concatenate((ones, numerics, y), axis=1)  # (N, 1+q+m)
        cells = sum_by(arm * len(table) + codes, values)
        rows, row_arm = values[cells.order].astype(np.float64), arm[cells.order]
        cell_arm, sums = cells.keys // len(table), cells.sums.astype(np.float64)
        for k in np.unique(cell_arm).tolist():
            mine = slice(*np.searchsorted(cell_arm, (k, k + 1)))
            own = rows[slice(*np.searchsorted(row_arm, (k, k + 1)))]
            self._add_arm(k, table[cells.keys[mine] % len(table)], sums[mine], own, q, columns)

    def _add_arm(
        self,
        k: int,
        T: npt.NDArray[np.float64],
        sums: npt.NDArray[np.float64],
        rows: npt.NDArray[np.float64],
        q: int,
        columns: IntArray,
    ) -> None:
        left = T.T @ np.concatenate((T * sums[:, :1], sums[:, 1:]), axis=1)  # (d, d+q+m): T' diag(n) T | T'S | T'R
        d = T.shape[1]
        cross = rows[:, 1:].T @ rows[:, 1:]  # (q+m, q+m)
        G, B = left[:, :d], left[:, d + q :]
        G[:, columns] += left[:, d : d + q]
        G[columns] += left[:, d : d + q].T
        G[np.ix_(columns, columns)] += cross[:q, :q]
        B[columns] += cross[:q, q:]
        self.n[k] += len(rows)
        self.G[k] += G.astype(np.int64)
        self.B[k] += B.astype(np.int64)
        self.Y[k] += cross[q:, q:].astype(np.int64)
        # By Cauchy-Schwarz no entry of G, B or Y exceeds the largest diagonal one.
        if max(self.G[k].diagonal().max(), self.Y[k].diagonal().max()) >= _HALF:
            raise MomentOverflowError(f"the moments of arm {k} reached 2^62; use shorter decay buckets")

    def __add__(self, other: RidgeMoments) -> RidgeMoments:
        total = RidgeMoments(len(self.n), self.G.shape[1], self.B.shape[2])
        for name in ("n", "G", "B", "Y"):
            setattr(total, name, getattr(self, name) + getattr(other, name))
        return total

    def grow(self, dim: int) -> None:
        """Append zeros to `x`: what was added so far did not have these entries.

        Examples
        --------
        >>> one = RidgeMoments(arms=1, dim=1, outputs=1)
        >>> one.G += 4
        >>> one.grow(2)
        >>> one.G.tolist(), one.B.tolist()
        ([[[4, 0], [0, 0]]], [[[0], [0]]])
        """
        more = dim - self.G.shape[1]
        self.G = np.pad(self.G, ((0, 0), (0, more), (0, more)))
        self.B = np.pad(self.B, ((0, 0), (0, more), (0, 0)))

    def arrays(self) -> Iterator[IntArray]:
        """The sums without their redundancy: `n`, `B`, and the upper triangles of `G` and `Y`."""
        yield self.n
        yield self.B
        for square in (self.G, self.Y):
            yield square[:, *np.triu_indices(square.shape[1])]

    def load(self, flat: IntArray) -> None:
        """Take the sums back from the concatenated `arrays`, ndarray, shape (length,)."""
        at = 0
        for name, part in zip(("n", "B", "G", "Y"), self.arrays(), strict=True):
            values = flat[at : at + part.size].reshape(part.shape)
            at += part.size
            if name in "GY":
                square = getattr(self, name)
                upper = np.triu_indices(square.shape[1])
                square[:, *upper] = values
                square[:, upper[1], upper[0]] = values
            else:
                setattr(self, name, values.copy())


class Tally:
    """Additive integer rows keyed by a name and an arm: successes and failures per (intent, tool), and the like.

    Parameters
    ----------
    arms, width : int
        K and the number of integers a row holds.

    Examples
    --------
    >>> tally = Tally(arms=2, width=2)
    >>> tally.add(["weather", "weather"], np.array([1, 1]), np.array([[1, 0], [0, 1]]))
    >>> tally.names, tally.sums.tolist()
    (('weather',), [[[0, 0], [1, 1]]])
    """

    def __init__(self, arms: int, width: int) -> None:
        self._index: dict[str, int] = {}
        self.sums: IntArray = np.zeros((0, arms, width), dtype=np.int64)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that have rows, in the order of `sums` (I, K, width)."""
        return tuple(self._index)

    def add(self, names: list[str], arm: IntArray, values: IntArray) -> None:
        """Add `values` (N, width) to the rows of `names` (N) and `arm` (N,)."""
        arms = self.sums.shape[1]
        for name in set(names).difference(self._index):
            self._index[name] = len(self._index)
        if len(self._index) > len(self.sums):
            grown = np.zeros((len(self._index), *self.sums.shape[1:]), dtype=np.int64)
            grown[: len(self.sums)] = self.sums
            self.sums = grown
        rows = np.array([self._index[name] for name in names], dtype=np.int64)
        cells = sum_by(rows * arms + arm, values)
        self.sums.reshape(-1, self.sums.shape[2])[cells.keys] += cells.sums

    def __add__(self, other: Tally) -> Tally:
        total = Tally(*self.sums.shape[1:])
        for part in (self, other):
            for row, name in enumerate(part.names):
                total._add_row(name, part.sums[row])
        return total

    def _add_row(self, name: str, row: IntArray) -> None:
        arms, width = row.shape
        self.add([name] * arms, np.arange(arms, dtype=np.int64), row.reshape(arms, width))

    def sorted(self) -> tuple[list[str], IntArray]:
        """Names in order and their rows, ndarray, shape (I, K, width): the canonical form."""
        names = sorted(self._index)
        return names, self.sums[[self._index[name] for name in names]] if names else self.sums

    def load(self, names: list[str], sums: IntArray) -> None:
        """Take names and rows back from their canonical form."""
        self._index = {name: row for row, name in enumerate(names)}
        self.sums = sums.copy()
