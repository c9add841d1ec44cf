"""Is it learning? Looks, beside the loop, at whether every partition that is held moves while there is more to read.

A consumer can be stuck without an error: some that a broker answers never surface, and a rebalance may not end. So
what is believed is not the client but two numbers: the position, and the end of the log as the brokers tell it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol

from msgspec import Struct

from alice_rl.errors import DependencyError
from alice_rl.log import get_logger
from worker.checkpoint import Holding
from worker.settings import WorkerSettings

__all__ = ["Health", "Watchdog", "Watched"]

logger = get_logger(__name__)

_LOOKS = 4  # within the time after which a partition counts as stalled


class Watched(Protocol):
    """Where reading stands, and where the log ends."""

    async def ends(self, partitions: Collection[int]) -> dict[int, int]: ...
    async def position(self, partition: int) -> int | None: ...
    def lag(self, partition: int, position: int) -> int: ...


class Health(Struct, frozen=True):
    """Whether the worker does its work, and if not, why.

    Attributes
    ----------
    ready : bool
    reasons : tuple of str
        What keeps it from being ready, in words.
    lag_records : int
        Records that are still to be read.
    lag_seconds : float
        How old the log's clock is where something is still to be read; 0 where nothing is.
    stalled : tuple of int
        Partitions that do not move although there is something to read.
    """

    ready: bool = False
    reasons: tuple[str, ...] = ("it has not started",)
    lag_records: int = 0
    lag_seconds: float = 0.0
    stalled: tuple[int, ...] = ()


class _Pace(NamedTuple):
    """Where a partition was last seen to move, and when (seconds of the loop's clock); and where its log ends."""

    position: int | None
    since: float
    end: int


class Watchdog:
    """Watches the partitions of one worker.

    Parameters
    ----------
    settings : WorkerSettings
    log : Watched
    holdings : mapping of int to Holding
        The worker's own, as they change.
    troubles : callable
        What else keeps the worker from its work, in words.

    Attributes
    ----------
    health : Health
        As last seen.
    renewal_due : bool
        Set when a partition stalled: the client should be made anew. To be cleared by whoever does.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        log: Watched,
        holdings: Mapping[int, Holding],
        troubles: Callable[[], list[str]],
    ) -> None:
        self.health = Health()
        self.renewal_due = False
        self._settings = settings
        self._log = log
        self._holdings = holdings
        self._troubles = troubles
        self._paces: dict[int, _Pace] = {}
        self._stalled: dict[int, float] = {}
        self._kafka_away = False

    @property
    def lag_records(self) -> int:
        """Records that are still to be read, as far as is known now."""
        return self._lag()[0]

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._settings.stall_seconds / _LOOKS)

    async def look(self) -> None:
        """Look once, and say what has changed."""
        held = sorted(self._holdings)
        try:
            ends = await self._log.ends(held) if held else {}
        except DependencyError as error:
            self._lose_kafka(error)
            ends = {}
        else:
            self._find_kafka()
        now = asyncio.get_running_loop().time()
        for partition in held:
            if partition in ends:
                await self._pace(partition, ends[partition], now)
        for gone in self._paces.keys() - set(held):
            del self._paces[gone]
            self._stalled.pop(gone, None)
        self._judge()

    async def _pace(self, partition: int, end: int, now: float) -> None:
        position, before = await self._log.position(partition), self._paces.get(partition)
        reached = position is not None and position >= end
        if before is None or before.position != position or reached:
            self._paces[partition] = _Pace(position, now, end)
            if self._stalled.pop(partition, None) is not None:
                logger.info("partition.moved", partition=partition, position=position, end=end)
            return
        self._paces[partition] = before._replace(end=end)
        if now - before.since >= self._settings.stall_seconds:
            seconds = round(now - before.since, 1)
            if partition not in self._stalled or now - self._stalled[partition] >= self._settings.stall_seconds:
                logger.warning("partition.stalled", partition=partition, position=position, end=end, seconds=seconds)
                self._stalled[partition] = now
                self.renewal_due = True

    def _lose_kafka(self, error: DependencyError) -> None:
        if not self._kafka_away:
            logger.warning("kafka.unreachable", error=error.message)
        self._kafka_away = True
        now = asyncio.get_running_loop().time()  # nothing can move: a new client would not help
        self._paces = {partition: pace._replace(since=now) for partition, pace in self._paces.items()}

    def _find_kafka(self) -> None:
        if self._kafka_away:
            logger.info("kafka.recovered")
        self._kafka_away = False

    def _judge(self) -> None:
        """Form the health anew; say so when it turned."""
        lag, seconds = self._lag()
        reasons = [*self._troubles()]
        reasons += ["Kafka does not answer"] if self._kafka_away else []
        reasons += [f"partition {p} does not move from {self._paces[p].position}" for p in sorted(self._stalled)]
        rebuilding = [str(p) for p, holding in sorted(self._holdings.items()) if holding.shard.rebuilding]
        reasons += [f"restoring partition {', '.join(rebuilding)}"] if rebuilding else []
        if seconds > self._settings.ready_lag_seconds:
            reasons.append(f"behind by {lag} records, {seconds:.0f} s")
        before, self.health = (
            self.health,
            Health(not reasons, tuple(reasons), lag, round(seconds, 1), tuple(sorted(self._stalled))),
        )
        if before.ready and reasons:
            logger.warning("readiness.dropped", reasons=reasons, lag_records=lag)
        elif self.health.ready and not before.ready:
            logger.info("readiness.gained", lag_records=lag, partitions=sorted(self._holdings))

    def _lag(self) -> tuple[int, float]:
        """Records to be read, and the age of the log's clock on the partition that is furthest behind."""
        lags = {p: self._behind(p, holding.shard.position) for p, holding in self._holdings.items()}
        ages = [time.time() - self._holdings[p].shard.watermark_ms / 1000 for p, lag in lags.items() if lag]
        return sum(lags.values()), max(ages, default=0.0)

    def _behind(self, partition: int, position: int) -> int:
        """Records of a partition that are still to be read.

        A transaction's end and a compacted record are passed by the client alone: the fold never sees them. And the
        client knows no end but the one that the last fetch brought.
        """
        pace = self._paces.get(partition)
        if pace is None:
            return self._log.lag(partition, position)
        position = max(position, pace.position or 0)
        return max(self._log.lag(partition, position), pace.end - position, 0)
