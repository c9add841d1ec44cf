"""Names that have rows of their own: intents and query classes, in the log's order, up to a bound."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["OTHER", "Vocabulary"]

OTHER = "*"
"""The row that all names beyond the bound share."""


class Vocabulary:
    """A bounded set of names, grown in log order.

    A name is admitted when a decision with it is first read, not when its episode completes: only the former happens
    in an order that the log fixes. So the set is part of the checkpoint.

    Parameters
    ----------
    names_max : int
    names : iterable of str, optional
        Names admitted earlier.

    Examples
    --------
    >>> vocabulary = Vocabulary(2)
    >>> vocabulary.admit(["weather", "code", "music", "weather"])
    >>> vocabulary.rows(["code", "music", "weather"]), vocabulary.overflowed
    (['code', '*', 'weather'], True)
    """

    def __init__(self, names_max: int, names: Iterable[str] = ()) -> None:
        self.names_max = names_max
        self.names = set(names)
        self.overflowed = False

    def admit(self, names: Iterable[str]) -> None:
        """Admit names in their order, as long as there is room."""
        for name in dict.fromkeys(names):
            if name not in self.names:
                if len(self.names) < self.names_max:
                    self.names.add(name)
                else:
                    self.overflowed = True

    def rows(self, names: list[str]) -> list[str]:
        """The row of each name: itself when it was admitted, else `OTHER`."""
        if self.overflowed or not self.names.issuperset(names):
            return [name if name in self.names else OTHER for name in names]
        return names
