"""The store as an operator looks at it: everything but the sums, so that a look costs Redis next to nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from alice_rl.snapshot import keys
from alice_rl.snapshot.connection import reaching
from alice_rl.snapshot.store import Retention, Store
from worker.settings import Settings

__all__ = ["Inspector", "inspecting"]

Kind = TypeVar("Kind", bound=Store)


class Inspector(Store):
    """A store with a read more than the worker needs."""

    async def published_ms(self, version: int) -> int | None:
        """When a version was published by Redis's clock, ms since the epoch; None when that is forgotten."""
        with reaching(self._where):
            score = await self._redis.zscore(keys.snapshots(self._policy), str(version))
        return None if score is None else int(score)


@asynccontextmanager
async def inspecting(settings: Settings, kind: type[Kind]) -> AsyncIterator[Kind]:
    """A store of the settings' Redis and policy; closed at the end."""
    kept = Retention(versions_max=settings.snapshot.versions_kept, expire_seconds=settings.snapshot.expire_seconds)
    inspector = kind.from_settings(settings.redis, settings.policy.name, retention=kept)
    try:
        yield inspector
    finally:
        await inspector.close()
