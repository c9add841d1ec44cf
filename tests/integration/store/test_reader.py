"""The reader of an orchestrator's client: head, bytes and hints."""

from __future__ import annotations

import asyncio

import fakeredis
import pytest

from alice_rl.errors import DependencyError
from alice_rl.snapshot.connection import RedisSettings
from alice_rl.snapshot.reader import HeadReader
from alice_rl.snapshot.store import Store
from tests.integration.store.steps import (
    WAIT_SECONDS,
    publish_many,
    ready,
    until,
)
from tests.services import RedisServer, unique_name


async def test_a_reader_sees_what_the_store_wrote(redis_url: str) -> None:
    """Head and snapshots read synchronously are those of the store."""
    store = await ready(Store.from_settings(RedisSettings(url=redis_url)))
    with HeadReader.from_url(redis_url) as reader:
        assert reader.read_head().seq == 0
        await publish_many(store, 2)
        head = reader.read_head()
        assert (head.seq, head.live, head.previous, head.now_ms > 0) == (2, 2, 1, True)
        assert reader.get_snapshot(2) == b"blob-2"
        assert reader.get_snapshot(3) is None
    await store.close()


async def test_a_hint_wakes_the_reader(redis_url: str) -> None:
    """A publish ends the wait early; hints that came together count once; without one the wait runs out."""
    policy = unique_name("policy")
    store = await ready(Store.from_settings(RedisSettings(url=redis_url), policy))
    with HeadReader.from_url(redis_url, policy) as reader:
        assert await asyncio.to_thread(reader.wait_for_hint, 0.05) is False
        waiting = asyncio.create_task(asyncio.to_thread(reader.wait_for_hint, WAIT_SECONDS))
        await publish_many(store, 3)
        assert await waiting is True
        await until(lambda: asyncio.to_thread(lambda: not reader.wait_for_hint(0.0)))
        await publish_many(store, 1)
        assert await asyncio.to_thread(reader.wait_for_hint, WAIT_SECONDS) is True
    await store.close()


async def test_a_reader_fails_fast_and_recovers() -> None:
    """Redis away is a DependencyError within the timeouts; when it is back, so are head and hints."""
    with RedisServer() as server:
        reader = HeadReader.from_url(server.url, timeout_seconds=0.3)
        assert reader.wait_for_hint(0.01) is False
        await asyncio.to_thread(server.kill)
        for call in (reader.read_head, lambda: reader.wait_for_hint(0.1)):
            with pytest.raises(DependencyError):
                await asyncio.wait_for(asyncio.to_thread(call), WAIT_SECONDS)
        await asyncio.to_thread(server.restart)
        assert reader.read_head().seq == 0
        assert reader.wait_for_hint(0.01) is False
        store = await ready(Store.from_settings(RedisSettings(url=server.url)))
        await publish_many(store, 1)
        assert reader.wait_for_hint(WAIT_SECONDS) is True
        reader.close()
        await store.close()


async def test_a_reader_works_on_fakeredis() -> None:
    """The embedded fallback serves reader and store from one fake server, hints included."""
    fake = fakeredis.FakeServer()
    store = await ready(Store(fakeredis.FakeAsyncRedis(server=fake, protocol=2)))
    with HeadReader(fakeredis.FakeRedis(server=fake, protocol=2)) as reader:
        assert reader.wait_for_hint(0.01) is False
        await publish_many(store, 1)
        assert reader.wait_for_hint(1.0) is True
        assert reader.read_head().live == 1
        assert reader.get_snapshot(1) == b"blob-1"
    await store.close()
