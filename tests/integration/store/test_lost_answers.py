"""An answer that is lost on its way: redis-py repeats the command, and nothing happens twice."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from alice_rl.snapshot import keys
from alice_rl.snapshot.connection import RedisSettings, connect_async
from alice_rl.snapshot.records import Applied, Moved, Published, Stage
from alice_rl.snapshot.store import Store
from tests.integration.store.steps import (
    change,
    claim,
    publication,
    publish_many,
    ready,
    save,
)
from tests.proxy import LossyProxy


async def test_an_answer_lost_on_the_way_changes_nothing(redis_url: str) -> None:
    """redis-py silently repeats a command whose answer was lost; every script knows it again."""
    direct = connect_async(RedisSettings(url=redis_url))
    port, database = redis_url.rsplit(":", 1)[1].split("/")
    async with LossyProxy(int(port)) as proxy:
        store = await ready(Store.from_settings(RedisSettings(url=f"redis://127.0.0.1:{proxy.port}/{database}")))
        token = await claim(store, "warm")
        await save(store, token, change("warm", None, 1))
        await publish_many(store, 3)
        await store.promote(2, request="warm")
        await store.promote(3, request="warm2")
        await store.rollback(request="warm3", stage=Stage.CANARY)

        async def lossy(work: Awaitable[Any]) -> Any:
            proxy.armed = True
            answer = await work
            assert not proxy.armed
            return answer

        claimed = await lossy(store.claim("main", 0, nonce="n", worker="w", epoch=2, lease_ms=9))
        assert claimed.applied is Applied.ALREADY and claimed.token > token
        assert await lossy(save(store, claimed.token, change("c", 1, 2))) is Applied.ALREADY
        assert await lossy(store.publish(publication(3))) == Published(Applied.ALREADY, 4, True)
        assert await lossy(store.promote(2, request="p")) == Moved(Applied.ALREADY, 2, None)
        assert await lossy(store.rollback(request="r")) == Moved(Applied.ALREADY, 4, None)
        head = await lossy(store.read_head())
        assert (head.live, head.pinned, head.seq, proxy.swallowed) == (4, 4, 4, 6)
        assert await direct.zcard(keys.snapshots("alice")) == 4
        await store.close()
    await direct.aclose()
