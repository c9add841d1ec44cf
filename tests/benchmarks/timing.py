"""Rates that are measured in turns, and their ratios."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import NamedTuple

__all__ = ["Contestant", "Finding", "Rates", "Ratio", "interleave", "rate_of"]

Contestant = Callable[[], float]
"""Does a slice of its work and returns the rate, per second."""


class Ratio(NamedTuple):
    """Rate by rate: the median over the rounds, the least and the largest of them; above 1 is ahead."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Ratio:
        return cls(statistics.median(values), min(values), max(values))

    def times(self, factor: float) -> Ratio:
        return Ratio(*[factor * value for value in self])

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.low)} to {_short(self.high)})"


class Finding(NamedTuple):
    """One line of the report.

    `key` is its name in the JSON, for the numbers that have a place there; `percent` shows a share as such.
    """

    section: str
    name: str
    value: Ratio | float
    target: str = ""
    key: str = ""
    percent: bool = False

    @property
    def number(self) -> float:
        return self.value.median if isinstance(self.value, Ratio) else self.value


class Rates:
    """The rates of several contestants, one per round."""

    def __init__(self, names: Sequence[str]) -> None:
        self.by_name: dict[str, list[float]] = {name: [] for name in names}

    def ratio(self, name: str, other: str) -> Ratio:
        return Ratio.of([a / b for a, b in zip(self.by_name[name], self.by_name[other], strict=True)])

    def median(self, name: str) -> float:
        return statistics.median(self.by_name[name])

    def fastest(self, *names: str) -> str:
        return max(names, key=self.median)


def interleave(contestants: Mapping[str, Contestant], rounds: int) -> Rates:
    """Let the contestants take turns, after a round that warms up and does not count."""
    rates = Rates(list(contestants))
    gc.collect()
    gc.freeze()  # as the worker does: what was prepared is not walked again and again
    for number in range(rounds + 1):
        for name, work in contestants.items():
            rate = work()
            if number:
                rates.by_name[name].append(rate)
    gc.unfreeze()
    return rates


def rate_of(work: Callable[[], object], units: int) -> Contestant:
    """A contestant that does `units` of work per slice."""

    def run() -> float:
        started = perf_counter()
        work()
        return units / (perf_counter() - started)

    return run


def _short(number: float) -> str:
    return f"{number:.2f}" if number < 10 else f"{number:.0f}" if number < 1000 else f"{number:,.0f}"
