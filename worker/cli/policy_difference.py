"""What two policies differ by, for people and scripts: their decisions on a sample of the log, and their manifests."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from alice_rl.snapshot.format import digest, unpack
from worker.cli.policy_changes import Change, changes
from worker.cli.policy_compare import SlotDifference, compare, decide_alike
from worker.latest_decisions import Sample
from worker.settings import Settings

__all__ = ["Difference", "SampleSeen", "Side"]


class Side(Struct, frozen=True):
    """One of the two policies: how it was asked for, and what it is."""

    asked: str
    version: int
    digest: str


class SampleSeen(Struct, frozen=True):
    """The decisions that were compared: how many, from when to when (event time, ms), and the records read for them."""

    decisions: int
    first_ms: int
    last_ms: int
    records: int
    rejected: int


class Difference(Struct, frozen=True, kw_only=True):
    """What two policies differ by.

    Attributes
    ----------
    a, b : Side
    equal : bool
        They hold the same numbers, and decide alike on whatever is asked. Then no sample is read.
    sample : SampleSeen or None
    slots : list of SlotDifference
    changes : list of Change
        What their manifests say differently.
    """

    a: Side
    b: Side
    equal: bool
    sample: SampleSeen | None
    slots: list[SlotDifference]
    changes: list[Change]

    @classmethod
    def of(
        cls, asked: tuple[str, str], blobs: tuple[bytes, bytes], settings: Settings, sampled: Callable[[], Sample]
    ) -> Difference:
        """The difference of two policies' bytes, on decisions that are read when they are needed.

        Raises
        ------
        SnapshotError
            The bytes are refused.
        """
        key = settings.snapshot.signing_key.encode() or None
        a, b = unpack(blobs[0], key), unpack(blobs[1], key)
        equal = decide_alike(a, b)
        sample = None if equal else sampled()
        sides = [
            Side(name, snapshot.manifest.version, digest(blob))
            for name, snapshot, blob in zip(asked, (a, b), blobs, strict=True)
        ]
        return cls(
            a=sides[0],
            b=sides[1],
            equal=equal,
            sample=None if sample is None else _seen(sample),
            slots=[] if sample is None else compare(a, b, sample.decisions),
            changes=changes(a.manifest, b.manifest),
        )


def _seen(sample: Sample) -> SampleSeen:
    first, last = sample.decisions[0], sample.decisions[-1]
    return SampleSeen(len(sample.decisions), first.ts_ms, last.ts_ms, sample.records, sample.rejected)
