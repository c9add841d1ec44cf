"""What Redis holds of the gate and its canaries, read for a look or a story."""

from __future__ import annotations

from alice_rl.snapshot.store import Store
from worker.checkpoint import read_state
from worker.cli.canary_gate import Looked, next_words
from worker.cli.canary_record import CanaryRecord, read_record
from worker.cli.canary_story import Story, tell
from worker.cli.inspector import inspecting
from worker.settings import Settings

__all__ = ["look", "read_story"]


async def look(settings: Settings) -> Looked:
    """How the gate stands.

    Raises
    ------
    DependencyError
        Redis is away.
    """
    async with inspecting(settings, Store) as store:
        return await _looked(settings, store)


async def read_story(settings: Settings, version: int | None) -> tuple[CanaryRecord, Story]:
    """What is recorded of a canary, and its story; of the current or last one by default.

    Raises
    ------
    AliceError
        There has been no canary, or not that one.
    """
    async with inspecting(settings, Store) as store:
        record, looked = await read_record(store, version), await _looked(settings, store)
    after = "" if record.state is None else next_words(looked, settings.canary)
    return record, tell(record, settings.canary.rules, after)


async def _looked(settings: Settings, store: Store) -> Looked:
    name = await store.active_lineage() or settings.policy.lineage
    head, state = await store.read_head(), await store.read_canary()
    records = [await store.shard_position(name, partition) for partition in await store.known_partitions(name)]
    held = [record for record in records if record is not None]
    return Looked(
        head=head,
        state=state,
        log_ms=max((record.watermark_ms for record in held), default=None),
        episodes=sum(read_state(record).counts.get("episodes", 0) for record in held),
    )
