"""Canaries in the store: how one stands, what the looks have told, and a head that has changed meanwhile."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from alice_rl.snapshot import keys
from alice_rl.snapshot.canary_state import CanaryPoint, CanaryState
from alice_rl.snapshot.records import Applied, Pin, Stage
from alice_rl.snapshot.store import Store
from tests.integration.store.steps import publish_many, state

STATE = CanaryState(
    version=2,
    digest="d2",
    live_version=1,
    live_digest="d1",
    phase="trial",
    share=0.05,
    opened_ms=1,
    share_since_ms=2,
    offsets={0: 5, 3: 7},
    verdict={"decision": "HOLD", "requests": 5},
    refused=("d0",),
)


async def test_the_state_is_read_as_it_was_written(store: Store) -> None:
    """There is one canary at a time; what is written last stands."""
    assert await store.read_canary() is None
    await store.write_canary(STATE)
    assert await store.read_canary() == STATE
    ended = structs.replace(STATE, phase="ended", outcome="rolled_back", ended_ms=9)
    await store.write_canary(ended)
    assert await store.read_canary() == ended


async def test_points_are_kept_in_order_and_bounded(client: Any, store: Store) -> None:
    """The oldest points go once there are some thousands."""
    for n in range(2500):
        point = CanaryPoint(version=2, ts_ms=n, share=0.05, offsets={0: n}, verdict={"requests": n})
        await store.add_canary_point(point)
    points = await store.canary_points()
    assert [point.ts_ms for point in points] == list(range(2500 - len(points), 2500))
    assert 2000 <= len(points) < 2500
    assert await client.xlen(keys.canary_points("alice")) == len(points)


async def test_a_step_is_refused_when_the_head_has_changed(client: Any, store: Store) -> None:
    """Who decided by an older head than the present one moves nothing: another live version, canary or pin is there."""
    await publish_many(store, 3)
    seen = await store.read_head()
    moves: list[dict[str, Any]] = [
        {"version": 2, "stage": Stage.CANARY, "share": 0.1},
        {"version": 3, "pin": Pin.PIN},
        {"version": 1, "pin": Pin.UNPIN},
    ]
    for n, move in enumerate(moves):
        assert (await store.promote(**move, request=f"r{n}")).applied is Applied.OK
        before = await state(client)
        late = await store.promote(2, request=f"late{n}", stage=Stage.CANARY, share=0.5, expected=seen)
        assert late.applied is Applied.CAS
        assert await state(client) == before
        seen = await store.read_head()
        assert (await store.promote(2, request=f"s{n}", stage=Stage.CANARY, share=0.2, expected=seen)).applied.done
        seen = await store.read_head()
