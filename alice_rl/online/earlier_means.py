"""A reward model out of earlier turns alone: means by cell, shrunk to the overall mean so far."""

from __future__ import annotations

__all__ = ["EarlierMeans"]

_BORROWED = 10.0  # turns that each cell borrows at the overall mean
_CELLS_MAX = 65_536


class EarlierMeans:
    """What a cell's turns have brought so far, for the doubly robust estimate.

    Notes
    -----
    A model that has seen the turn it predicts is no control variate: it takes the turn's own luck away. So `expect`
    comes before `learn`, turn by turn. Cells beyond a bound share the overall mean.

    Examples
    --------
    >>> means = EarlierMeans()
    >>> means.expect(("weather", "micro"))
    0.0
    >>> means.learn(("weather", "micro"), 3.0)
    >>> means.expect(("weather", "micro")), means.expect(("weather", "deep"))
    (3.0, 3.0)
    """

    def __init__(self) -> None:
        self._n, self._total = 0, 0.0
        self._cells: dict[tuple[str, str], tuple[int, float]] = {}

    def expect(self, cell: tuple[str, str]) -> float:
        """The expected reward, from what was learned so far; 0 from nothing."""
        overall = self._total / self._n if self._n else 0.0
        n, total = self._cells.get(cell, (0, 0.0))
        return (total + _BORROWED * overall) / (n + _BORROWED)

    def learn(self, cell: tuple[str, str], r: float) -> None:
        """Take in one turn's reward."""
        self._n, self._total = self._n + 1, self._total + r
        n, total = self._cells.get(cell, (0, 0.0))
        if n or len(self._cells) < _CELLS_MAX:
            self._cells[cell] = (n + 1, total + r)
