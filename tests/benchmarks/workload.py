"""The turns that everything is measured on: the simulated world under arms drawn uniformly."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from alice_rl.events import Context, Decision, Outcome, PolicyStamp, SlotChoice, Turn, TurnOutcome, encode
from alice_rl.feature_spec import FeatureSettings
from alice_rl.lineage import Arms, Lineage
from alice_rl.shard import Shard
from alice_rl.simulation.world import ROUTES, TIERS, TOOLS, World
from alice_rl.slots import RouteSettings, ToolSettings
from alice_rl.snapshot.format import Snapshot
from tests.logs import LogRecord
from worker.settings import Settings
from worker.solver import Taught, solve_policy

__all__ = [
    "PARTITIONS",
    "RECORDS_PER_FETCH",
    "SETTINGS",
    "TOOLS",
    "TURNS_PER_SECOND",
    "Turn",
    "fold",
    "lineage",
    "partition_log",
    "records",
    "snapshot",
    "split",
    "turns",
]

PARTITIONS = 6
RECORDS_PER_FETCH = 1000
TURNS_PER_SECOND = 100.0
SETTINGS = Settings(tool=ToolSettings(arms=TOOLS))

_STAMP = PolicyStamp("live", 1234, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")


def turns(seed: int = 7, routes: Sequence[str] = ROUTES) -> Iterator[Turn]:
    """An endless stream of turns; arms drawn uniformly among what is on offer."""
    world, rng = World(seed, turns_per_second=TURNS_PER_SECOND), random.Random(seed)
    while True:
        now = world.next_turn()
        chosen = [rng.choice(arms) for arms in (routes, now.tools, TIERS)]
        route = ROUTES[routes.index(chosen[0]) % len(ROUTES)]
        became = world.outcome(now, route, *chosen[1:])
        world.record(now, became)
        offers = (tuple(routes), now.tools, TIERS)
        slots = [SlotChoice(arm, arms, 1 / len(arms), 1 / len(arms)) for arm, arms in zip(chosen, offers, strict=True)]
        yield Turn(
            decision_id=f"{now.ts_ms:012x}-7{rng.getrandbits(72):018x}",
            ts_ms=now.ts_ms,
            session_id=now.session_id,
            context=msgspec.convert(now.context, Context),
            policy=_STAMP,
            route=slots[0],
            tool=slots[1],
            cache=slots[2],
            outcome=TurnOutcome(
                ts_ms=now.ts_ms + became.delay_ms,
                success=became.success,
                latency_ms=became.latency_ms,
                cost_usd=became.cost_usd,
                cache_hit=became.cache_hit,
                guardian_flag=became.guardian_flag,
                tool_ok=became.tool_ok,
            ),
        )


def split(stream: Iterable[Turn]) -> Iterator[Decision | Outcome]:
    """The same turns as decisions and outcomes, in the order in which they happen."""
    waiting: list[Outcome] = []
    for turn in stream:
        due = [o for o in waiting if o.ts_ms <= turn.ts_ms]
        if due:
            yield from sorted(due, key=lambda o: o.ts_ms)
            waiting = [o for o in waiting if o.ts_ms > turn.ts_ms]
        fields = {name: getattr(turn, name) for name in Decision.__struct_fields__}
        yield Decision(**fields)
        waiting.append(Outcome(turn.decision_id, *msgspec.structs.astuple(turn.outcome)))
    yield from waiting


def records(events: Iterable[Turn | Decision | Outcome]) -> list[LogRecord]:
    """Events as the records of one partition."""
    return [LogRecord(offset, event.ts_ms, encode(event)) for offset, event in enumerate(events)]


def partition_log(count: int, routes: Sequence[str] = ROUTES) -> tuple[list[Turn], list[LogRecord]]:
    """One partition's share of the stream, as turns and as records."""
    share = list(islice(turns(routes=routes), 0, count * PARTITIONS, PARTITIONS))
    return share, records(share)


def lineage(feature_dim: int = 64, routes: Sequence[str] = ROUTES) -> Lineage:
    """The lineage of the benchmark's settings, of another size if asked."""
    return msgspec.structs.replace(
        SETTINGS.lineage, features=FeatureSettings(feature_dim=feature_dim), arms=Arms(tuple(routes), TOOLS, TIERS)
    )


def fold(log: Sequence[LogRecord], structure: Lineage) -> Shard:
    """A new shard after the whole log, fetched in batches."""
    shard = Shard(structure)
    for at in range(0, len(log), RECORDS_PER_FETCH):
        shard.feed(log[at : at + RECORDS_PER_FETCH])
    return shard


def snapshot(shard: Shard) -> Snapshot:
    """The policy of what a shard has learned, as the worker solves it."""
    changes: dict[str, Any] = {
        "route": RouteSettings(arms=shard.lineage.arms.route),
        "features": shard.lineage.features,
        "rules": msgspec.structs.replace(SETTINGS.rules, route=shard.lineage.arms.route[0], route_by_intent={}),
    }
    return solve_policy({0: Taught.of(shard)}, msgspec.structs.replace(SETTINGS, **changes), version=1)
