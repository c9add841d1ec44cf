"""Thinning: every k-th of what goes by, so that about so many a second are left."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Thinning"]

T = TypeVar("T")


class Thinning:
    """Every k-th item, in order, so that about `per_second` are kept; where there are fewer, all of them.

    Parameters
    ----------
    per_second : int

    Notes
    -----
    Of our seconds, because it is our time and memory that are spared; k follows the second before, and doubles where
    a burst brings more.
    """

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._every = 1
        self._passed = 0  # since one was kept
        self._second, self._seen, self._kept = 0, 0, 0

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Those of the next items that are kept."""
        second = int(asyncio.get_running_loop().time())
        if second != self._second:
            self._every = max(1, -(-self._seen // self._per_second))
            self._second, self._seen, self._kept = second, 0, 0
        elif self._kept >= self._per_second:
            self._every, self._kept = self._every * 2, 0
        chosen = items[max(0, self._every - 1 - self._passed) :: self._every]
        self._passed = (self._passed + len(items)) % self._every
        self._seen += len(items)
        self._kept += len(chosen)
        return chosen
