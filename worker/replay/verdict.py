"""One partition folded again from its log, and compared with its checkpoint: equal, or where they part."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from alice_rl.errors import AliceError
from alice_rl.intake import Record
from alice_rl.lineage import Lineage
from alice_rl.parts import Parts
from alice_rl.refold import Refold
from alice_rl.shard import Shard
from alice_rl.shard_state import ShardState
from alice_rl.snapshot.records import ShardRecord
from alice_rl.snapshot.store import Store
from worker.checkpoint import damaged, read_state, restored
from worker.replay.parallel import Progress
from worker.replay.plan import Span
from worker.replay.span import records_of
from worker.settings import Settings

__all__ = ["Parting", "Verdict", "verify_partition"]


class Parting(Struct, frozen=True):
    """A bucket that is not what the log says.

    Attributes
    ----------
    bucket : str
        Its name.
    from_ms, to_ms : int
        The event time that it spans, ms since the epoch.
    first, last : int or None
        Offsets of the first and last batch that the log adds to it; None when the log adds nothing.
    what : str
        How they part, in words.
    """

    bucket: str
    from_ms: int
    to_ms: int
    first: int | None
    last: int | None
    what: str


class Verdict(Struct, frozen=True):
    """How a partition compares.

    Attributes
    ----------
    partition : int
    source : str
        The archive; empty for the topic.
    start, next : int
        The offsets that were read, `[start, next)`.
    records, buckets : int
        How many records were read, and buckets compared.
    parting : Parting or None
        The first bucket, in event time, that parts; None when all are equal.
    partings : int
        How many buckets part.
    as_of_digest : str
        Digest of the fold at the offset that was asked for; empty when none was.
    """

    partition: int
    source: str
    start: int
    next: int
    records: int
    buckets: int
    parting: Parting | None
    partings: int
    as_of_digest: str

    @property
    def equal(self) -> bool:
        """Whether the checkpoint is what the log says, byte for byte."""
        return self.parting is None


def verify_partition(
    settings: Settings, partition: int, path: str, as_of: int | None, since: ShardRecord | None, progress: Progress
) -> Verdict:
    """Fold a partition's log again, up to where its checkpoint stands.

    Parameters
    ----------
    settings : Settings
    partition : int
    path : str
        The archive; empty for the topic.
    as_of : int or None
        An offset at which the digest is wanted, too.
    since : ShardRecord or None
        An earlier checkpoint of the partition, to begin with; None to begin where the fold began.

    Raises
    ------
    AliceError
        The checkpoint is gone, or the log no longer reaches back far enough.
    """
    return asyncio.run(_verify_partition(settings, partition, path, as_of, since, progress))


async def _verify_partition(
    settings: Settings, partition: int, path: str, as_of: int | None, since: ShardRecord | None, progress: Progress
) -> Verdict:
    store = Store.from_settings(settings.redis, settings.policy.name)
    try:
        record = await store.load_shard(settings.policy.lineage, partition)
    finally:
        await store.close()
    if record is None:
        raise AliceError(f"partition {partition} has no checkpoint", code="checkpoint_lost", hint="alice-rl status")
    state = read_state(record)
    again = _Again(settings.lineage, state, as_of, since)
    first = again.shard.position
    async for records in records_of(settings, Span(partition, first, state.next, path), first):
        again.feed(records)
        progress(again.shard.position - first)
    progress(state.next - first)
    changed = set(damaged(record.buckets, state))
    folded = again.shard.parts.digests()
    parted = {name for name in folded.keys() | state.digests.keys() if folded.get(name) != state.digests.get(name)}
    partings = sorted((again.parting(name, changed, folded) for name in parted | changed), key=lambda p: p.from_ms)
    return Verdict(
        partition,
        state.source,
        first,
        state.next,
        again.records,
        len(folded.keys() | state.digests.keys()),
        partings[0] if partings else None,
        len(partings),
        again.as_of_digest(),
    )


class _Again:
    """The fold once more, with which offsets went into which bucket, and the digest at one offset on the way."""

    def __init__(self, lineage: Lineage, state: ShardState, as_of: int | None, since: ShardRecord | None) -> None:
        begun = None if since is None else restored(read_state(since).structure(lineage), since)
        self._refold = Refold.of(lineage, state, begun)
        self.records = 0
        # What an earlier checkpoint has folded already cannot be cut any more.
        self._as_of = as_of if as_of is not None and as_of >= self.shard.next else None
        self._digest_as_of = ""
        self._offsets: dict[str, tuple[int, int]] = {}

    @property
    def shard(self) -> Shard:
        """What was folded so far."""
        return self._refold.shard

    def feed(self, records: Sequence[Record]) -> None:
        """Fold the next records; those on both sides of the offset that was asked for apart."""
        cut = self._as_of
        if cut is not None and not self._digest_as_of and records[-1].offset >= cut:
            before = [record for record in records if record.offset < cut]
            self._feed(before)
            self._digest_as_of = self.shard.digest()
            records = records[len(before) :]
        self._feed(records)

    def _feed(self, records: Sequence[Record]) -> None:
        if not records:
            return
        shard, first, last = self.shard, records[0].offset, records[-1].offset
        self.records += len(records)
        self._refold.feed(records)
        for parts in shard.parts:
            self._note(parts, first, last)
        shard.parts.written()

    def _note(self, parts: Parts[Any], first: int, last: int) -> None:
        """Note which offsets went into which part; what was merged took its offsets along."""
        for bucket in parts.changed:
            name = parts.name(bucket)
            self._offsets[name] = (self._offsets.get(name, (first, last))[0], last)
        for fine in parts.removed:
            begun = self._offsets.pop(parts.name(fine), (None, None))[0]
            if begun is None:
                continue
            for coarse in parts:
                if coarse.level > fine.level and coarse.ordinal == fine.ordinal >> (coarse.level - fine.level):
                    at = self._offsets.get(parts.name(coarse), (begun, last))
                    self._offsets[parts.name(coarse)] = (min(at[0], begun), at[1])

    def as_of_digest(self) -> str:
        """The digest at the offset that was asked for; what comes after the last record changes nothing."""
        return "" if self._as_of is None else self._digest_as_of or self.shard.digest()

    def parting(self, name: str, changed: set[str], folded: dict[str, str]) -> Parting:
        """What is to be said of a bucket that parts."""
        parts = self.shard.parts.kind(name)
        first, last = self._offsets.get(name, (None, None))
        bucket = parts.bucket(name)
        width = parts.span_ms(bucket)
        if name in changed:
            what = "its bytes in Redis are not those that were checkpointed"
        elif name not in folded:
            what = "the log does not have it"
        else:
            what = "its sums are not those of the log"
        return Parting(name, bucket.ordinal * width, (bucket.ordinal + 1) * width, first, last, what)
