"""The judge: an undisturbed fold over the whole log, and how what the workers left in Redis compares with it.

Besides the shards, every snapshot is checked: its moments' digest must be that of the folds cut at its as-of offsets.
Partitions are folded one after the other and batch by batch, so a long log takes time but no memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from alice_rl.kafka import KafkaSettings
from alice_rl.shard import Shard
from alice_rl.snapshot.format import unpack
from alice_rl.snapshot.store import Store
from alice_rl.sums import digest
from tests.logs import LogRecord
from worker.checkpoint import restored
from worker.settings import Settings

__all__ = ["Published", "Verdict", "judge", "log_ends", "published"]


class Published(NamedTuple):
    """What a stored snapshot says about itself, and when it was published."""

    version: int
    at_ms: int
    offsets: dict[int, int]
    moments_digest: str


class Verdict(NamedTuple):
    """The comparison. `lost` and `double` are episodes, told from the sums; `differences` says what is not equal."""

    events: int
    lost: int
    double: int
    rejected: int
    snapshots: list[Published]
    differences: list[str]

    @property
    def equal(self) -> bool:
        """Whether every shard and every snapshot has the bytes of an undisturbed fold."""
        return not self.differences


async def judge(settings: Settings) -> Verdict:
    """Fold the whole topic, and compare."""
    lineage = settings.policy.lineage
    store = Store.from_settings(settings.redis, settings.policy.name)
    try:
        snapshots = await published(store)
        events = lost = double = rejected = 0
        cut_digests: dict[tuple[int, int], str] = {}
        differences: list[str] = []
        for partition, end in (await log_ends(settings.kafka)).items():
            cuts = {snapshot.offsets[partition] for snapshot in snapshots if partition in snapshot.offsets}
            shard = Shard(settings.lineage)
            async for at, reached in _folded(settings.kafka, partition, end, shard, cuts):
                cut_digests[partition, at] = reached
            record = await store.load_shard(lineage, partition)
            stored = Shard(settings.lineage) if record is None else restored(settings.lineage, record)
            if (stored.next, stored.digest()) != (shard.next, shard.digest()):
                differences.append(
                    f"partition {partition}: {stored.next} {stored.digest()} is stored, "
                    f"{shard.next} {shard.digest()} was to be learned"
                )
            truth, learned = _episodes(shard), _episodes(stored)
            lost, double = lost + (truth - learned).total(), double + (learned - truth).total()
            events, rejected = events + shard.counts["records"], rejected + shard.counts["rejected"]
    finally:
        await store.close()
    for snapshot in snapshots:
        parts = {str(p): cut_digests.get((p, offset), "not in the log") for p, offset in snapshot.offsets.items()}
        if digest(parts) != snapshot.moments_digest:
            differences.append(f"snapshot {snapshot.version} is not the sum at its offsets {snapshot.offsets}")
    return Verdict(events, lost, double, rejected, snapshots, differences)


async def published(store: Store) -> list[Published]:
    """Every snapshot that is still stored, oldest first."""
    found = []
    for entry in await store.list_snapshots():
        blob = await store.get_snapshot(entry.version)
        if blob is not None:
            manifest = unpack(blob).manifest
            found.append(Published(entry.version, entry.published_ms, manifest.offsets, manifest.moments_digest))
    return found


async def log_ends(kafka: KafkaSettings) -> dict[int, int]:
    """The offset after the last record of every partition."""
    consumer = AIOKafkaConsumer(kafka.topic, bootstrap_servers=kafka.bootstrap_servers)
    await consumer.start()  # without a group, it is given every partition
    try:
        ends = await consumer.end_offsets(sorted(consumer.assignment()))
        return {part.partition: end for part, end in ends.items()}
    finally:
        await consumer.stop()


async def _folded(
    kafka: KafkaSettings, partition: int, end: int, shard: Shard, cuts: set[int]
) -> AsyncIterator[tuple[int, str]]:
    """Fold a partition into `shard`, and give its digest at each of the `cuts`."""
    left = sorted(cuts, reverse=True)
    async for batch in _batches(kafka, partition, end):
        while left and left[-1] <= batch[-1].offset + 1:
            cut = left.pop()
            shard.feed([record for record in batch if record.offset < cut])  # those it has are skipped
            yield cut, shard.digest()
        shard.feed(batch)


async def _batches(kafka: KafkaSettings, partition: int, end: int) -> AsyncIterator[list[LogRecord]]:
    """The records of one partition up to `end`."""
    part = TopicPartition(kafka.topic, partition)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest")
    consumer.assign([part])
    await consumer.start()
    try:
        while await consumer.position(part) < end:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                yield [LogRecord(r.offset, r.timestamp, r.value) for r in records]
    finally:
        await consumer.stop()


def _episodes(shard: Shard) -> Counter[tuple[str, int]]:
    """Episodes by (query class, tier). Every turn of the traffic has a cache tier, so each is counted once."""
    counted: Counter[tuple[str, int]] = Counter()
    for sums in shard.buckets.values():
        for name, row in zip(sums.cache.names, sums.cache.sums, strict=True):
            counted.update({(name, tier): int(n) for tier, n in enumerate(row[:, 0])})
    return counted
