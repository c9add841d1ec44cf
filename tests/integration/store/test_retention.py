"""What is kept of the past, and what expires."""

from __future__ import annotations

from typing import Any

from alice_rl.snapshot import keys
from alice_rl.snapshot.connection import RedisSettings, connect_async
from alice_rl.snapshot.records import Pin, Stage
from alice_rl.snapshot.store import Retention, Store
from tests.integration.store.steps import (
    publish_many,
    ready,
    until,
)


async def expiring(store: Store) -> dict[int, bool]:
    """Stored versions, and whether each of them expires."""
    return {kept.version: kept.expires_in_seconds is not None for kept in await store.list_snapshots()}


async def test_old_versions_expire_and_none_is_deleted(client: Any) -> None:
    """The newest versions and those the head refers to stay for good; the others get a time to live."""
    store = await ready(Store(client, retention=Retention(versions_max=3, expire_seconds=1000)))
    await publish_many(store, 5)
    await store.promote(2, request="r1", stage=Stage.CANARY, share=0.05)
    await publish_many(store, 7)
    assert await expiring(store) == {v: v not in (2, 10, 11, 12) for v in range(1, 13)}
    await store.rollback(request="r2", stage=Stage.CANARY)
    await store.promote(11, request="r3", pin=Pin.PIN)
    await publish_many(store, 5)
    assert await expiring(store) == {v: v not in (11, 12, 15, 16, 17) for v in range(1, 18)}


async def test_expired_versions_leave_the_lists(client: Any) -> None:
    """Once Redis has expired a version, the next publish forgets it; what is kept stays readable."""
    store = await ready(Store(client, retention=Retention(versions_max=2, expire_seconds=1)))
    await publish_many(store, 6)

    async def expired() -> bool:
        return not any([await store.snapshot_exists(version) for version in range(1, 5)])

    await until(expired)
    assert list(await expiring(store)) == [5, 6]
    assert await store.get_snapshot(1) is None
    await publish_many(store, 1)
    assert await client.zrange(keys.snapshots("alice"), 0, -1) == [b"5", b"6", b"7"]
    assert set(await client.hkeys(keys.digests("alice"))) == {b"5", b"6", b"7"}


async def test_a_promotion_takes_the_expiry_away(client: Any) -> None:
    """A version that was about to expire stays when it becomes live, canary or the target of a rollback."""
    store = await ready(Store(client, retention=Retention(versions_max=1, expire_seconds=1000)))
    await publish_many(store, 6)
    await store.promote(1, request="r1", stage=Stage.CANARY, share=0.1)
    await store.promote(2, request="r2")
    assert [v for v, expires in (await expiring(store)).items() if not expires] == [1, 2, 5, 6]
    await store.rollback(request="r3", to=3)
    assert not (await expiring(store))[3]


async def test_fewer_versions_are_kept_after_a_change_of_the_setting(client: Any) -> None:
    """Lowering the number of kept versions lets the surplus expire, a bounded number per publish."""
    await publish_many(await ready(Store(client, retention=Retention(versions_max=150))), 150)
    store = Store(client, retention=Retention(versions_max=5))
    await publish_many(store, 1)
    assert sum((await expiring(store)).values()) == 128
    for _ in range(3):
        await publish_many(store, 1)
    assert sum(not expires for expires in (await expiring(store)).values()) < 30


async def test_the_audit_is_bounded(redis_url: str) -> None:
    """The history is trimmed to about its configured length."""
    made = connect_async(RedisSettings(url=redis_url))
    store = await ready(Store(made, retention=Retention(history_entries_max=100)))
    await publish_many(store, 450)
    assert await made.xlen(keys.history("alice")) <= 200
    assert len(await store.history(count_max=7)) == 7
    await store.close()
