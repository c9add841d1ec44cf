"""Windows over panes: a window is a sum of panes and nothing is ever subtracted, so that it is exact and may slide.

Windows that slide share most of their panes. With the panes in blocks of one window's length, each window is the tail
of a block and the head of the next one: two sums that are made once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from alice_rl.online.ope import Pane

__all__ = ["Window", "merged", "windows"]


class Window(NamedTuple):
    """The turns with times in `[start_ms, end_ms)`."""

    start_ms: int
    end_ms: int
    pane: Pane


def merged(panes: Mapping[int, Pane]) -> Pane:
    """All panes together."""
    return sum(panes.values(), start=Pane())


def windows(panes: Mapping[int, Pane], slide_ms: int, per_window: int = 1) -> Iterator[Window]:
    """The windows over panes of `slide_ms`, each of `per_window` panes; tumbling ones have one.

    Parameters
    ----------
    panes : mapping of int to Pane
        By ordinal: pane i has the times from `i slide_ms` on.

    Yields
    ------
    Window
        In the order of their ends, from the first that is whole to that of the last pane; those without turns are left
        out, as a log may be silent for long.

    Examples
    --------
    >>> panes = {7: Pane.of([1.0], [1.0]), 8: Pane.of([1.0], [0.0]), 10: Pane.of([1.0], [1.0])}
    >>> [(w.start_ms, w.end_ms, w.pane.n) for w in windows(panes, 1000, 2)]
    [(7000, 9000, 2), (8000, 10000, 1), (9000, 11000, 1)]
    >>> panes[10**9] = Pane.of([1.0], [1.0])
    >>> [w.start_ms for w in windows(panes, 1000)]
    [7000, 8000, 10000, 1000000000000]
    """
    if not panes:
        return
    ordinals = sorted(panes)
    heads, tails = _running(panes, ordinals, per_window), _running(panes, ordinals[::-1], per_window)
    for end in _ends(ordinals, per_window):
        start, block = end - per_window + 1, end // per_window
        oldest, newest = ordinals[bisect_left(ordinals, start)], ordinals[bisect_right(ordinals, end) - 1]
        pane = Pane() if oldest // per_window == block else tails[oldest]
        if newest // per_window == block:
            pane += heads[newest]
        yield Window(start * slide_ms, (end + 1) * slide_ms, pane)


def _running(panes: Mapping[int, Pane], ordinals: Iterable[int], per_window: int) -> dict[int, Pane]:
    """Of each pane, the sum of its block up to it, in the order of `ordinals`."""
    sums: dict[int, Pane] = {}
    block, total = None, Pane()
    for i in ordinals:
        total = total + panes[i] if i // per_window == block else panes[i]
        block, sums[i] = i // per_window, total
    return sums


def _ends(ordinals: Sequence[int], per_window: int) -> Iterator[int]:
    """The last ordinals of the windows that hold a pane, in order."""
    last = ordinals[-1]
    unsaid = min(ordinals[0] + per_window - 1, last)
    for i in ordinals:
        beyond = min(i + per_window - 1, last) + 1
        yield from range(max(i, unsaid), beyond)
        unsaid = max(unsaid, beyond)
