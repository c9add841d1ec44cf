"""Shards to Redis and back."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from alice_rl.errors import DependencyError
from alice_rl.shard import Shard
from alice_rl.snapshot import keys
from alice_rl.snapshot.records import Applied
from alice_rl.snapshot.store import Store
from tests.logs import LINEAGE, START_MS, records, turn, turns
from tests.unit.worker.steps import held, makes_checkpoints, taught
from worker.checkpoint import Holding, damaged, read_state, restored
from worker.settings import Settings
from worker.suspicion import Suspicion

LOG = turns(40, step_ms=600_000)
LAST_MS = START_MS + 39 * 600_000


@pytest.fixture
def shard() -> Shard:
    """A shard of several buckets."""
    made = Shard(LINEAGE)
    made.feed(LOG)
    assert len(made.buckets) > 2
    return made


def packed(shard: Shard) -> dict[str, bytes]:
    """The bytes of a shard's buckets."""
    return {str(bucket): sums.to_bytes() for bucket, sums in shard.buckets.items()}


def test_whole_buckets_are_not_damaged(shard: Shard) -> None:
    """The bytes that were checkpointed are those that the state tells of."""
    assert damaged(packed(shard), shard.state) == []


def test_changed_missing_and_foreign_buckets_are_damaged(shard: Shard) -> None:
    """A bucket with other bytes, one that is gone, and one that nobody wrote are named, in their order."""
    buckets = packed(shard)
    changed, gone, *_ = sorted(buckets)
    buckets[changed] = buckets[changed][:-1] + bytes([buckets[changed][-1] ^ 1])
    del buckets[gone]
    buckets["9:9"] = b""
    assert damaged(buckets, shard.state) == [changed, gone, "9:9"]


async def test_a_checkpoint_comes_back_as_it_was(store: Store, settings: Settings) -> None:
    """Sums, offset, counts and the list of what is passed over survive; the joiner is rebuilt from the log."""
    checkpoints = makes_checkpoints(store, settings)
    holding = await held(checkpoints)
    holding.shard.skipped.add(3)
    holding.shard.feed(LOG)
    assert await checkpoints.write(0, holding) is Applied.OK
    again = await held(checkpoints)
    assert (again.stored_next, again.shard.next, again.shard.rebuilding) == (40, 40, True)
    assert again.shard.digest() == holding.shard.digest()
    assert (again.shard.counts, again.shard.skipped) == (holding.shard.counts, {3})
    assert again.shard.feed(LOG) == []
    assert again.shard.state == holding.shard.state


async def test_only_what_changed_is_written(client: Any, store: Store, settings: Settings) -> None:
    """A bucket that was not added to keeps its bytes in Redis untouched; one that was merged away is deleted."""
    checkpoints, key = makes_checkpoints(store, settings), keys.shard("alice", "main", 0)
    holding = await taught(checkpoints, LOG)
    kept, *_, newest = sorted(holding.shard.buckets, key=lambda bucket: bucket.ordinal << bucket.level)
    for bucket in (kept, newest):
        await client.hset(key, f"bucket:{bucket}", b"as it was")
    holding.shard.feed(records([turn("next", LAST_MS)], 40))
    assert await checkpoints.write(0, holding) is Applied.OK
    assert not holding.shard.buckets.changed and not holding.shard.buckets.removed
    stored = await client.hgetall(key)
    assert stored[f"bucket:{newest}".encode()] == holding.shard.buckets[newest].to_bytes()
    assert stored[f"bucket:{kept}".encode()] == b"as it was"
    holding = holding.stored(0.0)
    holding.shard.feed(records([turn(f"d-{i}", LAST_MS + i * 500_000) for i in range(100)], 41))
    assert await checkpoints.write(0, holding) is Applied.OK
    names = {name.removeprefix(b"bucket:").decode() for name in await client.hkeys(key) if name.startswith(b"bucket:")}
    assert names == {str(bucket) for bucket in holding.shard.buckets}


