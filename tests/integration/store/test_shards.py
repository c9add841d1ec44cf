"""Lineages, claims and checkpoints: one owner at a time, and every checkpoint on the state it continues."""

from __future__ import annotations

from typing import Any

import pytest

from alice_rl.errors import ConfigError
from alice_rl.snapshot import keys
from alice_rl.snapshot.records import Applied, ShardChange
from alice_rl.snapshot.store import Store
from tests.integration.store.steps import (
    FINGERPRINT,
    change,
    claim,
    save,
    state,
)


async def test_a_lineage_keeps_the_configuration_it_was_declared_with(store: Store) -> None:
    """Declaring again is harmless with the same fingerprint and refused with another."""
    await store.declare_lineage("main", FINGERPRINT, b"ignored")
    assert await store.lineage_config("main") == (FINGERPRINT, b'{"dim":64}')
    with pytest.raises(ConfigError, match="dim is None, declared was 64") as caught:
        await store.declare_lineage("main", "f2", b"{}")
    assert caught.value.code == "lineage_mismatch"
    assert await store.lineage_config("other") is None


async def test_the_first_lineage_stays_active_until_another_is_activated(client: Any) -> None:
    """`only_if_none` never replaces an active lineage; without it the lineage is switched."""
    store = Store(client)
    assert await store.active_lineage() is None
    assert await store.activate_lineage("main", only_if_none=True) == "main"
    assert await store.activate_lineage("replay", only_if_none=True) == "main"
    assert await store.activate_lineage("replay") == "replay"
    assert await client.hget("alice:{alice}:meta", "active_lineage") == b"replay"


async def test_each_claim_gets_a_greater_token(store: Store) -> None:
    """Tokens grow, whoever claims, and the owner is stored with its epoch and lease."""
    tokens = [await claim(store, f"n{i}") for i in range(12)]
    assert tokens == sorted(set(tokens))
    head = await store.read_head()
    owner = await store.owner("main", 0)
    assert owner is not None
    assert (owner.token, owner.worker, owner.epoch) == (tokens[-1], "w", 1)
    assert 0 < owner.lease_until_ms - head.now_ms <= 30_000
    assert await store.owner("main", 5) is None


async def test_a_repeated_claim_gets_its_token_and_writes_nothing(client: Any, store: Store) -> None:
    """The same nonce is the same claim, down to the bytes in Redis."""
    first = await store.claim("main", 0, nonce="n1", worker="w", epoch=1, lease_ms=30_000)
    before = await state(client)
    again = await store.claim("main", 0, nonce="n1", worker="w", epoch=1, lease_ms=30_000)
    assert (first.applied, again.applied) == (Applied.OK, Applied.ALREADY)
    assert (again.token, again.lease_until_ms) == (first.token, first.lease_until_ms)
    assert await state(client) == before


async def test_a_delayed_repetition_of_an_old_claim_fences_nobody(client: Any, store: Store) -> None:
    """An old claim that arrives twice is told that it is fenced; the new owner keeps the partition."""
    old = await claim(store, "a-1")
    new = await claim(store, "a-2")
    before = await state(client)
    late = await store.claim("main", 0, nonce="a-1", worker="w", epoch=1, lease_ms=30_000)
    assert (late.applied, late.token) == (Applied.FENCED, old)
    assert await state(client) == before
    assert await save(store, new, change("c1", None, 5)) is Applied.OK


async def test_a_nonce_is_not_taken_for_the_start_or_end_of_another(store: Store) -> None:
    """Claims are told apart by their whole nonce."""
    tokens = {await claim(store, nonce) for nonce in ("ab", "b", "a", "abc", "%a", ".")}
    assert len(tokens) == 6


async def test_a_claim_says_whether_the_state_it_should_find_is_there(client: Any, store: Store) -> None:
    """A new partition, a known one, and a known one whose shard was lost are three different answers."""
    first = await store.claim("main", 0, nonce="n1", worker="w", epoch=1, lease_ms=30_000)
    await save(store, first.token, change("c1", None, 5))
    second = await store.claim("main", 0, nonce="n2", worker="w", epoch=2, lease_ms=30_000)
    await client.delete(keys.shard("alice", "main", 0))
    third = await store.claim("main", 0, nonce="n3", worker="w", epoch=3, lease_ms=30_000)
    found = [(got.shard_exists, got.partition_known) for got in (first, second, third)]
    assert found == [(False, False), (True, True), (False, True)]


async def test_a_token_never_returns_after_the_owner_was_lost(client: Any, store: Store) -> None:
    """A failover that loses the claim cannot hand the same token to somebody else."""
    lost = await claim(store, "n1")
    await save(store, lost, change("c1", None, 5))
    await client.delete(keys.owner("alice", "main", 0))
    assert await save(store, lost, change("c2", 5, 9)) is Applied.FENCED
    assert await claim(store, "n2") > lost


