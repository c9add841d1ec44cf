"""A lineage takes over: it becomes active together with its first snapshot, or not at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alice_rl.snapshot.records import Applied, Pin, Publication, Published
from alice_rl.snapshot.store import Store
from tests.integration.store.steps import publication, publish_many, state


def takeover(seq: int, offset: int, lineage: str = "wide", replaced: str = "main", **fields: Any) -> Publication:
    """The first snapshot of a lineage that takes over."""
    return publication(seq, offset, lineage=lineage, takes_over_from=replaced, **{"digest": f"t{offset}"} | fields)


async def test_the_lineage_and_the_head_move_together(store: Store) -> None:
    """After it the lineage is active, its snapshot live, and the audit calls it a takeover, with who and why."""
    await publish_many(store, 2)
    assert await store.publish(takeover(2, 2, who="me", why="wider")) == Published(Applied.OK, 3, True)
    head = await store.read_head()
    assert (head.live, head.previous, head.lineage, head.offsets) == (3, 2, "wide", {0: 2})
    assert await store.active_lineage() == "wide"
    entry = (await store.history())[0]
    assert (entry.kind, entry.fields["version"], entry.fields["lineage"]) == ("takeover", "3", "wide")
    assert (entry.fields["who"], entry.fields["why"]) == ("me", "wider")


async def test_a_repeated_takeover_writes_nothing(client: Any, store: Store) -> None:
    """One whose answer was lost is told that it stands already."""
    await publish_many(store, 1)
    await store.publish(takeover(1, 1))
    before = await state(client)
    assert await store.publish(takeover(1, 1)) == Published(Applied.ALREADY, 2, True)
    assert await state(client) == before


async def test_afterwards_the_new_lineage_publishes_alone(store: Store) -> None:
    """Its own publications go on from its offsets; those of the old one are told which lineage is active."""
    await publish_many(store, 1)
    await store.publish(takeover(1, 5))
    assert await store.publish(publication(2, 9)) == Published(Applied.LINEAGE, 2, False, "wide")
    assert (await store.publish(publication(2, 4, lineage="wide"))).applied is Applied.OFFSETS
    assert (await store.publish(publication(2, 6, lineage="wide"))).applied is Applied.OK
    assert [entry.kind for entry in await store.history()] == ["publish", "takeover", "publish"]


@pytest.mark.parametrize(("offsets", "behind"), [({0: 4, 1: 8}, "0"), ({0: 5}, "1"), ({0: 5, 1: 7}, "1")])
async def test_a_lineage_that_is_behind_does_not_take_over(
    client: Any, store: Store, offsets: dict[int, int], behind: str
) -> None:
    """It must have seen all that the live policy has seen, of every partition; the refusal names one."""
    await store.publish(publication(0, offsets={0: 5, 1: 8}))
    before = await state(client)
    refused = await store.publish(takeover(1, 0, offsets=offsets))
    assert refused == Published(Applied.OFFSETS, 1, False, behind)
    assert await state(client) == before
    assert (await store.publish(takeover(1, 0, offsets={0: 5, 1: 8, 2: 0}))).applied is Applied.OK


async def test_a_pin_holds_a_takeover_back(client: Any, store: Store) -> None:
    """What is pinned stays live, so its lineage stays active; without the pin it goes through."""
    await publish_many(store, 2)
    await store.promote(2, request="r1", pin=Pin.PIN)
    before = await state(client)
    assert await store.publish(takeover(2, 9)) == Published(Applied.PINNED, 2, False, "2")
    assert await state(client) == before
    await store.promote(2, request="r2", pin=Pin.UNPIN)
    assert (await store.publish(takeover(2, 9))).applied is Applied.OK


async def test_a_takeover_from_what_is_not_active_is_refused(client: Any, store: Store) -> None:
    """When another lineage became active meanwhile, the refusal names it."""
    await publish_many(store, 1)
    await store.publish(takeover(1, 5, lineage="other"))
    before = await state(client)
    assert await store.publish(takeover(2, 9)) == Published(Applied.LINEAGE, 2, False, "other")
    assert await state(client) == before
    assert (await store.publish(takeover(2, 9, replaced="other"))).applied is Applied.OK


async def test_a_takeover_over_a_moved_head_is_refused(client: Any, store: Store) -> None:
    """The head is read again, as for any publication."""
    await publish_many(store, 2)
    before = await state(client)
    assert await store.publish(takeover(1, 9)) == Published(Applied.CAS, 2, False)
    assert await state(client) == before


async def test_the_old_lineage_may_take_its_place_back(store: Store) -> None:
    """A takeover is undone by one in the other direction, once the old one has caught up."""
    await publish_many(store, 1)
    await store.publish(takeover(1, 5))
    back = takeover(2, 4, lineage="main", replaced="wide")
    assert (await store.publish(back)).applied is Applied.OFFSETS
    assert (await store.publish(takeover(2, 5, lineage="main", replaced="wide", digest="b"))).applied is Applied.OK
    assert await store.active_lineage() == "main"


async def test_before_the_first_policy_nothing_has_to_be_caught_up_with(store: Store) -> None:
    """A lineage that was active and has published nothing is replaced as well."""
    assert await store.publish(takeover(0, 3)) == Published(Applied.OK, 1, True)
    assert await store.active_lineage() == "wide"


async def test_of_two_takeovers_at_once_one_goes_through(store: Store) -> None:
    """The other one is told which lineage is active, or that the head moved."""
    await publish_many(store, 1)
    answers = await asyncio.gather(*(store.publish(takeover(1, 5, lineage=name, digest=name)) for name in ("a", "b")))
    [won] = [answer for answer in answers if answer.applied is Applied.OK]
    [lost] = [answer for answer in answers if answer is not won]
    assert lost.applied is Applied.LINEAGE
    assert await store.active_lineage() == (await store.read_head()).lineage == lost.note
