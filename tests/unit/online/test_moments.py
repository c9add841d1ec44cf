"""Integer moments: exact, whatever the factored form, and loud before they overflow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alice_rl.online.moments import MomentOverflowError, RidgeMoments, Tally, sum_by


@given(st.integers(0, 2**32), st.integers(0, 80))
def test_factored_products_are_the_written_out_ones(seed: int, rows: int) -> None:
    """Adding through shared static parts gives exactly the sums of outer products, at the largest values allowed."""
    rng = np.random.default_rng(seed)
    table = rng.integers(-4096, 4097, (5, 9)).astype(np.float64)
    table[:, [5, 7]] = 0
    codes, arm = rng.integers(0, 5, rows), rng.integers(0, 3, rows)
    numerics, y = rng.integers(-4096, 4097, (rows, 2)), rng.integers(0, 1 << 17, (rows, 4))
    moments = RidgeMoments(3, 9, 4)
    moments.add(arm, table, codes, numerics, np.array([5, 7]), y)
    x = table[codes].astype(np.int64)
    x[:, [5, 7]] += numerics
    for k in range(3):
        mine = arm == k
        assert np.array_equal(moments.G[k], x[mine].T @ x[mine])
        assert np.array_equal(moments.B[k], x[mine].T @ y[mine])
        assert np.array_equal(moments.Y[k], y[mine].T @ y[mine])
        assert moments.n[k] == mine.sum()


def test_overflow_is_refused() -> None:
    """A sum that comes near the end of 64 bits raises instead of wrapping round."""
    moments = RidgeMoments(1, 1, 1)
    moments.G[0, 0, 0] = (1 << 62) - 1
    one, none = np.zeros(1, dtype=np.int64), np.empty((1, 0), dtype=np.int64)
    with pytest.raises(MomentOverflowError, match="shorter decay buckets"):
        moments.add(one, np.array([[256.0]]), one, none, np.empty(0, dtype=np.int64), np.array([[1]]))


def test_sums_by_key_are_exact_beyond_doubles() -> None:
    """Grouped sums are integer sums: no double stands between."""
    big = (1 << 60) + 1
    assert sum_by(np.array([1, 1, 0]), np.array([[big], [1], [5]])).sums.tolist() == [[5], [big + 1]]


def test_tallies_merge_by_name() -> None:
    """Rows of the same name add up, whatever the order in which the names came."""
    a, b = Tally(2, 1), Tally(2, 1)
    a.add(["x", "y"], np.array([0, 1]), np.array([[1], [2]]))
    b.add(["y", "z"], np.array([1, 0]), np.array([[3], [4]]))
    names, sums = (a + b).sorted()
    assert names == ["x", "y", "z"]
    assert sums[..., 0].tolist() == [[1, 0], [0, 5], [4, 0]]
    assert np.array_equal((b + a).sorted()[1], sums)
