"""How far an assistant may run ahead of what has been learned from it.

A simulation is faster than any real traffic. Without a bound it would play most of its turns under old
policies, the more so the slower the machine; with one, what it shows depends on what was learned and not on who
was quick.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Pace"]


class Pace(NamedTuple):
    """Turns ahead of the policy in use: a share of what that policy has learned, between two bounds.

    Attributes
    ----------
    first : int
        Turns ahead at the beginning, when a little is much.
    most : int
        Turns ahead at the most.
    share : float

    Examples
    --------
    >>> pace = Pace(first=200, most=1200, share=0.5)
    >>> [pace.room(played=0, learned=0), pace.room(2000, 1500), pace.room(9000, 8500), pace.room(9000, 7000)]
    [200, 250, 700, 0]
    """

    first: int = 150
    most: int = 800
    share: float = 0.35

    def room(self, played: int, learned: float) -> int:
        """Turns that may be played now, when the policy in use has learned from `learned` of those `played`."""
        ahead = min(max(self.first, int(self.share * learned)), self.most)
        return max(0, ahead - int(played - learned))
