"""One run of the demo: the assistant plays, the worker learns from it, the client decides by what was learned.

    Assistant --decide--> PolicyClient <--snapshots-- Redis <--publish-- worker <--Kafka-- Emitter <--events-- Assistant

The assistant is paced by what the policy in use has learned, so that a slow machine sees the same show, only slower.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from alice_rl.errors import DependencyError
from alice_rl.simulation.assistant import Assistant
from alice_rl.simulation.pace import Pace
from alice_rl.simulation.score import Ledger
from alice_rl.simulation.world import World
from alice_rl.snapshot.client import PolicyClient
from alice_rl.snapshot.head import Head
from alice_rl.snapshot.reader import HeadReader
from alice_rl.snapshot.store import Store
from alice_rl.telemetry import Emitter
from worker.checkpoint import read_state
from worker.demo.plan import Plan
from worker.demo.services import Services

__all__ = ["Facts", "Learned", "Session"]

STALLED_SECONDS = 60.0
"""Nothing was learned for so long, though there was something to learn: the demo gives up."""

_BURST_TURNS = 20  # played at once; the event loop has other things to do in between
_WATCH_SECONDS = 0.04
_TICK_SECONDS = 0.25
_RATE_SECONDS = 2.0  # over which events per second are measured
_EVENTS_PER_TURN = 2


class Facts(NamedTuple):
    """How the run stands, for whoever shows it.

    Attributes
    ----------
    ledger : Ledger
    seconds : float
        Since the first turn.
    version, snapshots : int
        The version that decides, 0 for the rules; snapshots that were published.
    age_seconds : float or None
        Since the client took that version.
    sent, learned : int
        Events that were sent, and those that the newest snapshot has learned from.
    events_per_second : float
        Learned, lately.
    """

    ledger: Ledger
    seconds: float
    version: int
    snapshots: int
    age_seconds: float | None
    sent: int
    learned: int
    events_per_second: float


class Learned(NamedTuple):
    """What came of the run: events folded, records rejected, snapshots published, and how long it took."""

    events: int
    rejected: int
    snapshots: int
    seconds: float


class Session:
    """The loop of one demo.

    Parameters
    ----------
    services : Services
        Started.
    plan : Plan
    show : callable
        Called a few times a second.
    pace : Pace, optional
    """

    def __init__(self, services: Services, plan: Plan, show: Callable[[Facts], None], pace: Pace | None = None) -> None:
        self.facts: Facts
        self._services = services
        self._settings = services.settings
        self._plan = plan
        self._show = show
        self._pace = pace or Pace()
        self._head = Head()
        self._played = False
        self._in_use = 0  # events that the client's policy has learned from
        self._progress = deque([(time.monotonic(), 0)])

    async def run(self) -> Learned:
        """Play all turns, and let the workers finish.

        Raises
        ------
        DependencyError
            Something the loop needs has failed.
        """
        settings, started = self._settings, time.monotonic()
        store = Store.from_settings(settings.redis, settings.policy.name)
        reader = HeadReader.from_settings(settings.redis, settings.policy.name)
        client = PolicyClient(
            reader,
            settings.policy.name,
            rules=settings.rules,
            arms=settings.lineage.arms,
            signing_key=settings.snapshot.signing_key or None,
            poll_seconds=0.3,
        )
        try:
            async with Emitter(settings.kafka) as emitter, asyncio.TaskGroup() as tasks:
                assistant = self._assistant(client, emitter)
                tasks.create_task(self._watch(store, client, assistant, started))
                await self._play(assistant, emitter)
            await asyncio.to_thread(self._services.drain_workers)
            self._show(self.facts)
            return await self._learned(store, time.monotonic() - started)
        except* DependencyError as errors:
            raise _first(errors) from None
        finally:
            client.close()
            await store.close()

    def _assistant(self, client: PolicyClient, emitter: Emitter) -> Assistant:
        plan = self._plan
        world = World(plan.seed, drift_at_turn=plan.drift_at, turns_per_second=plan.turns_per_second)
        # Simulated time passes faster than ours: it begins early enough to end about now.
        start_ms = int((time.time() - plan.turns / plan.turns_per_second) * 1000)
        return Assistant(
            world, client.decide, emitter.emit, rules=self._settings.rules, start_ms=start_ms, ledger=Ledger(plan.turns)
        )

    async def _play(self, assistant: Assistant, emitter: Emitter) -> None:
        """Play all turns, no further ahead of what is learned than the pace allows."""
        ledger = assistant.ledger
        while (left := self._plan.turns - ledger.turns) > 0:
            room = self._pace.room(ledger.turns, self._in_use / _EVENTS_PER_TURN)
            for _ in range(min(room, left, _BURST_TURNS)):
                assistant.play()
            if room:
                await emitter.room()
            # Without room, what is learned next is some publications away.
            await asyncio.sleep(0.0 if room else 0.005)
        assistant.finish()
        await emitter.flush()
        if emitter.dropped:
            raise DependencyError(f"{emitter.dropped} events did not reach Kafka", code="kafka_unreachable")
        self._played = True

    async def _watch(self, store: Store, client: PolicyClient, assistant: Assistant, started: float) -> None:
        """Until all is learned, keep an eye on the head, the client and the workers, and show how things stand."""
        moved_at = shown_at = time.monotonic()
        while not self._played or sum(self._head.offsets.values()) < assistant.sent:
            head, now = await store.read_head(), time.monotonic()
            if head.offsets != self._head.offsets:
                moved_at = now
            self._head = head
            if client.version == head.live:
                self._in_use = sum(head.offsets.values())
            if now - shown_at >= _TICK_SECONDS:
                shown_at = now
                self._services.check()
                self.facts = self._stand(client, assistant, now - started)
                self._show(self.facts)
            if now - moved_at > STALLED_SECONDS:
                raise DependencyError(
                    f"nothing was learned for {STALLED_SECONDS:g} s",
                    code="worker_stalled",
                    hint=f"the worker's log is {self._services.log}",
                )
            await asyncio.sleep(_WATCH_SECONDS)
        self.facts = self._stand(client, assistant, time.monotonic() - started)

    def _stand(self, client: PolicyClient, assistant: Assistant, seconds: float) -> Facts:
        learned, progress = sum(self._head.offsets.values()), self._progress
        progress.append((time.monotonic(), learned))
        while progress[-1][0] - progress[0][0] > _RATE_SECONDS:
            progress.popleft()
        (since, before), (now, _) = progress[0], progress[-1]
        return Facts(
            ledger=assistant.ledger,
            seconds=seconds,
            version=client.version or 0,
            snapshots=self._head.seq,
            age_seconds=client.age_seconds,
            sent=assistant.sent,
            learned=learned,
            events_per_second=(learned - before) / (now - since) if now > since else 0.0,
        )

    async def _learned(self, store: Store, seconds: float) -> Learned:
        """What the checkpoints say in the end."""
        lineage, events, rejected = self._settings.policy.lineage, 0, 0
        for partition in await store.known_partitions(lineage):
            record = await store.load_shard(lineage, partition)
            if record is not None:
                counts = read_state(record).counts
                events, rejected = events + record.next, rejected + counts.get("rejected", 0)
        return Learned(events, rejected, (await store.read_head()).seq, seconds)


def _first(errors: BaseExceptionGroup[DependencyError]) -> DependencyError:
    """One error of a group: they have one cause."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, DependencyError)
    return error
