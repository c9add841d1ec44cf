"""Episodes to columns: the arrays that the moments add up, and their addition to the sums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from alice_rl.episodes import Episode
from alice_rl.events import Context, SlotChoice
from alice_rl.features import Design, Featuriser, query_class
from alice_rl.lineage import Lineage
from alice_rl.online.moments import ROWS_MAX
from alice_rl.reward import COMPONENTS, components
from alice_rl.sums import Sums
from alice_rl.vocabulary import Vocabulary

__all__ = ["Columnar", "Columns", "add", "joined"]

IntArray = npt.NDArray[np.int64]
_CONTEXT, _INTENT = attrgetter("context"), attrgetter("intent")
_ROUTE, _TOOL, _CACHE = attrgetter("route"), attrgetter("tool"), attrgetter("cache")
_HIT = COMPONENTS.index("cache_hit")
_PAIRS = np.triu_indices(len(COMPONENTS))


class Columns(NamedTuple):
    """A batch of N episodes as arrays. An arm of -1 is a slot that the turn did not use, or that it teaches nothing.

    `ts_ms` (N,); `design` N rows; `y` (N, m); `route`, `tool`, `cache` (N,) arms; `tool_good` (N,) bool; `intents` and
    `classes`, the names of the rows in the tallies.
    """

    ts_ms: IntArray
    design: Design
    y: IntArray
    route: IntArray
    tool: IntArray
    cache: IntArray
    tool_good: npt.NDArray[np.bool_]
    intents: list[str]
    classes: list[str]

    @classmethod
    def concatenated(cls, parts: Sequence[Columns]) -> Columns:
        """Several batches of one featuriser as one."""
        if len(parts) == 1:
            return parts[0]
        designs = [part.design for part in parts]
        design = Design(
            designs[-1].table,  # which has grown out of those before it
            np.concatenate([d.codes for d in designs]),
            np.concatenate([d.numerics for d in designs]),
            designs[-1].columns,
        )
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
        intents, classes = (list(chain.from_iterable(getattr(part, name) for part in parts)) for name in _NAMES)
        return cls(design=design, intents=intents, classes=classes, **joined)


_ARRAYS = ("ts_ms", "y", "route", "tool", "cache", "tool_good")
_NAMES = ("intents", "classes")


class Columnar:
    """Turns episodes into columns for one lineage.

    Parameters
    ----------
    lineage : Lineage

    Attributes
    ----------
    intents, classes : Vocabulary
        The names that have rows of their own.
    """

    def __init__(self, lineage: Lineage) -> None:
        self.lineage = lineage
        self._featuriser = Featuriser(lineage.features)
        self._route = {arm: k for k, arm in enumerate(lineage.arms.route)}
        self._tool = {arm: k for k, arm in enumerate(lineage.arms.tool)}
        self._cache = {arm: k for k, arm in enumerate(lineage.arms.cache)}
        self.intents = Vocabulary(lineage.names_max)
        self.classes = Vocabulary(lineage.names_max)

    def grown(self, lineage: Lineage) -> Columnar:
        """The same for a lineage with numerics appended; columns made before must be used up."""
        columnar = Columnar(lineage)
        columnar.intents, columnar.classes = self.intents, self.classes
        return columnar

    def renew(self) -> None:
        """To be called when no columns made before are still to be added."""
        self._featuriser.renew()

    def admit(self, contexts: Sequence[Context]) -> None:
        """Take the names of newly read decisions into the vocabularies, in log order."""
        names = list(map(_INTENT, contexts))
        self.intents.admit(names)
        self.classes.admit(self._classes(names, contexts))

    def columns(self, episodes: Sequence[Episode]) -> Columns:
        """The arrays of a batch.

        Notes
        -----
        A turn that the cache answered ran neither route nor tool: it teaches the cache alone, unless `hits_teach_all`.
        A turn that used no tool judges the arm it chose, "none" as a rule, by whether the turn succeeded.
        """
        decisions, times, outcomes, _ = zip(*episodes, strict=True)
        contexts = list(map(_CONTEXT, decisions))
        names = list(map(_INTENT, contexts))
        y = components(outcomes, self.lineage.bounds)
        ran = np.ones(len(y), dtype=np.bool_) if self.lineage.hits_teach_all else y[:, _HIT] == 0
        good = [o.success if (ok := o.tool_ok) is None else ok for o in outcomes]
        return Columns(
            np.array(times, dtype=np.int64),
            self._featuriser.design(contexts),
            y,
            np.where(ran, _arms(self._route, map(_ROUTE, decisions)), -1),
            np.where(ran, _arms(self._tool, map(_TOOL, decisions)), -1),
            _arms(self._cache, map(_CACHE, decisions)),
            np.array(good, dtype=np.bool_),
            self.intents.rows(names),
            self.classes.rows(self._classes(names, contexts)),
        )

    def _classes(self, intents: list[str], contexts: Sequence[Context]) -> list[str]:
        if self.lineage.cache_class == ("intent",):
            return intents
        return [query_class(context, self.lineage.cache_class) for context in contexts]


def _arms(index: dict[str, int], slots: Iterable[SlotChoice | None]) -> IntArray:
    """The arm of each slot by its number, -1 where the slot was not used; ndarray, shape (N,)."""
    return np.array([-1 if slot is None else index[slot.arm] for slot in slots], dtype=np.int64)


def joined(parts: Sequence[Columns]) -> Iterator[Columns]:
    """The columns of a feed in as few additions as may be: what an addition costs hardly depends on its rows."""
    at, rows = 0, 0
    for end, part in enumerate(parts):
        if rows + len(part.ts_ms) > ROWS_MAX:
            yield Columns.concatenated(parts[at:end])
            at, rows = end, 0
        rows += len(part.ts_ms)
    if rows:
        yield Columns.concatenated(parts[at:])


def add(sums: Sums, columns: Columns, rows: npt.NDArray[np.intp] | slice) -> None:
    """Add the given rows of a batch to the sums."""
    sums.changed()
    y = columns.y[rows]
    _add_route(sums, columns, columns.route[rows], rows, y)
    tool = columns.tool[rows]
    used = np.flatnonzero(tool >= 0)
    if len(used):
        good = columns.tool_good[rows][used]
        sums.tool.add(_pick(columns.intents, rows, used), tool[used], np.stack((good, ~good), axis=1).astype(np.int64))
    cache = columns.cache[rows]
    used = np.flatnonzero(cache >= 0)
    if len(used):
        own = y[used]
        ones = np.ones((len(used), 1), dtype=np.int64)
        values = np.concatenate((ones, own, own[:, _PAIRS[0]] * own[:, _PAIRS[1]]), axis=1)
        sums.cache.add(_pick(columns.classes, rows, used), cache[used], values)


def _add_route(sums: Sums, columns: Columns, route: IntArray, rows: npt.NDArray[np.intp] | slice, y: IntArray) -> None:
    used = np.flatnonzero(route >= 0)
    if len(used):
        table, codes, numerics, at = columns.design
        sums.route.add(route[used], table, codes[rows][used], numerics[rows][used], at, y[used])


def _pick(names: list[str], rows: npt.NDArray[np.intp] | slice, used: npt.NDArray[np.intp]) -> list[str]:
    chosen = names if isinstance(rows, slice) else [names[i] for i in rows.tolist()]
    return chosen if len(used) == len(chosen) else [chosen[i] for i in used.tolist()]
