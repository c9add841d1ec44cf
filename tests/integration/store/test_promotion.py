"""Promotion and rollback: what serves, and what a repetition of a wish does."""

from __future__ import annotations

from typing import Any

import pytest

from alice_rl.snapshot import keys
from alice_rl.snapshot.records import Applied, Moved, Pin, Published, Stage
from alice_rl.snapshot.store import Store
from tests.integration.store.steps import (
    publication,
    publish_many,
    state,
)


async def test_a_promoted_version_is_live(client: Any, store: Store) -> None:
    """Promotion moves live and previous, and its repetition writes nothing."""
    await publish_many(store, 3)
    done = await store.promote(1, request="r1", expected_live=3, who="me", why="better", detail='{"e":20.5}')
    assert done == Moved(Applied.OK, 1, None)
    head = await store.read_head()
    assert (head.live, head.live_digest, head.previous, head.seq) == (1, "d1", 3, 3)
    before = await state(client)
    assert await store.promote(1, request="r1", expected_live=3) == Moved(Applied.ALREADY, 1, None)
    assert await store.promote(1, request="r2") == Moved(Applied.ALREADY, 1, None)
    assert await state(client) == before
    entry = (await store.history())[0]
    assert (entry.kind, entry.fields["who"], entry.fields["detail"]) == ("promote", "me", '{"e":20.5}')


async def test_a_repeated_promotion_is_known_after_others_followed(client: Any, store: Store) -> None:
    """A late repetition does not undo what was decided since."""
    await publish_many(store, 3)
    await store.promote(1, request="r1")
    await store.promote(2, request="r2")
    before = await state(client)
    assert await store.promote(1, request="r1") == Moved(Applied.ALREADY, 2, None)
    assert await state(client) == before


async def test_a_promotion_that_cannot_be_is_refused(client: Any, store: Store) -> None:
    """An unknown or expired version, another live one and a foreign pin each refuse, and change nothing."""
    await publish_many(store, 3)
    await client.delete(keys.snapshot("alice", 1))
    await store.promote(3, request="r0", pin=Pin.PIN)
    before = await state(client)
    assert (await store.promote(9, request="r1")).applied is Applied.MISSING
    assert (await store.promote(1, request="r2")).applied is Applied.MISSING
    assert (await store.promote(2, request="r3", expected_live=1)).applied is Applied.CAS
    assert (await store.promote(2, request="r4")).applied is Applied.PINNED
    assert await state(client) == before
    assert await store.promote(2, request="r5", pin=Pin.UNPIN) == Moved(Applied.OK, 2, None)
    assert (await store.read_head()).pinned is None


async def test_a_canary_ramps_and_is_promoted(client: Any, store: Store) -> None:
    """A canary gets a share, a larger one, and becomes live; then there is no canary any more."""
    await publish_many(store, 1)
    await store.publish(publication(1, candidate=True))
    for share in (0.0, 0.05, 0.25):
        before = await store.promote(2, request=f"r{share}", stage=Stage.CANARY, share=share)
        assert before == Moved(Applied.OK, 1, 2)
        assert (await store.read_head()).canary_share == share
    unchanged = await state(client)
    again = await store.promote(2, request="new", stage=Stage.CANARY, share=0.25)
    assert again.applied is Applied.ALREADY
    assert await state(client) == unchanged
    head = await store.read_head()
    assert (head.live, head.canary, head.canary_digest) == (1, 2, "d2")
    assert await store.promote(2, request="r9", expected_live=1) == Moved(Applied.OK, 2, None)
    head = await store.read_head()
    assert (head.live, head.previous, head.canary, head.canary_digest, head.canary_share) == (
        2,
        1,
        None,
        "",
        0.0,
    )


async def test_a_publish_leaves_the_canary_alone(store: Store) -> None:
    """A new live version does not touch the canary or its share."""
    await publish_many(store, 2)
    await store.promote(1, request="r1", stage=Stage.CANARY, share=0.05)
    await publish_many(store, 1)
    head = await store.read_head()
    assert (head.live, head.canary, head.canary_digest, head.canary_share) == (3, 1, "d1", 0.05)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
async def test_an_impossible_share_is_a_bug(store: Store, share: float) -> None:
    """A share outside [0, 1] never reaches Redis."""
    with pytest.raises(ValueError, match="share"):
        await store.promote(1, request="r", stage=Stage.CANARY, share=share)


