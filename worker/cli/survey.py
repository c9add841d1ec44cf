"""How learning stands, out of Redis and Kafka alone: no worker is asked, so it holds whether one runs or not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from msgspec import Struct

from alice_rl.errors import SnapshotError
from alice_rl.lineage import SLOTS
from alice_rl.snapshot.connection import address
from alice_rl.snapshot.format import Snapshot, unpack
from alice_rl.snapshot.head import Head
from worker.checkpoint import read_state
from worker.cli.inspector import Inspector
from worker.cli.topic import Ends, read_ends
from worker.settings import Settings

__all__ = ["ArmSeen", "Counts", "HeadSeen", "LineageSeen", "LiveSeen", "OwnerSeen", "PartitionSeen", "Survey", "Surveyor"]


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
        """The counts of a shard, or of several added up."""
        reasons = {name.removeprefix("rejected."): n for name, n in sorted(counts.items()) if name.startswith("rejected.")}
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
        self._live: tuple[str, LiveSeen] | None = None

    async def look(self) -> Survey:
        """How it stands now.

        Raises
        ------
        DependencyError
            Redis is away. Kafka may be.
        """
        settings, inspector = self._settings, self._inspector
        head, ends = await asyncio.gather(inspector.read_head(), read_ends(settings.kafka))
        lineage = await self._lineage()
        known = await inspector.known_partitions(lineage.name)
        numbers = sorted(known | ends.offsets.keys())
        partitions = await asyncio.gather(*(self._partition(lineage.name, p, ends, head.now_ms) for p in numbers))
        lags = [p.lag for p in partitions]
        total: Counter[str] = Counter()
        for _, counts in partitions:
            total.update(counts)
        raise NotImplementedError
