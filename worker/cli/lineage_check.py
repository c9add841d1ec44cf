"""Whether the lineage in Redis can go on with a configuration, asked in a hurry: a check must not wait for Redis."""

from __future__ import annotations

from msgspec import structs

from alice_rl.errors import DependencyError
from alice_rl.lineage_change import LineageChange, Relation
from worker.cli.inspector import Inspector, inspecting
from worker.settings import Settings

__all__ = ["change_of_lineage"]

_PATIENCE_SECONDS = 0.5


async def change_of_lineage(settings: Settings) -> LineageChange | None:
    """What the configuration changes in its lineage; None when Redis cannot be asked, or does not have the lineage.

    Raises
    ------
    ConfigError
        The lineage cannot go on with this configuration.
    """
    hurried = structs.replace(
        settings.redis,
        connect_timeout_seconds=min(_PATIENCE_SECONDS, settings.redis.connect_timeout_seconds),
        socket_timeout_seconds=min(_PATIENCE_SECONDS, settings.redis.socket_timeout_seconds),
        retries_max=0,
    )
    name, lineage = settings.policy.lineage, settings.lineage
    try:
        async with inspecting(structs.replace(settings, redis=hurried), Inspector) as redis:
            stands, change = await redis.lineage_change(name, lineage.fingerprint, lineage.to_json())
            if not stands:
                return None
            if change.relation in (Relation.SHRINKS, Relation.DIFFERS):
                raise change.refusal(name, await redis.replay_name(name, lineage.fingerprint))
            return change
    except DependencyError:
        return None
