"""The whole loop in memory, in a world that changes: no Kafka, no Redis, no clock but the world's.

Assistant --decide--> PolicyClient <--solve_policy-- Shard <--records-- Assistant
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from alice_rl.episodes import Episode
from alice_rl.events import Decision, Event, encode
from alice_rl.online.drift import Drift
from alice_rl.shard import Shard
from alice_rl.simulation.assistant import WORLD_RULES, Assistant, seeded_ids
from alice_rl.simulation.score import Ledger
from alice_rl.simulation.world import World
from alice_rl.snapshot.client import PolicyClient
from worker.drift_watch import drifts_of, signals_of
from worker.settings import Settings, load_settings
from worker.solver import Taught, solve_policy

__all__ = ["Plan", "Run", "play"]

_CONFIG = Path(__file__).parents[2] / "config.toml"  # its arms are those of the simulated world
_HOURS_PER_WEEK = 168.0


class Plan(NamedTuple):
    """What is played.

    Attributes
    ----------
    turns, drift_at, seed : int
    turns_per_week : int
        Of event time: what a half-life in hours means in turns.
    publish_turns : int
        Turns between two policies.
    """

    turns: int = 40_000
    drift_at: int = 20_000
    seed: int = 7
    turns_per_week: int = 10_000
    publish_turns: int = 200


class Run(NamedTuple):
    """What came of it: the score of every turn, when turns were decided (ms), and what the detectors told."""

    ledger: Ledger
    times_ms: list[int]
    drifts: list[Drift]

    def turn_of(self, ts_ms: int) -> int:
        """The turn that was decided at that time."""
        return bisect_left(self.times_ms, ts_ms)


class _Record(NamedTuple):
    offset: int
    timestamp: int
    value: bytes


class _Loop:
    """A client that decides, and a shard that learns from what it decided."""

    def __init__(self, plan: Plan, settings: Settings) -> None:
        self._settings = settings
        self._client = PolicyClient(rules=WORLD_RULES, arms=settings.lineage.arms)
        self._shard = Shard(settings.lineage)
        self._shard.watch = self._watch
        self._records: list[_Record] = []
        self._drifts = drifts_of(settings)
        self.found: list[Drift] = []
        world = World(
            plan.seed, drift_at_turn=plan.drift_at, turns_per_second=plan.turns_per_week / _HOURS_PER_WEEK / 3600
        )
        self.assistant = Assistant(
            world, self._decide, self._send, new_id=seeded_ids(plan.seed), ledger=Ledger(turns_max=plan.turns)
        )

    def learn(self, version: int) -> None:
        """Fold what was sent, and decide by what it taught from now on."""
        self._shard.feed(self._records)
        self._records.clear()
        snapshot = solve_policy({0: Taught.of(self._shard)}, self._settings, version)
        self._client = PolicyClient.from_snapshot(snapshot, rules=WORLD_RULES, arms=self._settings.lineage.arms)

    def _decide(self, context: dict[str, object], tools: Sequence[str], **options: object) -> Decision:
        return self._client.decide(context, tools, **options)  # type: ignore[arg-type]

    def _send(self, event: Event) -> None:
        self._records.append(_Record(self._shard.next + len(self._records), event.ts_ms, encode(event)))

    def _watch(self, episodes: Sequence[Episode]) -> None:
        for arm, ts_ms, values in signals_of(episodes, self._settings):
            self.found += self._drifts.take(arm, ts_ms, values)


def play(plan: Plan, half_life_hours: float | None) -> Run:
    """Play a plan by policies that forget at this half-life (None: not at all)."""
    settings = load_settings(_CONFIG, environ={}).settings
    settings = structs.replace(settings, decay=structs.replace(settings.decay, half_life_hours=half_life_hours))
    loop = _Loop(plan, settings)
    times_ms = list[int]()
    for turn in range(plan.turns):
        times_ms.append(loop.assistant.play().ts_ms)
        if (turn + 1) % plan.publish_turns == 0:
            loop.learn(version=(turn + 1) // plan.publish_turns)
    return Run(loop.assistant.ledger, times_ms, loop.found)
