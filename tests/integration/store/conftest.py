"""The store that these tests talk to, on a real Redis and on fakeredis, which the demo may fall back on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import fakeredis
import pytest
import redis
import redis.asyncio

from alice_rl.snapshot.connection import RedisSettings, connect_async
from alice_rl.snapshot.store import Store
from tests.integration.store.steps import (
    ready,
)


@pytest.fixture(params=["redis", "fakeredis"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[redis.asyncio.Redis]:
    """An empty database, of a real server or of fakeredis."""
    if request.param == "redis":
        made = connect_async(RedisSettings(url=request.getfixturevalue("redis_url")))
    else:
        made = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(), protocol=2)
    yield made
    await made.aclose()


@pytest.fixture
async def store(client: redis.asyncio.Redis) -> Store:
    """A store with a declared, active lineage."""
    return await ready(Store(client))
