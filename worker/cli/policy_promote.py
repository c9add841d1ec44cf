"""A lineage promoted: the pin lifted if that is wished, then the takeover."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from alice_rl.snapshot.records import Pin
from alice_rl.snapshot.store import Store
from worker.cli.inspector import inspecting
from worker.cli.policy_import import operator
from worker.replay.takeover import Takeover, take_over
from worker.settings import Settings

__all__ = ["promote_lineage"]


async def promote_lineage(
    settings: Settings, *, why: str, timeout_seconds: float, unpin: bool, show: Callable[[int], object]
) -> Takeover:
    """Put the lineage of the settings in the place of the live one; see `take_over`."""
    async with inspecting(settings, Store) as store:
        await store.ensure_ready()
        pinned = (await store.read_head()).pinned
        if unpin and pinned is not None:
            await store.promote(pinned, request=uuid.uuid4().hex, pin=Pin.UNPIN, who=operator(), why=why)
        return await take_over(store, settings, who=operator(), why=why, timeout_seconds=timeout_seconds, show=show)
