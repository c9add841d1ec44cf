"""How learning stands, out of Redis and Kafka alone: no worker is asked, so it holds whether one runs or not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct

from alice_rl.errors import SnapshotError
from alice_rl.lineage import SLOTS
from alice_rl.snapshot.connection import address
from alice_rl.snapshot.format import Snapshot, unpack
from alice_rl.snapshot.head import Head
from worker.checkpoint import read_state
from worker.cli.inspector import Inspector
from worker.cli.topic import Ends, read_ends
from worker.closed_trials import ClosedTrials
from worker.lift import Lift, lift_of
from worker.settings import Settings

__all__ = [
    "ArmSeen",
    "Counts",
    "HeadSeen",
    "LineageSeen",
    "LiveSeen",
    "OwnerSeen",
    "PartitionSeen",
    "Survey",
    "Surveyor",
    "arms_seen",
]


class HeadSeen(Struct, frozen=True, kw_only=True):
    """What serves; `age_seconds` is since the live version was published."""

    seq: int
    live: int | None
    live_digest: str
    age_seconds: float | None
    canary: int | None
    canary_share: float
    previous: int | None
    pinned: int | None


class LineageSeen(Struct, frozen=True, kw_only=True):
    """The lineage that is shown (the active one), and whether the configuration agrees with it."""

    name: str
    active: str | None
    configured: str
    fingerprint: str | None
    matches: bool | None


class ArmSeen(Struct, frozen=True):
    """An arm and what it has brought per turn (a tool: its success rate); None where nothing is known."""

    arm: str
    mean_reward: float | None
    turns: float | None


class LiveSeen(Struct, frozen=True, kw_only=True):
    """The live snapshot; `refused` says why it cannot be read, and then the rest is empty."""

    version: int
    as_of_ms: int = 0
    episodes: int = 0
    arms: dict[str, list[ArmSeen]] = {}
    holdout_share: float = 0.0
    refused: str = ""


class Counts(Struct, frozen=True, kw_only=True):
    """What became of the records."""

    records: int
    episodes: int
    duplicates: int
    late: int
    clamped: int
    missing: int
    unmatched: int
    rejected: int
    rejected_by_reason: dict[str, int]

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> Counts:
        """The counts of one shard."""
        reasons = {
            name.removeprefix("rejected."): n for name, n in sorted(counts.items()) if name.startswith("rejected.")
        }
        return cls(
            records=counts.get("records", 0),
            episodes=counts.get("episodes", 0),
            duplicates=counts.get("duplicate", 0),
            late=counts.get("late", 0),
            clamped=counts.get("clamped", 0),
            missing=counts.get("missing", 0),
            unmatched=counts.get("unmatched", 0),
            rejected=counts.get("rejected", 0),
            rejected_by_reason=reasons,
        )

    @classmethod
    def total(cls, parts: Iterable[Counts]) -> Counts:
        """The counts of several shards added up."""
        sums, reasons = Counter[str](), Counter[str]()
        for part in parts:
            reasons.update(part.rejected_by_reason)
            sums.update({name: getattr(part, name) for name in cls.__struct_fields__ if name != "rejected_by_reason"})
        named = {name: sums[name] for name in cls.__struct_fields__ if name != "rejected_by_reason"}
        return cls(**named, rejected_by_reason=dict(reasons))


class OwnerSeen(Struct, frozen=True):
    """Who holds a partition; a lease that is over (negative seconds) means that nobody does."""

    worker: str
    epoch: int
    lease_seconds: float


class PartitionSeen(Struct, frozen=True, kw_only=True):
    """One partition; None where there is no checkpoint yet, or where Kafka does not say."""

    partition: int
    next: int | None
    low: int | None
    end: int | None
    lag: int | None
    watermark_ms: int | None
    counts: Counts | None
    owner: OwnerSeen | None


class Survey(Struct, frozen=True, kw_only=True):
    """All of it, by Redis's clock at `now_ms`."""

    now_ms: int
    policy: str
    redis: str
    kafka: str
    topic: str
    kafka_problem: str
    """Why the lag is unknown; empty when it is known."""
    published: bool
    head: HeadSeen
    lineage: LineageSeen
    live: LiveSeen | None
    lift: Lift | None
    """Against the rules; None while there is no hold-out."""
    watermark_ms: int | None
    lag_records: int | None
    counts: Counts
    partitions: list[PartitionSeen]


