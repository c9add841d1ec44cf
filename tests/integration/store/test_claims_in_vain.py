"""What Redis remembers of owners that died without a checkpoint: claims in vain, and the range that is to blame."""

from __future__ import annotations

from typing import Any

import pytest

from alice_rl.snapshot import keys
from alice_rl.snapshot.records import Applied, Claim
from alice_rl.snapshot.store import Store
from tests.integration.store.steps import change, save, state


async def claimed(store: Store, nonce: str) -> Claim:
    """The whole answer to a claim on partition 0."""
    return await store.claim("main", 0, nonce=nonce, worker="w", epoch=1, lease_ms=30_000)


async def died(store: Store, nonce: str, offsets: tuple[int, int]) -> Claim:
    """A claim whose owner dies while it folds those offsets."""
    claim = await claimed(store, nonce)
    assert await store.suspect("main", 0, token=claim.token, offsets=offsets) is Applied.OK
    return claim


async def test_claims_are_in_vain_until_a_checkpoint_moves_the_shard(store: Store) -> None:
    """Each claim is told how many before it, in a row, have moved nothing."""
    claims = [await claimed(store, f"n{i}") for i in range(4)]
    assert [claim.in_vain for claim in claims] == [0, 1, 2, 3]
    assert await save(store, claims[-1].token, change("c1", None, 10)) is Applied.OK
    claims = [await claimed(store, f"m{i}") for i in range(2)]
    assert [claim.in_vain for claim in claims] == [0, 1]


async def test_a_renewed_lease_does_not_end_the_row(store: Store) -> None:
    """A checkpoint that moves no offset has got past nothing."""
    await save(store, (await claimed(store, "n1")).token, change("c1", None, 10))
    await claimed(store, "n2")
    claim = await claimed(store, "n3")
    assert await save(store, claim.token, change("c2", 10, 10)) is Applied.OK
    assert (await claimed(store, "n4")).in_vain == 2


async def test_a_repeated_claim_is_told_the_same(client: Any, store: Store) -> None:
    """A repetition neither counts as in vain nor blames anybody twice."""
    await died(store, "n1", (5, 9))
    first = await claimed(store, "n2")
    before = await state(client)
    again = await claimed(store, "n2")
    assert (first.applied, again.applied) == (Applied.OK, Applied.ALREADY)
    assert (again.in_vain, again.blamed, again.deaths) == (first.in_vain, first.blamed, first.deaths) == (1, (5, 9), 1)
    assert await state(client) == before


async def test_word_of_a_range_is_idempotent(client: Any, store: Store) -> None:
    """The same word twice leaves the same bytes."""
    await died(store, "n1", (5, 9))
    before = await state(client)
    token = (await store.owner("main", 0)).token  # type: ignore[union-attr]
    assert await store.suspect("main", 0, token=token, offsets=(5, 9)) is Applied.OK
    assert await state(client) == before


async def test_word_of_a_stale_owner_is_fenced(client: Any, store: Store) -> None:
    """Whoever has lost the partition accuses nobody, and nor does one that never had it."""
    stale = await claimed(store, "n1")
    await claimed(store, "n2")
    before = await state(client)
    assert await store.suspect("main", 0, token=stale.token, offsets=(1, 2)) is Applied.FENCED
    assert await store.suspect("main", 1, token=stale.token, offsets=(1, 2)) is Applied.FENCED
    assert await state(client) == before


async def test_the_range_in_which_an_owner_died_is_blamed(store: Store) -> None:
    """The next claims are told of it, with how many died there in a row; another range begins the count anew."""
    await died(store, "n1", (0, 1024))
    second = await died(store, "n2", (32, 64))
    third = await died(store, "n3", (32, 64))
    fourth = await claimed(store, "n4")
    assert [(claim.blamed, claim.deaths) for claim in (second, third, fourth)] == [
        ((0, 1024), 1),
        ((32, 64), 1),
        ((32, 64), 2),
    ]


async def test_a_death_elsewhere_leaves_the_blame(store: Store) -> None:
    """An owner that died without a word, by chance or in between, neither adds to the deaths nor clears them."""
    await died(store, "n1", (5, 6))
    assert (await claimed(store, "n2")).deaths == 1
    third = await claimed(store, "n3")
    assert (third.blamed, third.deaths) == ((5, 6), 1)


async def test_an_owner_that_took_its_word_back_blames_nobody(store: Store) -> None:
    """What was folded without harm is not suspected."""
    first = await died(store, "n1", (5, 9))
    assert await store.suspect("main", 0, token=first.token, offsets=None) is Applied.OK
    assert (await claimed(store, "n2")).blamed is None


@pytest.mark.parametrize(("upto", "blamed"), [(5, (5, 9)), (8, (5, 9)), (9, None), (20, None)])
async def test_a_checkpoint_beyond_the_range_ends_the_blame(
    client: Any, store: Store, upto: int, blamed: tuple[int, int] | None
) -> None:
    """A range is to blame until the shard has passed it; then nothing is left of it in Redis."""
    await died(store, "n1", (5, 9))
    claim = await claimed(store, "n2")
    assert await save(store, claim.token, change("c1", None, upto)) is Applied.OK
    after = await claimed(store, "n3")
    assert (after.in_vain, after.blamed, after.deaths) == (0, blamed, 1 if blamed else 0)
    if blamed is None:
        assert not await client.hget(keys.owner("alice", "main", 0), "blamed")


async def test_a_checkpoint_takes_the_word_back(store: Store) -> None:
    """An owner that dies after its checkpoint did not die of what it had folded before."""
    claim = await died(store, "n1", (0, 9))
    assert await save(store, claim.token, change("c1", None, 9)) is Applied.OK
    assert (await claimed(store, "n2")).blamed is None


async def test_a_refused_checkpoint_clears_nothing(client: Any, store: Store) -> None:
    """Neither a fenced owner nor one that stands elsewhere ends a row of claims."""
    stale = await died(store, "n1", (5, 9))
    fresh = await claimed(store, "n2")
    before = await state(client)
    assert await save(store, stale.token, change("c1", None, 20)) is Applied.FENCED
    assert await save(store, fresh.token, change("c2", 3, 20)) is Applied.CAS
    assert await state(client) == before