async def test_a_checkpoint_is_read_back_as_it_was_written(client: Any, store: Store) -> None:
    """Offsets, extra fields and buckets survive; removed fields are gone; binary values are untouched."""
    token = await claim(store)
    raw = bytes(range(256))
    first = change("c1", None, 10, tail="t1", extra={"gate": b"g", "old": b"o"}, buckets={"1": raw, "2": b"b"})
    second = change("c2", 10, 20, buckets={"3": b"c"}, removed_buckets=("2",), removed_extra=("old",))
    assert await save(store, token, first) is Applied.OK
    assert await save(store, token, second) is Applied.OK
    shard = await store.load_shard("main", 0)
    assert shard is not None
    assert (shard.next, shard.low, shard.watermark_ms, shard.tail) == (20, 0, 20, "")
    assert (shard.extra, shard.buckets) == ({"gate": b"g"}, {"1": raw, "3": b"c"})
    assert await client.hget("alice:{alice}:lineage:main:shard:0", "next") == b"20"
    assert await store.known_partitions("main") == {0}
    assert await store.known_partitions("mai") == frozenset()
    assert await store.load_shard("main", 1) is None


async def test_a_repeated_checkpoint_writes_nothing(client: Any, store: Store) -> None:
    """The same checkpoint twice leaves the same bytes, also after the partition went to another worker."""
    token = await claim(store)
    what = change("c1", None, 10, buckets={"1": b"a"})
    assert await save(store, token, what) is Applied.OK
    before = await state(client)
    assert await save(store, token, what) is Applied.ALREADY
    assert await state(client) == before
    await claim(store, "n2")
    before = await state(client)
    assert await save(store, token, what) is Applied.ALREADY
    assert await state(client) == before


async def test_a_stale_owner_is_fenced(client: Any, store: Store) -> None:
    """After another worker's claim nothing of the old owner lands, before or after a checkpoint."""
    stale = await claim(store, "n1")
    assert await save(store, stale, change("c1", None, 10)) is Applied.OK
    fresh = await claim(store, "n2")
    before = await state(client)
    assert await save(store, stale, change("c2", 10, 20)) is Applied.FENCED
    assert await state(client) == before
    assert await save(store, fresh, change("c3", 10, 15)) is Applied.OK
    assert await save(store, stale, change("c1", None, 10)) is Applied.FENCED
    shard = await store.load_shard("main", 0)
    assert shard is not None and shard.next == 15


@pytest.mark.parametrize("expected", [None, 5, 15])
async def test_a_checkpoint_lands_only_on_the_state_it_continues(
    client: Any, store: Store, expected: int | None
) -> None:
    """A checkpoint from any other offset than the stored one is refused and changes nothing."""
    token = await claim(store)
    assert await save(store, token, change("c0", 3, 10)) is Applied.CAS
    assert await save(store, token, change("c1", None, 10)) is Applied.OK
    before = await state(client)
    assert await save(store, token, change("c2", expected, 20)) is Applied.CAS
    assert await state(client) == before


@pytest.mark.parametrize("fingerprint", ["f2", "f", "f11", "f1 "])
async def test_another_configuration_cannot_checkpoint(client: Any, store: Store, fingerprint: str) -> None:
    """A worker with another configuration is refused, even if its fingerprint starts alike."""
    token = await claim(store)
    before = await state(client)
    assert await save(store, token, change("c1", None, 10), fingerprint) is Applied.LINEAGE
    assert await state(client) == before


async def test_an_idle_partition_renews_its_lease(client: Any, store: Store) -> None:
    """A checkpoint that moves no offset moves the end of the lease."""
    token = await claim(store)
    await save(store, token, change("c1", None, 10))
    await client.hset(keys.owner("alice", "main", 0), "lease", 1)
    assert await save(store, token, change("c2", 10, 10)) is Applied.OK
    owner = await store.owner("main", 0)
    assert owner is not None and owner.lease_until_ms > 1


async def test_a_checkpoint_may_have_more_fields_than_lua_has_stack(store: Store) -> None:
    """Thousands of buckets are set and removed in one checkpoint."""
    token = await claim(store)
    many = {str(i): b"%d" % i for i in range(9001)}
    assert await save(store, token, change("c1", None, 1, buckets=many)) is Applied.OK
    shard = await store.load_shard("main", 0)
    assert shard is not None and shard.buckets == many
    assert await save(store, token, change("c2", 1, 2, removed_buckets=tuple(many)[1:])) is Applied.OK
    shard = await store.load_shard("main", 0)
    assert shard is not None and shard.buckets == {"0": b"0"}


@pytest.mark.parametrize("fields", [{"next": 1, "low": 2}, {"next": 3, "low": 0}, {"checkpoint_id": ""}])
def test_an_impossible_checkpoint_is_a_bug(fields: dict[str, Any]) -> None:
    """Offsets that go back, and a checkpoint without an id, cannot even be expressed."""
    whole: dict[str, Any] = {
        "checkpoint_id": "c",
        "expected_next": 5,
        "next": 9,
        "low": 0,
        "watermark_ms": 0,
    } | fields
    with pytest.raises(ValueError, match="next|id"):
        ShardChange(**whole)
