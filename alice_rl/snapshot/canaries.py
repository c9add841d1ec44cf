"""The store's part for canaries: how the one under way stands, and what the looks at it have told."""

from __future__ import annotations

import msgspec

from alice_rl.snapshot import keys
from alice_rl.snapshot.canary_state import CanaryPoint, CanaryState
from alice_rl.snapshot.connection import reaching
from alice_rl.snapshot.shards import ShardStore

__all__ = ["CanaryStore"]

_POINTS_MAX = 2000
_POINT = b"point"


class CanaryStore(ShardStore):
    """Canaries of one policy in Redis; `Store` adds the snapshots and is what callers make.

    Notes
    -----
    Plain writes: a repetition writes the same state again, or a second point that is the same as the first. Which
    canary serves is the head's to say. Where the two differ, the state follows the head.
    """

    async def read_canary(self) -> CanaryState | None:
        """How the canary under way stands, or how the last one ended; None before the first."""
        with reaching(self._where):
            data: bytes | None = await self._redis.get(keys.canary(self._policy))
        return None if data is None else msgspec.json.decode(data, type=CanaryState)

    async def write_canary(self, state: CanaryState) -> None:
        """Remember how the canary stands."""
        with reaching(self._where):
            await self._redis.set(keys.canary(self._policy), msgspec.json.encode(state))

    async def add_canary_point(self, point: CanaryPoint) -> None:
        """Add what a look has told; about the newest 2,000 are kept."""
        with reaching(self._where):
            await self._redis.xadd(
                keys.canary_points(self._policy),
                {_POINT: msgspec.json.encode(point)},
                maxlen=_POINTS_MAX,
                approximate=True,
            )

    async def canary_points(self) -> list[CanaryPoint]:
        """What the looks have told, oldest first."""
        with reaching(self._where):
            entries = await self._redis.xrange(keys.canary_points(self._policy))
        return [msgspec.json.decode(fields[_POINT], type=CanaryPoint) for _, fields in entries]
