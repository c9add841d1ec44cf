"""A look at the checkpoints from outside, several times a second: how far they are, and how long they stood still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

import redis
import redis.asyncio

from alice_rl.snapshot import keys
from tests.chaos.deployment import PARTITIONS
from worker.settings import Settings

__all__ = ["StuckError", "Watch"]

_POLL_SECONDS = 0.05
_TIMEOUT_SECONDS = 0.5
_WORTH_SAYING_SECONDS = 3.0


class StuckError(Exception):
    """Records wait, and no checkpoint moves."""


class Watch:
    """Polls the offsets that Redis holds.

    Parameters
    ----------
    settings : Settings
    produced : callable
        Records that Kafka has acknowledged so far.
    say : callable
        Takes a line of progress.

    Attributes
    ----------
    offsets : dict of int to int
        The next offset of every checkpoint, when Redis last answered.
    longest_stall_seconds : float
        Longest time in which their total did not grow although records were waiting.
    """

    def __init__(self, settings: Settings, produced: Callable[[], int], say: Callable[[str], None]) -> None:
        self.offsets = dict.fromkeys(range(PARTITIONS), 0)
        self.longest_stall_seconds = 0.0
        self._names = [keys.shard(settings.policy.name, settings.policy.lineage, p) for p in range(PARTITIONS)]
        self._url = settings.redis.url
        self._produced = produced
        self._say = say
        self._moved_at = monotonic()

    @property
    def total(self) -> int:
        """Records that the checkpoints hold."""
        return sum(self.offsets.values())

    @property
    def stall_seconds(self) -> float:
        """For how long the total has not grown although records are waiting."""
        return monotonic() - self._moved_at

    async def run(self) -> None:
        """Look until cancelled."""
        self._moved_at = monotonic()
        client = redis.asyncio.Redis.from_url(
            self._url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS, retry=None
        )
        async with client:
            while True:
                await self._look(client)
                await asyncio.sleep(_POLL_SECONDS)

    async def _look(self, client: redis.asyncio.Redis) -> None:
        produced, before = self._produced(), self.total
        try:
            pipe = client.pipeline(transaction=False)
            for name in self._names:
                pipe.hget(name, "next")
            self.offsets = dict(enumerate(int(value or 0) for value in await pipe.execute()))
        except (redis.RedisError, OSError):
            pass  # it is down or frozen: nothing has grown
        self.longest_stall_seconds = max(self.longest_stall_seconds, self.stall_seconds)
        if self.total > before or self.total >= produced:
            if self.stall_seconds > _WORTH_SAYING_SECONDS:
                self._say(f"checkpoints move again after {self.stall_seconds:.1f} s")
            self._moved_at = monotonic()

    async def reach(self, ends: dict[int, int], stall_seconds_max: float) -> None:
        """Wait until the checkpoints hold the log up to `ends`.

        Raises
        ------
        StuckError
            None of them has moved for `stall_seconds_max`.
        """
        while behind := {p: end for p, end in ends.items() if self.offsets[p] < end}:
            if self.stall_seconds > stall_seconds_max:
                places = ", ".join(f"partition {p} at offset {self.offsets[p]} of {end}" for p, end in behind.items())
                raise StuckError(f"no checkpoint has moved for {self.stall_seconds:.0f} s: {places}")
            await asyncio.sleep(_POLL_SECONDS)
