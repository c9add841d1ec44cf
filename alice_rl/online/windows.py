"""Windows over panes: a window adds its panes anew and never subtracts, so that it is exact and may slide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    first, last = min(panes), max(panes)
    earliest = min(first + per_window - 1, last)
    ends = {end for i in panes for end in range(max(i, earliest), min(i + per_window - 1, last) + 1)}
    for end in sorted(ends):
        inside = {i: panes[i] for i in range(end - per_window + 1, end + 1) if i in panes}
        yield Window((end - per_window + 1) * slide_ms, (end + 1) * slide_ms, merged(inside))
