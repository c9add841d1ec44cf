"""Whether what is in Redis is what an undisturbed fold over the log gives: the one check of all faults."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from alice_rl.lineage import Lineage
from alice_rl.shard import Shard
from alice_rl.snapshot.format import Manifest, unpack
from alice_rl.snapshot.store import Store
from alice_rl.sums import digest
from tests.logs import LogRecord
from tests.streams import read_log
from worker.checkpoint import restored
from worker.settings import Settings

__all__ = ["assert_exact", "assert_learned", "read_manifests", "read_shards"]

Log = Mapping[int, Sequence[LogRecord]]


async def assert_exact(settings: Settings, *, skipped: Mapping[int, Collection[int]] | None = None) -> None:
    """Every shard has the bytes of one fold over the topic, and every snapshot the sums at its offset vector.

    Parameters
    ----------
    settings : Settings
    skipped : mapping of int to collection of int, optional
        Offsets that the fold passes over, by partition.
    """
    await assert_learned(settings, await read_log(settings.kafka), skipped=skipped)


async def assert_learned(
    settings: Settings, log: Log, *, skipped: Mapping[int, Collection[int]] | None = None, published: bool = True
) -> None:
    """The same against a log that the test has kept; with `published`, at least one snapshot must be there."""
    shards, manifests = await read_shards(settings), await read_manifests(settings)
    assert shards.keys() == {partition for partition in log if log[partition] or partition in shards}
    ends = {partition: shard.next for partition, shard in shards.items()}
    assert ends == {p: log[p][-1].offset + 1 if log[p] else ends[p] for p in ends}
    cuts = {p: sorted({ends[p], *(m.offsets[p] for m in manifests if p in m.offsets)}) for p in shards}
    folds = {p: _fold(settings.lineage, log[p], cuts[p], shards[p], (skipped or {}).get(p, ())) for p in shards}
    assert {p: shard.digest() for p, shard in shards.items()} == {p: folds[p][ends[p]] for p in shards}
    assert manifests or not published
    for manifest in manifests:
        parts = {str(p): folds[p][offset] for p, offset in manifest.offsets.items()}
        assert manifest.moments_digest == digest(parts), f"version {manifest.version} at {manifest.offsets}"


def _fold(
    lineage: Lineage, log: Sequence[LogRecord], cuts: Sequence[int], stored: Shard, skipped: Collection[int]
) -> dict[int, str]:
    """The digest of an unbroken fold at each of the cuts, which are in order."""
    shard, at, digests = Shard(lineage), 0, {}
    shard.skipped.update(skipped)
    log = [record for record in log if record.offset >= stored.start]
    for cut in cuts:
        stop = at + sum(record.offset < cut for record in log[at:])
        shard.feed(log[at:stop])
        at, digests[cut] = stop, shard.digest()
    return digests


async def read_shards(settings: Settings) -> dict[int, Shard]:
    """The shards that Redis holds, by partition."""
    store = Store.from_settings(settings.redis, settings.policy.name)
    try:
        records = {
            partition: await store.load_shard(settings.policy.lineage, partition)
            for partition in await store.known_partitions(settings.policy.lineage)
        }
    finally:
        await store.close()
    return {p: restored(settings.lineage, record) for p, record in records.items() if record is not None}


async def read_manifests(settings: Settings) -> list[Manifest]:
    """The manifests of the lineage's snapshots that are kept, oldest first."""
    store = Store.from_settings(settings.redis, settings.policy.name)
    try:
        blobs = [await store.get_snapshot(stored.version) for stored in await store.list_snapshots()]
    finally:
        await store.close()
    found = [unpack(blob).manifest for blob in blobs if blob is not None]
    found = [manifest for manifest in found if manifest.lineage == settings.policy.lineage]
    return sorted(found, key=lambda manifest: manifest.version)