async def test_a_refused_write_keeps_what_changed(store: Store, settings: Settings) -> None:
    """What Redis did not take is written by the next checkpoint."""
    checkpoints = makes_checkpoints(store, settings)
    holding = await held(checkpoints)
    holding.shard.feed(LOG)
    await held(checkpoints)
    changed = set(holding.shard.buckets.changed)
    assert await checkpoints.write(0, holding) is Applied.FENCED
    assert holding.shard.buckets.changed == changed != set()


async def test_a_repeated_write_is_recognised(store: Store, settings: Settings) -> None:
    """A checkpoint whose answer was lost is told that it stands already; a lease may be renewed any number of times."""
    checkpoints = makes_checkpoints(store, settings)
    holding = await held(checkpoints)
    holding.shard.feed(LOG)
    assert [await checkpoints.write(0, holding) for _ in range(2)] == [Applied.OK, Applied.ALREADY]
    holding = holding.stored(0.0)
    assert [await checkpoints.write(0, holding) for _ in range(2)] == [Applied.OK, Applied.OK]


async def test_a_damaged_checkpoint_is_refused(client: Any, store: Store, settings: Settings) -> None:
    """Bytes that were changed in Redis are not learned on; the error names the bucket."""
    checkpoints = makes_checkpoints(store, settings)
    holding = await taught(checkpoints, LOG)
    bucket = str(max(holding.shard.buckets))
    await client.hset(keys.shard("alice", "main", 0), f"bucket:{bucket}", b"other")
    with pytest.raises(DependencyError, match=f"bucket {bucket} ") as caught:
        await held(checkpoints)
    assert caught.value.code == "checkpoint_corrupt"
    record = await store.load_shard("main", 0)
    assert record is not None
    with pytest.raises(DependencyError):
        restored(settings.lineage, record)
    assert read_state(record).digests == holding.shard.buckets.digests()


async def test_a_lost_checkpoint_is_refused(client: Any, store: Store, settings: Settings) -> None:
    """A partition that had a checkpoint once is not begun from nothing."""
    checkpoints = makes_checkpoints(store, settings)
    await taught(checkpoints, LOG)
    await client.delete(keys.shard("alice", "main", 0))
    with pytest.raises(DependencyError) as caught:
        await held(checkpoints)
    assert caught.value.code == "checkpoint_lost"


async def test_a_superseded_claim_holds_nothing(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was fenced before its claim was answered is told so."""
    claim = store.claim

    async def late(*arguments: Any, **named: Any) -> Any:
        return structs.replace(await claim(*arguments, **named), applied=Applied.FENCED)

    monkeypatch.setattr(store, "claim", late)
    assert await makes_checkpoints(store, settings).claim(0, epoch=1) is None


async def test_claims_in_vain_make_the_next_one_careful(store: Store, settings: Settings) -> None:
    """The third claim without a checkpoint between them comes with a suspicion."""
    checkpoints = makes_checkpoints(store, settings)
    assert [(await held(checkpoints)).suspicion for _ in range(3)] == [None, None, Suspicion()]


def test_a_stored_holding_knows_what_redis_has(shard: Shard) -> None:
    """After a checkpoint the holding stands where its shard does, and knows when that was."""
    stored = Holding(shard, 7, None).stored(12.5)
    assert (stored.token, stored.stored_next, stored.renewed_at) == (7, 40, 12.5)


@pytest.mark.parametrize(
    ("suspicion", "stored_next", "ends"),
    [
        (Suspicion(), 10, True),
        (Suspicion(), 40, False),  # a lease was renewed: nothing was passed
        (Suspicion(30, 40, 1), 10, True),
        (Suspicion(30, 41, 1), 10, False),  # the place is still ahead
    ],
)
def test_a_suspicion_ends_where_it_was_passed(shard: Shard, suspicion: Suspicion, stored_next: int, ends: bool) -> None:
    """Folding is quick again once the checkpoint has moved, and lies behind the suspected range."""
    assert Holding(shard, 7, stored_next, 0.0, suspicion).stored(1.0).suspicion == (None if ends else suspicion)
