"""Trials in the fold: who was compared with whom on randomised traffic, and what came of it, by event time.

Every decision says which policies were compared when it was taken, at what share, and with what probability each of
them would have served what was served. A trial's request counts in the pane of event time in which it was decided, and
a pane is *closed*, and counts for a verdict, once the join horizon has passed since its end: whatever may come was
awaited for all of its requests alike. To count rewards as they arrive would count quick answers first.

What is told after its pane has closed is left out. So a closed pane never changes, and what is closed at an offset is a
function of the log up to there.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple, Self, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from alice_rl.episodes import Episode
from alice_rl.lineage import Lineage
from alice_rl.online.decay import Bucket
from alice_rl.online.trial import TrialSums
from alice_rl.parts import Parts
from alice_rl.reward import COMPONENTS, OutcomeLike, components
from alice_rl.trial_columns import Trial, TrialColumns, trials_of

__all__ = ["Trial", "TrialPane", "Trials", "pooled"]

IndexArray = npt.NDArray[np.intp]
Pane = TypeVar("Pane", int, npt.NDArray[np.int64])

_M = len(COMPONENTS)
_PANES_PER_HORIZON = 20
_EPOCH_MS = 28 * 86_400_000
_TRIALS_MAX = 256  # per epoch: some eighty canaries at three shares each; more is somebody playing with the stamps
_LENGTH = struct.Struct("<I")


class _Requests(NamedTuple):
    """Requests of one trial and pane, still to be added: `treated` (N,), `u` (N,) and N outcomes."""

    treated: npt.NDArray[np.bool_]
    u: npt.NDArray[np.int64]
    outcomes: list[OutcomeLike]

    @classmethod
    def of(cls, columns: TrialColumns, rows: IndexArray) -> Self:
        """The given rows of a trial."""
        return cls(columns.treated[rows], columns.u[rows], [columns.outcomes[row] for row in rows.tolist()])


class TrialPane:
    """The trials of one interval of event time.

    Attributes
    ----------
    sums : dict of Trial to TrialSums
    """

    def __init__(self) -> None:
        self.sums: dict[Trial, TrialSums] = {}
        self._digest: str | None = None

    def add(self, trial: Trial, sums: TrialSums) -> None:
        """Add the sums of some requests."""
        self.sums[trial] = self.sums[trial] + sums if trial in self.sums else sums
        self._digest = None

    def digest(self) -> str:
        """SHA-256 of the canonical bytes, hexadecimal."""
        return self._digest or self.sealed()[1]

    def sealed(self) -> tuple[bytes, str]:
        """The canonical bytes and their digest."""
        data = self.to_bytes()
        self._digest = self._digest or hashlib.sha256(data).hexdigest()
        return data, self._digest

    def to_bytes(self) -> bytes:
        """The canonical form: a JSON header with the trials in order, then their sums."""
        ordered = sorted(self.sums)
        header = msgspec.json.encode(ordered)
        return _LENGTH.pack(len(header)) + header + b"".join(self.sums[trial].to_bytes() for trial in ordered)

    @classmethod
    def from_bytes(cls, data: bytes) -> TrialPane:
        """The pane that `to_bytes` wrote."""
        start = _LENGTH.size + _LENGTH.unpack_from(data)[0]
        size, pane = TrialSums.size(_M), cls()
        for trial in msgspec.json.decode(data[_LENGTH.size : start], type=list[Trial]):
            pane.add(trial, TrialSums.from_bytes(_M, data[start : start + size]))
            start += size
        return pane


class Trials(Parts[TrialPane]):
    """The trials of one partition: open panes apart, closed ones added up by epochs of some weeks.

    Parameters
    ----------
    lineage : Lineage

    Attributes
    ----------
    counts : Counter
        Requests of a trial that do not count: `trial_late`, told after their pane had closed; `trial_unfit`, without
        the probabilities that it takes; `trial_overflow`, of more trials than are kept. Emptied by the caller.

    Examples
    --------
    >>> trials = Trials(Lineage())
    >>> trials.take([]), trials.settle(0), trials.closed()
    (None, None, {})
    """

    prefix: ClassVar[str] = "trial:"

    def __init__(self, lineage: Lineage) -> None:
        self._horizon_ms = lineage.join.horizon_seconds * 1000
        super().__init__(self._horizon_ms // _PANES_PER_HORIZON, TrialPane.from_bytes)
        self.counts: Counter[str] = Counter()
        self._bounds = lineage.bounds
        self._level = (-(-_EPOCH_MS // self._span_ms) - 1).bit_length()
        self._pending: dict[tuple[int, Trial], list[_Requests]] = {}
        self._admitted: dict[int, set[Trial]] = {}

    def load(self, bucket: Bucket, data: bytes) -> None:
        """Take a pane, or an epoch, back from its canonical bytes."""
        super().load(bucket, data)
        self._admitted.setdefault(self._epoch(bucket), set()).update(self[bucket].sums)

    def take(self, episodes: Sequence[Episode]) -> None:
        """Take in complete episodes, in log order; those of no trial are passed over."""
        told: list[tuple[int, int, TrialColumns, IndexArray]] = []
        for columns in trials_of(episodes):
            panes = columns.ts_ms // self._span_ms
            late = columns.told_ms >= self._closes_ms(panes)
            counted = ~late & columns.fit
            self.counts += Counter(trial_late=int(late.sum()), trial_unfit=int((~late & ~columns.fit).sum()))
            for pane in np.unique(panes[counted]).tolist():
                rows = np.flatnonzero((panes == pane) & counted)
                told.append((columns.rows[int(rows[0])], pane, columns, rows))
        for _, pane, columns, rows in sorted(told, key=lambda part: (part[0], part[2].trial)):  # in log order
            if self._admits(pane, columns.trial):
                self._pending.setdefault((pane, columns.trial), []).append(_Requests.of(columns, rows))
            else:
                self.counts["trial_overflow"] += len(rows)

    def settle(self, high_ms: int) -> None:
        """Add what was taken, until the log's clock had reached `high_ms`; close the panes that are over by then."""
        if self._pending:
            self._add()
        for bucket in [bucket for bucket in self if not bucket.level and self._closes_ms(bucket.ordinal) <= high_ms]:
            self._close(bucket)
        self._forget(high_ms)

    def closed(self) -> dict[Trial, TrialSums]:
        """The trials over all closed panes."""
        return pooled([part.sums for bucket, part in self.items() if bucket.level])

    @classmethod
    def is_open(cls, name: str) -> bool:
        """Whether a name is that of a pane which is still open."""
        return name.startswith(f"{cls.prefix}0:")

    def _admits(self, pane: int, trial: Trial) -> bool:
        admitted = self._admitted.setdefault(self._epoch(Bucket(0, pane)), set())
        if trial not in admitted and len(admitted) >= _TRIALS_MAX:
            return False
        admitted.add(trial)
        return True

    def _add(self) -> None:
        for (pane, trial), requests in self._pending.items():
            sums = TrialSums(_M)
            outcomes = [outcome for part in requests for outcome in part.outcomes]
            treated, u = (np.concatenate(column) for column in zip(*((r.treated, r.u) for r in requests), strict=True))
            sums.add(components(outcomes, self._bounds), treated, u)
            self._of(Bucket(0, pane)).add(trial, sums)
        self._pending.clear()

    def _close(self, bucket: Bucket) -> None:
        epoch = self._of(Bucket(self._level, self._epoch(bucket)))
        for trial, sums in self.pop(bucket).sums.items():
            epoch.add(trial, sums)
        self.changed.discard(bucket)
        self.removed.add(bucket)

    def _forget(self, high_ms: int) -> None:
        """Forget epochs that ended a whole epoch ago."""
        width = self._span_ms << self._level
        for ordinal in [ordinal for ordinal in self._admitted if (ordinal + 2) * width <= high_ms]:
            del self._admitted[ordinal]
            bucket = Bucket(self._level, ordinal)
            if self.pop(bucket, None) is not None:
                self.changed.discard(bucket)
                self.removed.add(bucket)

    def _epoch(self, bucket: Bucket) -> int:
        return bucket.ordinal >> (self._level - bucket.level)

    def _closes_ms(self, pane: Pane) -> Pane:
        return (pane + 1) * self._span_ms + self._horizon_ms

    def _of(self, bucket: Bucket) -> TrialPane:
        self.changed.add(bucket)
        self.removed.discard(bucket)
        return self.setdefault(bucket, TrialPane())


def pooled(parts: Iterable[Mapping[Trial, TrialSums]]) -> dict[Trial, TrialSums]:
    """The trials of several parts together."""
    total: dict[Trial, TrialSums] = {}
    for part in parts:
        for trial, sums in part.items():
            total[trial] = total[trial] + sums if trial in total else sums
    return total
