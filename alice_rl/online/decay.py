"""Event-time buckets: recent sums apart, old ones merged, so that forgetting is a weight at solve time.

A bucket of level `l` spans `2^l` base intervals, aligned to a multiple of its span. Two halves of an aligned interval
merge as soon as it ended `PER_LEVEL` of its own spans ago, so that a log of t intervals is kept in some `PER_LEVEL
log2 t` buckets. Which bucket holds an instant depends on the log's clock alone, and merging is exact addition: when it
happens changes no byte.

The weight of a bucket, `2^(-age / half_life)`, follows the exponential histogram's idea (Datar, Gionis, Indyk, Motwani
2002: maintaining stream statistics over sliding windows) with exact sums inside the buckets.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["PER_LEVEL", "Bucket", "bucket_rows", "coarsen", "weight"]

PER_LEVEL = 4
"""Spans between an interval and the clock before its halves merge: a bucket is at most a quarter of its age."""

_LEVEL_MAX = 20  # 2^20 hours are 119 years


class Bucket(NamedTuple):
    """An aligned interval of event time: the `ordinal`-th one of `2^level` base intervals."""

    level: int
    ordinal: int

    def __str__(self) -> str:
        return f"{self.level}:{self.ordinal}"

    @classmethod
    def parse(cls, text: str) -> Bucket:
        """The bucket that `str` wrote."""
        level, ordinal = text.split(":")
        return cls(int(level), int(ordinal))

    def middle_ms(self, span_ms: int) -> float:
        """The bucket's middle, milliseconds since the epoch, for base intervals of `span_ms`."""
        return (self.ordinal + 0.5) * (span_ms << self.level)


def _merges(bucket: Bucket, now: int) -> bool:
    """Whether `bucket` has been swallowed by its parent at base interval `now`."""
    parent_span = 2 << bucket.level
    return bucket.level < _LEVEL_MAX and (bucket.ordinal // 2 + 1 + PER_LEVEL) * parent_span <= now


def bucket_rows(ts_ms: npt.NDArray[np.int64], high_ms: int, span_ms: int) -> dict[Bucket, npt.NDArray[np.intp] | slice]:
    """Which rows fall into which bucket, when the log's clock has reached `high_ms`.

    Examples
    --------
    >>> hour = 3_600_000
    >>> rows = bucket_rows(np.array([0, 90, 100, 91]) * hour, 100 * hour, hour)
    >>> {str(bucket): where.tolist() for bucket, where in rows.items()}
    {'4:0': [0], '1:45': [1, 3], '0:100': [2]}
    """
    now = high_ms // span_ms
    distinct, inverse = np.unique(ts_ms // span_ms, return_inverse=True)
    if len(distinct) == 1:
        return {_coarsest(Bucket(0, int(distinct[0])), now): slice(None)}
    groups: dict[Bucket, list[int]] = {}
    for i, interval in enumerate(distinct.tolist()):
        groups.setdefault(_coarsest(Bucket(0, interval), now), []).append(i)
    return {bucket: np.flatnonzero(np.isin(inverse, members)) for bucket, members in groups.items()}


def _coarsest(bucket: Bucket, now: int) -> Bucket:
    while _merges(bucket, now):
        bucket = Bucket(bucket.level + 1, bucket.ordinal // 2)
    return bucket


def coarsen(buckets: Iterable[Bucket], high_ms: int, span_ms: int) -> dict[Bucket, Bucket]:
    """Where each bucket belongs now that the clock has reached `high_ms`; only those that must move."""
    now = high_ms // span_ms
    return {bucket: coarse for bucket in buckets if (coarse := _coarsest(bucket, now)) != bucket}


def weight(bucket: Bucket, now_ms: int, span_ms: int, half_life_ms: float | None) -> float:
    """The weight of a bucket's sums at `now_ms`, `2^(-age / half_life)`; 1 without a half-life.

    Examples
    --------
    >>> weight(Bucket(0, 0), now_ms=150, span_ms=100, half_life_ms=100.0)
    0.5
    """
    if half_life_ms is None:
        return 1.0
    return float(2.0 ** (-max(0.0, now_ms - bucket.middle_ms(span_ms)) / half_life_ms))