async def test_a_rollback_goes_back_and_stays_there(store: Store) -> None:
    """Live is the previous version, pinned; the canary is gone; the next publish does not undo it."""
    await publish_many(store, 3)
    await store.promote(1, request="r0", stage=Stage.CANARY, share=0.05)
    done = await store.rollback(request="r1", version=3, who="gate", why="H below 0")
    assert done == Moved(Applied.OK, 2, None)
    head = await store.read_head()
    assert (head.live, head.live_digest, head.pinned, head.previous) == (2, "d2", 2, None)
    assert (head.canary, head.canary_share) == (None, 0.0)
    assert await store.publish(publication(3)) == Published(Applied.OK, 4, False)
    assert (await store.read_head()).live == 2
    entry = (await store.history())[1]
    assert (entry.kind, entry.fields["from"], entry.fields["to"]) == ("rollback", "3", "2")


async def test_a_repeated_rollback_writes_nothing(client: Any, store: Store) -> None:
    """A rollback whose answer was lost is not carried out twice."""
    await publish_many(store, 3)
    await store.rollback(request="r1")
    before = await state(client)
    assert await store.rollback(request="r1") == Moved(Applied.ALREADY, 2, None)
    assert await store.rollback(request="r2", to=2) == Moved(Applied.ALREADY, 2, None)
    assert await state(client) == before


async def test_rolling_back_twice_never_restores_the_bad_version(client: Any, store: Store) -> None:
    """After a rollback there is no previous version; going further back must be said."""
    await publish_many(store, 3)
    await store.rollback(request="r1")
    before = await state(client)
    assert await store.rollback(request="r2") == Moved(Applied.MISSING, 2, None)
    assert await state(client) == before
    assert await store.rollback(request="r3", to=1) == Moved(Applied.OK, 1, None)
    assert (await store.read_head()).pinned == 1


async def test_a_rollback_of_what_no_longer_serves_is_refused(client: Any, store: Store) -> None:
    """Another live version, another canary and an unknown target each refuse, and change nothing."""
    await publish_many(store, 3)
    await store.promote(1, request="r0", stage=Stage.CANARY, share=0.05)
    before = await state(client)
    assert (await store.rollback(request="r1", version=2)).applied is Applied.CAS
    assert (await store.rollback(request="r2", stage=Stage.CANARY, version=2)).applied is Applied.CAS
    assert (await store.rollback(request="r3", to=77)).applied is Applied.MISSING
    assert await state(client) == before


async def test_live_never_goes_back_to_a_version_that_is_gone(client: Any, store: Store) -> None:
    """When the bytes of the target are lost, the rollback is refused and live keeps serving."""
    await publish_many(store, 3)
    await client.delete(keys.snapshot("alice", 2))
    before = await state(client)
    assert await store.rollback(request="r1") == Moved(Applied.MISSING, 3, None)
    assert await state(client) == before


async def test_a_canary_rollback_leaves_live_alone(client: Any, store: Store) -> None:
    """Withdrawing the canary neither moves nor pins live, and is idempotent whoever asks."""
    await publish_many(store, 2)
    await store.promote(1, request="r0", stage=Stage.CANARY, share=0.05)
    done = await store.rollback(request="r1", stage=Stage.CANARY, version=1)
    assert done == Moved(Applied.OK, 2, None)
    before = await state(client)
    for request in ("r1", "r2"):
        again = await store.rollback(request=request, stage=Stage.CANARY, version=1)
        assert again == Moved(Applied.ALREADY, 2, None)
    assert await state(client) == before
    head = await store.read_head()
    assert (head.live, head.pinned, head.previous, head.canary_digest) == (2, None, 1, "")


async def test_a_rollback_before_any_publish_finds_nothing(client: Any, store: Store) -> None:
    """With an empty head there is nothing to go back to and nothing to promote."""
    before = await state(client)
    assert await store.rollback(request="r1") == Moved(Applied.MISSING, None, None)
    assert await store.promote(1, request="r2") == Moved(Applied.MISSING, None, None)
    assert await state(client) == before


async def test_the_audit_is_read_page_by_page(store: Store) -> None:
    """A page begins with the entry that it is asked for, and goes on to the older ones."""
    await publish_many(store, 5)
    newest, middle, *_ = await store.history(2)
    assert [entry.fields["version"] for entry in (newest, middle)] == ["5", "4"]
    assert [entry.fields["version"] for entry in await store.history(3, until=middle.id)] == ["4", "3", "2"]
