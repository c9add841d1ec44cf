"""Short words for what these tests do to a store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from alice_rl.snapshot.records import Applied, Publication, ShardChange
from alice_rl.snapshot.store import Store

FINGERPRINT = "f1"
WAIT_SECONDS = 10.0


async def ready(store: Store) -> Store:
    """Declare and activate the lineage `main`."""
    await store.declare_lineage("main", FINGERPRINT, b'{"dim":64}')
    await store.activate_lineage("main", only_if_none=True)
    return store


async def state(client: Any) -> dict[bytes, tuple[bytes, bool]]:
    """Every key's serialised value, and whether it expires."""
    names = sorted(await client.keys("*"))
    return {name: (await client.dump(name), await client.pttl(name) >= 0) for name in names}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition, and fail if it never comes."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await condition():
            await asyncio.sleep(0.01)


async def claim(store: Store, nonce: str = "n1", partition: int = 0) -> int:
    """Claim a partition and answer the token."""
    got = await store.claim("main", partition, nonce=nonce, worker="w", epoch=1, lease_ms=30_000)
    return got.token


def change(checkpoint_id: str, expected: int | None, upto: int, **fields: Any) -> ShardChange:
    """A checkpoint from offset `expected` to `upto`."""
    return ShardChange(
        checkpoint_id=checkpoint_id, expected_next=expected, next=upto, low=0, watermark_ms=upto, **fields
    )


async def save(store: Store, token: int, what: ShardChange, fingerprint: str = FINGERPRINT) -> Applied:
    """Checkpoint partition 0 of the lineage `main`."""
    return await store.checkpoint("main", 0, token=token, fingerprint=fingerprint, change=what)


def publication(seq: int, offset: int | None = None, **fields: Any) -> Publication:
    """Snapshot `seq + 1`, at that offset of partition 0."""
    offsets = {0: seq + 1 if offset is None else offset}
    return Publication(
        **{
            "expected_seq": seq,
            "lineage": "main",
            "offsets": offsets,
            "digest": f"d{seq + 1}",
            "blob": b"blob-%d" % (seq + 1),
            **fields,
        }
    )


async def publish_many(store: Store, count: int) -> None:
    """Publish that many snapshots, one after the other."""
    for _ in range(count):
        seq = (await store.read_head()).seq
        assert (await store.publish(publication(seq))).applied is Applied.OK
