"""Buckets of event time: few, nested, and the same whenever they are merged."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alice_rl.online.decay import PER_LEVEL, Bucket, bucket_rows, coarsen, weight

HOUR = 3_600_000


def held(intervals: range, now: int) -> set[Bucket]:
    """The buckets that hold the intervals when the clock stands at `now`."""
    return set(bucket_rows(np.array(intervals) * HOUR, now * HOUR, HOUR))


@given(st.integers(0, 5000), st.integers(0, 3000), st.integers(0, 3000))
def test_merging_on_the_way_ends_in_the_same_buckets(interval: int, first: int, second: int) -> None:
    """A bucket merged at one time and again later ends where merging once, later, would have put it."""
    early, late = interval + first, interval + first + second
    [bucket] = held(range(interval, interval + 1), early)
    moved = coarsen([bucket], late * HOUR, HOUR).get(bucket, bucket)
    assert {moved} == held(range(interval, interval + 1), late)


def test_years_are_held_in_few_buckets() -> None:
    """The number of buckets grows with the logarithm of time."""
    buckets = held(range(2 * 365 * 24), 2 * 365 * 24)
    assert len(buckets) <= 2 * PER_LEVEL * 14
    covered = sorted((b.ordinal << b.level, (b.ordinal + 1) << b.level) for b in buckets)
    assert all(end == start for (_, end), (start, _) in pairwise(covered))


def test_buckets_are_narrow_beside_their_age() -> None:
    """A merged bucket is at most a quarter of its age wide, so that its weight stays honest."""
    for bucket in held(range(20_000), 20_000):
        if bucket.level:
            assert (1 << bucket.level) * PER_LEVEL <= 20_000 - ((bucket.ordinal + 1) << bucket.level)


def test_weights_halve_and_never_exceed_one() -> None:
    """The weight halves per half-life of age, and what lies ahead counts once."""
    assert weight(Bucket(0, 10), 12 * HOUR + HOUR // 2, HOUR, 2.0 * HOUR) == 0.5
    assert weight(Bucket(0, 99), 0, HOUR, float(HOUR)) == 1.0
    assert weight(Bucket(3, 0), 10**15, HOUR, None) == 1.0


def test_names_survive() -> None:
    """A bucket reads back from its name."""
    assert Bucket.parse(str(Bucket(3, 61_000))) == Bucket(3, 61_000)
