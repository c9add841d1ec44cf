"""Publishing: versions, offsets, lineages, candidates and pins."""

from __future__ import annotations

from typing import Any

import pytest

from alice_rl.snapshot.head import Head
from alice_rl.snapshot.records import Applied, Moved, Pin, Published
from alice_rl.snapshot.store import Store
from tests.integration.store.steps import (
    publication,
    publish_many,
    ready,
    state,
)


async def test_a_published_snapshot_is_live(client: Any, store: Store) -> None:
    """The snapshot is stored under the next version, the head names it, the audit tells of it."""
    empty = await store.read_head()
    assert empty == Head(now_ms=empty.now_ms)
    done = await store.publish(publication(0, offset=7, who="worker", why="interval", detail='{"n":1}'))
    assert done == Published(Applied.OK, 1, True)
    head = await store.read_head()
    assert (head.seq, head.live, head.live_digest, head.previous) == (1, 1, "d1", None)
    assert (head.canary, head.canary_digest, head.canary_share, head.pinned) == (None, "", 0.0, None)
    assert (head.lineage, head.offsets, len(head.run_id)) == ("main", {0: 7}, 32)
    assert await store.get_snapshot(1) == b"blob-1"
    assert await client.get("alice:{alice}:snapshot:1") == b"blob-1"
    [listed] = await store.list_snapshots()
    assert (listed.version, listed.digest, listed.size_bytes, listed.expires_in_seconds) == (1, "d1", 6, None)
    assert abs(listed.published_ms - head.now_ms) < 60_000
    [entry] = await store.history()
    assert (entry.kind, entry.fields["who"], entry.fields["why"]) == ("publish", "worker", "interval")
    assert entry.fields["detail"] == '{"n":1}'


async def test_every_field_of_the_head_is_always_there(client: Any, store: Store) -> None:
    """A reader in any language finds each field of the head, empty when there is nothing to say."""
    await publish_many(store, 1)
    fields = set(await client.hgetall("alice:{alice}:head"))
    assert fields == {
        *(b"run_id", b"seq", b"live", b"live_digest", b"canary", b"canary_digest"),
        *(b"canary_share", b"previous", b"pinned", b"lineage", b"offsets"),
    }


async def test_a_repeated_publish_writes_nothing(client: Any, store: Store) -> None:
    """The same publication twice leaves the same bytes and answers the version issued before."""
    await store.publish(publication(0))
    before = await state(client)
    assert await store.publish(publication(0)) == Published(Applied.ALREADY, 1, True)
    assert await store.publish(publication(1, digest="d1")) == Published(Applied.ALREADY, 1, True)
    assert await state(client) == before


async def test_a_publish_over_a_moved_head_is_refused(client: Any, store: Store) -> None:
    """A publisher that packed for another version is told which one stands."""
    await publish_many(store, 2)
    before = await state(client)
    assert await store.publish(publication(0, offset=9, digest="x")) == Published(Applied.CAS, 2, False)
    assert await store.publish(publication(7, offset=9, digest="x")) == Published(Applied.CAS, 2, False)
    assert await state(client) == before


@pytest.mark.parametrize("offsets", [{0: 4, 1: 9}, {0: 5}, {1: 8}, {}])
async def test_offsets_never_go_back(client: Any, store: Store, offsets: dict[int, int]) -> None:
    """A snapshot that has seen less of any partition is refused; more, and more partitions, are welcome."""
    await store.publish(publication(0, offsets={0: 5, 1: 8}))
    before = await state(client)
    refused = await store.publish(publication(1, offsets=offsets))
    assert refused.applied is Applied.OFFSETS
    assert refused.note in {"0", "1"}
    assert await state(client) == before
    assert (await store.publish(publication(1, offsets={0: 5, 1: 8, 10: 0}))).applied is Applied.OK
    assert (await store.publish(publication(2, offsets={0: 6, 1: 10**15, 10: 0}))).applied is Applied.OK
    assert (await store.publish(publication(3, offsets={0: 6, 1: 10**15 - 1, 10: 0}))).note == "1"


async def test_only_the_active_lineage_publishes(client: Any, store: Store) -> None:
    """Another lineage is told which one is active; once it is activated its own offsets count."""
    await store.publish(publication(0, offset=100))
    before = await state(client)
    refused = await store.publish(publication(1, offset=200, lineage="replay"))
    assert refused == Published(Applied.LINEAGE, 1, False, "main")
    assert await state(client) == before
    await store.activate_lineage("replay")
    assert (await store.publish(publication(1, offset=50, lineage="replay"))).applied is Applied.OK
    assert (await store.publish(publication(2, offset=49, lineage="replay"))).applied is Applied.OFFSETS
    assert (await store.publish(publication(2, offset=500))).applied is Applied.LINEAGE


async def test_nothing_is_published_before_a_lineage_is_active(client: Any) -> None:
    """On an empty Redis a publish is refused and leaves it empty."""
    refused = await Store(client).publish(publication(0))
    assert (refused.applied, refused.note) == (Applied.LINEAGE, "")
    assert await state(client) == {}


async def test_a_candidate_is_stored_and_does_not_serve(client: Any, store: Store) -> None:
    """In candidate mode live stays, the snapshot is the newest, and its repetition writes nothing."""
    await publish_many(store, 1)
    assert await store.publish(publication(1, candidate=True)) == Published(Applied.OK, 2, False)
    before = await state(client)
    assert await store.publish(publication(1, candidate=True)) == Published(Applied.ALREADY, 2, False)
    assert await state(client) == before
    head = await store.read_head()
    assert (head.seq, head.live, head.previous, head.offsets) == (2, 1, None, {0: 2})
    assert await store.get_snapshot(2) == b"blob-2"


async def test_a_pin_holds_live_while_snapshots_are_stored(store: Store) -> None:
    """Under a pin every publish is stored as the newest and none becomes live, until the pin is lifted."""
    await publish_many(store, 2)
    pinned = await store.promote(2, request="r1", pin=Pin.PIN)
    assert pinned == Moved(Applied.OK, 2, None)
    assert await store.publish(publication(2)) == Published(Applied.OK, 3, False)
    assert await store.publish(publication(2)) == Published(Applied.ALREADY, 3, False)
    head = await store.read_head()
    assert (head.seq, head.live, head.pinned, head.previous) == (3, 2, 2, 1)
    assert (await store.promote(2, request="r2", pin=Pin.UNPIN)).applied is Applied.OK
    assert await store.publish(publication(3)) == Published(Applied.OK, 4, True)
    head = await store.read_head()
    assert (head.live, head.pinned, head.previous) == (4, None, 2)
    assert [entry.kind for entry in await store.history()] == [
        *("publish", "unpin", "publish", "pin", "publish", "publish")
    ]


async def test_run_id_tells_a_wiped_redis_from_an_old_one(client: Any, store: Store) -> None:
    """The run id stays as long as the head lives and is another one afterwards."""
    await publish_many(store, 1)
    first = (await store.read_head()).run_id
    await publish_many(store, 1)
    assert (await store.read_head()).run_id == first
    await client.flushdb()
    await publish_many(await ready(store), 1)
    assert (await store.read_head()).run_id != first


async def test_what_is_live_already_is_not_published_again(client: Any, store: Store) -> None:
    """A digest that is live is not stored a second time, also when a newer candidate waits."""
    await publish_many(store, 1)
    await store.publish(publication(1, candidate=True))
    before = await state(client)
    assert await store.publish(publication(2, digest="d1")) == Published(Applied.ALREADY, 1, True)
    assert await state(client) == before
