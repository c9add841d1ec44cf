"""Finding the record that kills its reader: fold in ever smaller steps, and leave word of each before taking it.

A worker that dies while folding leaves no checkpoint, and its successor dies at the same place. Redis counts such
claims in vain. From the third on, the range that is about to be folded is written down first, so that a death is blamed
on a range; the next worker folds that range in smaller pieces, until a single record is to blame. That record is passed
over from then on: it is rejected, dead-lettered, and said so loudly. A worker killed by chance is not mistaken for
this: the same single record must be to blame twice in a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from alice_rl.intake import Record
from alice_rl.snapshot.records import Claim

__all__ = ["Suspicion"]

_IN_VAIN = 2  # claims that may be in vain before the next one is careful
_DEATHS = 2  # of a single record's readers, before it is passed over
_STEP, _NARROWER = 1024, 32  # records folded between two words, and how much fewer where somebody died


class Suspicion(NamedTuple):
    """That a record kills its reader, and where: offsets `[first, end)`, or (0, 0) when nobody knows yet.

    Examples
    --------
    >>> Suspicion(100, 101, deaths=2).culprit
    100
    """

    first: int = 0
    end: int = 0
    deaths: int = 0

    @classmethod
    def of(cls, claim: Claim) -> Suspicion | None:
        """What a claim gives reason to suspect."""
        if claim.blamed is not None:
            return cls(*claim.blamed, claim.deaths)
        return cls() if claim.in_vain >= _IN_VAIN else None

    @property
    def culprit(self) -> int | None:
        """The offset of the record to pass over, once it is found."""
        return self.first if self.end - self.first == 1 and self.deaths >= _DEATHS else None

    def parts(self, records: Sequence[Record]) -> Iterator[Sequence[Record]]:
        """The records in steps that are small enough to tell what killed their reader."""
        narrow = max(1, (self.end - self.first) // _NARROWER)
        at = 0
        while at < len(records):
            offset = records[at].offset
            stop = at + (narrow if self.first <= offset < self.end else _STEP)
            if offset < self.first:  # a step ends where the range begins
                stop = at + sum(record.offset < self.first for record in records[at:stop])
            yield records[at:stop]
            at = min(stop, len(records))