class Surveyor:
    """Looks as often as it is asked, and reads a snapshot only when another one is live.

    Parameters
    ----------
    settings : Settings
    inspector : Inspector
    """

    def __init__(self, settings: Settings, inspector: Inspector) -> None:
        self._settings = settings
        self._inspector = inspector
        self._trials = ClosedTrials(inspector)
        self._live: tuple[str, LiveSeen] | None = None

    async def look(self) -> Survey:
        """How it stands now.

        Raises
        ------
        DependencyError
            Redis is away. Kafka may be.
        """
        settings, inspector = self._settings, self._inspector
        head, lineage = await inspector.read_head(), await self._lineage()
        ends = await read_ends(settings.kafka)
        known = await inspector.known_partitions(lineage.name)
        numbers = sorted(known | ends.offsets.keys())
        partitions = await asyncio.gather(*(self._partition(lineage.name, p, ends, head.now_ms) for p in numbers))
        live = await self._live_of(head)
        return Survey(
            now_ms=head.now_ms,
            policy=settings.policy.name,
            redis=address(settings.redis.url),
            kafka=settings.kafka.bootstrap_servers,
            topic=settings.kafka.topic,
            kafka_problem=ends.reason,
            published=head.seq > 0,
            head=await self._head(head),
            lineage=lineage,
            live=live,
            lift=lift_of(await self._trials.look(lineage.name, numbers), settings.reward),
            watermark_ms=max((p.watermark_ms for p in partitions if p.watermark_ms is not None), default=None),
            lag_records=None if ends.reason else sum(p.lag or 0 for p in partitions),
            counts=Counts.total(p.counts for p in partitions if p.counts is not None),
            partitions=partitions,
        )

    async def _head(self, head: Head) -> HeadSeen:
        published_ms = None if head.live is None else await self._inspector.published_ms(head.live)
        return HeadSeen(
            seq=head.seq,
            live=head.live,
            live_digest=head.live_digest,
            age_seconds=None if published_ms is None else (head.now_ms - published_ms) / 1000,
            canary=head.canary,
            canary_share=head.canary_share,
            previous=head.previous,
            pinned=head.pinned,
        )

    async def _lineage(self) -> LineageSeen:
        configured, active = self._settings.policy.lineage, await self._inspector.active_lineage()
        declared = await self._inspector.lineage_config(active or configured)
        return LineageSeen(
            name=active or configured,
            active=active,
            configured=configured,
            fingerprint=None if declared is None else declared[0],
            matches=None if declared is None else declared[0] == self._settings.lineage.fingerprint,
        )

    async def _partition(self, lineage: str, partition: int, ends: Ends, now_ms: int) -> PartitionSeen:
        record, owner = await asyncio.gather(
            self._inspector.shard_position(lineage, partition), self._inspector.owner(lineage, partition)
        )
        first, end = ends.offsets.get(partition, (None, None))
        reached = first if record is None else record.next
        return PartitionSeen(
            partition=partition,
            next=None if record is None else record.next,
            low=None if record is None else record.low,
            end=end,
            lag=None if end is None or reached is None else max(0, end - reached),
            watermark_ms=None if record is None else record.watermark_ms,
            counts=None if record is None else Counts.of(read_state(record).counts),
            owner=None
            if owner is None
            else OwnerSeen(owner.worker, owner.epoch, (owner.lease_until_ms - now_ms) / 1000),
        )

    async def _live_of(self, head: Head) -> LiveSeen | None:
        if head.live is None:
            return None
        if self._live is None or self._live[0] != head.live_digest:
            blob = await self._inspector.get_snapshot(head.live)
            self._live = head.live_digest, _live_seen(head.live, blob, self._settings.snapshot.signing_key)
        return self._live[1]


def _live_seen(version: int, blob: bytes | None, key: str) -> LiveSeen:
    if blob is None:
        return LiveSeen(version=version, refused="its bytes are gone from Redis")
    try:
        snapshot = unpack(blob, key.encode() or None)
    except SnapshotError as error:
        return LiveSeen(version=version, refused=error.message)
    manifest = snapshot.manifest
    return LiveSeen(
        version=version,
        as_of_ms=manifest.created_at_ms,
        episodes=manifest.counts.get("episodes", 0),
        arms={slot: arms_seen(snapshot, slot) for slot in SLOTS},
        holdout_share=manifest.holdout_share,
    )


def arms_seen(snapshot: Snapshot, slot: str) -> list[ArmSeen]:
    """The arms of a slot, with what each has brought and in how many turns, as far as the snapshot says."""
    manifest, arms = snapshot.manifest, getattr(snapshot.manifest.arms, slot)
    means = manifest.mean_reward.get(slot, {})
    turns: dict[str, float] = {
        arm: manifest.counts[f"{slot}.{arm}"] for arm in arms if f"{slot}.{arm}" in manifest.counts
    }
    if slot == "cache" and not turns:
        turns = dict(zip(arms, snapshot.cache_n.sum(axis=0).tolist(), strict=True))
    return [ArmSeen(arm, means.get(arm), turns.get(arm)) for arm in arms]
