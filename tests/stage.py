"""A stage for canaries: an orchestrator with a real client and a real log, and users whose luck a test decides."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from alice_rl.events import Decision, Outcome
from alice_rl.snapshot import PolicyClient
from alice_rl.telemetry import Emitter, outcome_of
from tests.logs import START_MS
from tests.streams import eventually
from worker.service import Worker

__all__ = ["Stage", "Users"]

STEP_MS = 50
_IN_FLIGHT_MAX = 1500  # turns that the worker may be behind: no more than a busy orchestrator's second

Users = Callable[[Decision, random.Random], dict[str, object] | None]
"""What becomes of a turn: the fields of its outcome; None when the outcome is lost."""


class Stage:
    """Plays turns, twenty a second of event time, as quickly as the worker follows.

    Parameters
    ----------
    client : PolicyClient
    emitter : Emitter
    worker : Worker
        Who learns from it; the stage waits for it.
    users : Users
        May be changed on the way: a service fails, a stream begins to lose events.
    seed : int
        The users' luck.

    Attributes
    ----------
    turns : int
        Played so far.
    served : Counter
        Turns by stage of the policy that served them.
    """

    def __init__(self, client: PolicyClient, emitter: Emitter, worker: Worker, users: Users, seed: int = 1) -> None:
        self.users = users
        self.turns = 0
        self.served: Counter[str] = Counter()
        self._client = client
        self._emitter = emitter
        self._worker = worker
        self._luck = random.Random(seed)
        self._events = 0

    async def play(self, turns: int) -> None:
        """Play so many turns."""
        for _ in range(turns):
            self._play()
            if self.turns % 50 == 0:
                await self._follow()

    async def play_until(self, condition: Callable[[], object], turns_max: int = 60_000) -> None:
        """Play until something holds.

        Raises
        ------
        TimeoutError
            It does not after so many turns.
        """
        until = self.turns + turns_max
        while not condition():
            if self.turns >= until:
                raise TimeoutError(f"not within {turns_max} turns")
            await self.play(50)

    def _play(self) -> None:
        ts_ms = START_MS + self.turns * STEP_MS
        decision = self._client.decide({"intent": "weather", "text_len": 20}, ["weather.lookup", "search"], ts_ms=ts_ms)
        self.turns += 1
        self.served[decision.policy.stage] += 1
        self._send(decision)
        if (fields := self.users(decision, self._luck)) is not None:
            self._send(outcome_of(decision, ts_ms=ts_ms + 40, **fields))  # type: ignore[arg-type]

    def _send(self, event: Decision | Outcome) -> None:
        self._emitter.emit(event)
        self._events += 1

    async def _follow(self) -> None:
        """Wait until the worker is not far behind; a worker that has died is not waited for without end."""
        await eventually(lambda: self._events - self._worker.counts["records"] <= _IN_FLIGHT_MAX)
        await asyncio.sleep(0)
