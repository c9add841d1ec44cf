"""What Redis holds and what the scripts answer, as typed values; nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

__all__ = [
    "BUCKET",
    "Applied",
    "Claim",
    "HistoryEntry",
    "Moved",
    "Owner",
    "Pin",
    "Publication",
    "Published",
    "ShardChange",
    "ShardRecord",
    "Stage",
    "StoredSnapshot",
]

# Extra fields and buckets share the HASH with the offsets; the prefix keeps their names apart.
_EXTRA = "extra:"
BUCKET = "bucket:"
"""What the field of a bucket begins with in a shard's HASH."""


class Applied(StrEnum):
    """What a script did with a request; only `OK` wrote anything.

    `ALREADY` is a success: the same request was carried out before. The others are refusals: `FENCED`
    (another worker owns the partition), `CAS` (Redis does not stand where the caller thought), `LINEAGE` (not
    this lineage, or not with this configuration), `OFFSETS` (a partition would go back), `MISSING` (no such
    version), `PINNED` (a pin holds).
    """

    OK = "OK"
    ALREADY = "ALREADY"
    FENCED = "FENCED"
    CAS = "CAS"
    LINEAGE = "LINEAGE"
    OFFSETS = "OFFSETS"
    MISSING = "MISSING"
    PINNED = "PINNED"

    @property
    def done(self) -> bool:
        """Whether the request is carried out, now or before.

        Examples
        --------
        >>> Applied.ALREADY.done, Applied.CAS.done
        (True, False)
        """
        return self in (Applied.OK, Applied.ALREADY)


class Stage(StrEnum):
    """Where a version serves: `PROD` is live for everyone, `CANARY` for a share of the requests."""

    PROD = "prod"
    CANARY = "canary"


class Pin(StrEnum):
    """What a promotion does to the pin: leave it (and be refused by another's), set it, or lift it."""

    KEEP = "keep"
    PIN = "pin"
    UNPIN = "unpin"


class Owner(msgspec.Struct, frozen=True):
    """Who holds a partition, and until when (Redis's clock, ms since the epoch)."""

    token: int
    worker: str
    epoch: int
    lease_until_ms: int


class Claim(msgspec.Struct, frozen=True):
    """The answer to a claim.

    Attributes
    ----------
    applied : Applied
        `OK`, `ALREADY`, or `FENCED` when this claim was superseded before its answer arrived.
    token : int
        The fencing token to hand to every checkpoint.
    shard_exists, partition_known : bool
        A known partition without a shard has lost its state: replay, do not start from nothing.
    lease_until_ms : int
        End of the lease by Redis's clock, ms since the epoch.
    in_vain : int
        Claims right before this one after which no checkpoint moved the shard.
    blamed : (int, int) or None
        Offsets `[first, end)` that the last owners were folding when they died, where they said so.
    deaths : int
        How many owners died there, in a row.
    """

    applied: Applied
    token: int
    shard_exists: bool
    partition_known: bool
    lease_until_ms: int
    in_vain: int = 0
    blamed: tuple[int, int] | None = None
    deaths: int = 0


