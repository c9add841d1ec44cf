"""One log line every few seconds that says whether the worker learns, and how far behind it is."""

from __future__ import annotations

import resource
from asyncio import get_running_loop
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from alice_rl.log import get_logger
from alice_rl.shard import Shard
from worker.checkpoint import Holding
from worker.publisher import Publisher
from worker.watchdog import Health

__all__ = ["Heartbeat", "resident_bytes"]

logger = get_logger(__name__)


class Heartbeat:
    """Logs `worker.heartbeat` every `interval_seconds`."""

    def __init__(self, interval_seconds: float) -> None:
        self._interval = interval_seconds
        self._last: float | None = None
        self._records = 0
        self._counts: dict[int, Counter[str]] = {}
        self._overflowed: set[int] = set()

    def beat_when_due(
        self, health: Health, holdings: Mapping[int, Holding], counts: Counter[str], publisher: Publisher
    ) -> None:
        """Log when the interval has passed."""
        now = get_running_loop().time()
        self._last = now if self._last is None else self._last
        seconds = now - self._last
        if seconds < self._interval:
            return
        shards = {partition: holding.shard for partition, holding in holdings.items()}
        learned: Counter[str] = Counter()
        for shard in shards.values():
            learned.update(shard.counts)
        logger.info(
            "worker.heartbeat",
            records_total=counts["records"],
            records_per_second=round((counts["records"] - self._records) / seconds, 1),
            episodes_total=learned["episodes"],
            rejected_total=learned["rejected"],
            duplicates_total=learned["duplicate"],
            late_total=learned["late"],
            missing_total=learned["missing"],
            unmatched_total=learned["unmatched"],
            open_decisions=sum(shard.open_episodes for shard in shards.values()),
            ready=health.ready,
            lag_records=health.lag_records,
            lag_seconds=health.lag_seconds,
            partitions=sorted(shards),
            version=publisher.version,
            memory_bytes=resident_bytes(),
        )
        for partition, shard in shards.items():
            self._warn(partition, shard)
        self._last, self._records = now, counts["records"]

    def _warn(self, partition: int, shard: Shard) -> None:
        """Say which bounds a partition has reached since the last beat."""
        before, now = self._counts.get(partition, Counter()), shard.counts
        if now["clamped"] > before["clamped"]:
            logger.warning(
                "clock.jumped", partition=partition, watermark_ms=shard.watermark_ms, jumped_total=now["clamped"]
            )
        if now["shortened"] > before["shortened"]:
            logger.warning(
                "joiner.overflowed",
                partition=partition,
                open_decisions=shard.open_episodes,
                open_decisions_max=shard.lineage.join.records_max,
                dropped_total=now["shortened"],
            )
        if shard.names_overflowed and partition not in self._overflowed:
            self._overflowed.add(partition)
            logger.warning("vocabulary.overflowed", partition=partition, values_max=shard.lineage.names_max)
        self._counts[partition] = Counter(now)


def resident_bytes() -> int:
    """Resident memory of this process; its peak where the system does not tell the present."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