class ShardChange(msgspec.Struct, frozen=True, kw_only=True):
    """What one checkpoint writes: the offsets, and the fields that changed since `expected_next`.

    Attributes
    ----------
    checkpoint_id : str
        Unique per checkpoint; a retry after a lost answer carries the same one.
    expected_next : int or None
        Offset at which the stored shard must stand; None when there must be none yet.
    next, low : int
        Next offset to fold, and the oldest offset that rebuilds the joiner.
    watermark_ms : int
        Event time, ms since the epoch.
    tail : str
        Fingerprint of the last folded record.
    extra, buckets : dict of str to bytes
        Fields to set, by name; those not named keep their value.
    removed_extra, removed_buckets : tuple of str
        Fields to delete.
    """

    checkpoint_id: str
    expected_next: int | None
    next: int
    low: int
    watermark_ms: int
    tail: str = ""
    extra: dict[str, bytes] = {}
    buckets: dict[str, bytes] = {}
    removed_extra: tuple[str, ...] = ()
    removed_buckets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.next:
            raise ValueError(f"offsets must be 0 <= low <= next, not low={self.low} next={self.next}")
        if self.expected_next is not None and self.next < self.expected_next:
            raise ValueError(f"next={self.next} lies before expected_next={self.expected_next}")
        if not self.checkpoint_id:
            raise ValueError("a checkpoint needs an id, or its repetition cannot be told from a new one")

    def to_arguments(self) -> list[bytes | str | int]:
        """The last arguments of the script `checkpoint`: offsets, count, pairs to set, fields to delete."""
        pairs: list[bytes | str | int] = []
        for prefix, fields in ((_EXTRA, self.extra), (BUCKET, self.buckets)):
            for name, value in fields.items():
                pairs += (prefix + name, value)
        removed = [_EXTRA + name for name in self.removed_extra] + [BUCKET + name for name in self.removed_buckets]
        expected = "" if self.expected_next is None else self.expected_next
        return [expected, self.next, self.low, self.watermark_ms, self.tail, len(pairs), *pairs, *removed]


class ShardRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One stored shard: attributes as in `ShardChange`, the fields complete."""

    next: int
    low: int
    watermark_ms: int
    tail: str
    extra: dict[str, bytes]
    buckets: dict[str, bytes]

    @classmethod
    def from_hash(cls, fields: Mapping[bytes, bytes]) -> ShardRecord:
        """Read the HASH that the script `checkpoint` writes."""
        named = {name.decode(): value for name, value in fields.items()}
        return cls(
            next=int(named["next"]),
            low=int(named["low"]),
            watermark_ms=int(named["watermark_ms"]),
            tail=named["tail"].decode(),
            extra={name[len(_EXTRA) :]: value for name, value in named.items() if name.startswith(_EXTRA)},
            buckets={name[len(BUCKET) :]: value for name, value in named.items() if name.startswith(BUCKET)},
        )


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot on its way to Redis.

    Attributes
    ----------
    expected_seq : int
        The head's `seq` as read; the blob was packed with version `expected_seq + 1`.
    lineage : str
        Must be the active one.
    offsets : dict of int to int
        As-of offsets `{partition: next_offset}`, every partition of the lineage.
    digest : str
        Digest of the snapshot, as decisions will quote it.
    blob : bytes
        The snapshot.
    candidate : bool
        Store it without making it live.
    takes_over_from : str
        The active lineage, when this one is to take its place; empty otherwise.
    who, why, detail : str
        For the audit; `detail` is JSON or empty.
    """

    expected_seq: int
    lineage: str
    offsets: dict[int, int]
    digest: str
    blob: bytes
    candidate: bool = False
    takes_over_from: str = ""
    who: str = ""
    why: str = ""
    detail: str = ""

    def __post_init__(self) -> None:
        if not self.digest:
            raise ValueError("a publication needs a digest, or its repetition cannot be told from a new one")


class Published(msgspec.Struct, frozen=True):
    """The answer to a publication: the `version` issued (or the `seq` that stands), a note on a refusal."""

    applied: Applied
    version: int
    live: bool
    note: str = ""


class Moved(msgspec.Struct, frozen=True):
    """The answer to a promotion or rollback, with the versions that serve after it."""

    applied: Applied
    live: int | None
    canary: int | None


class StoredSnapshot(msgspec.Struct, frozen=True):
    """A version that can still be read; `expires_in_seconds` is None while it is kept."""

    version: int
    published_ms: int
    digest: str
    size_bytes: int
    expires_in_seconds: float | None


class HistoryEntry(msgspec.Struct, frozen=True):
    """One line of the audit; `id` is the stream's, `ts_ms` Redis's clock."""

    id: str
    ts_ms: int
    kind: str
    fields: dict[str, str]
