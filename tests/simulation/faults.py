"""Brings on the faults of a plan, one after another, and takes all of them back at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Protocol

from tests.simulation.checks import Checks
from tests.simulation.clock import Process
from tests.simulation.kafka import Broker
from tests.simulation.plan import Plan
from tests.simulation.trace import Trace
from tests.simulation.wire import Server

__all__ = ["Faults", "Workers"]

_WIRE = ("request_lost", "answer_lost", "late")


class Workers(Protocol):
    """What the faults need to know of the workers."""

    def running(self) -> list[Process]:
        """The processes that live."""

    def terminate(self, process: Process) -> None:
        """Send it SIGTERM."""

    def partition_added(self, partition: int) -> None:
        """Producers write to one more partition from now on."""


class Faults:
    """The faults of one world."""

    def __init__(
        self, plan: Plan, trace: Trace, broker: Broker, server: Server, checks: Checks, workers: Workers
    ) -> None:
        self._plan = plan
        self._rng: Random = plan.rng("faults")
        self._trace = trace
        self._broker = broker
        self._server = server
        self._checks = checks
        self._workers = workers
        self._pending: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Bring on faults for as long as the plan says; afterwards nothing fails any more."""
        loop = asyncio.get_running_loop()
        self._server.fates = {fate: self._plan.fate for fate in _WIRE if fate in self._plan.faults}
        known: dict[str, Callable[[], object]] = {
            name: getattr(self, f"_{name}") for name in sorted(self._plan.faults) if hasattr(self, f"_{name}")
        }
        while known and loop.time() < self._plan.chaos_seconds:
            await asyncio.sleep(self._rng.expovariate(1 / self._plan.pause_seconds))
            name = self._rng.choice(list(known))
            self._trace.note("sim.fault", kind=name)
            known[name]()
        await asyncio.sleep(max(0.0, self._plan.chaos_seconds - loop.time()))
        for task in self._pending:
            task.cancel()
        self._server.fates = {}
        self._server.away = self._server.read_only = self._server.out_of_memory = False
        self._broker.away, self._broker.errors = False, set()
        for process in self._workers.running():
            process.go_on()
        self._trace.note("sim.calm")

    def _for_a_while(self, begin: Callable[[], object], end: Callable[[], object], seconds_max: float) -> None:
        async def pass_by() -> None:
            begin()
            await asyncio.sleep(self._rng.uniform(0.05, seconds_max))
            end()

        task = asyncio.get_running_loop().create_task(pass_by())
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    def _flag(self, owner: object, name: str, seconds_max: float) -> None:
        self._for_a_while(lambda: setattr(owner, name, True), lambda: setattr(owner, name, False), seconds_max)

    def _out_of_memory(self) -> None:
        self._flag(self._server, "out_of_memory", 5.0)

    def _read_only(self) -> None:
        self._flag(self._server, "read_only", 3.0)

    def _redis_down(self) -> None:
        self._flag(self._server, "away", 4.0)

    def _scripts_flushed(self) -> None:
        self._server.flush_scripts()

    def _regression(self) -> None:
        if not self._server.direct.keys("*:config"):
            return  # nothing was acknowledged yet
        state = self._server.copied()

        def fail_over() -> None:
            self._server.go_back(state)
            self._checks.redis_went_back()
            self._trace.note("sim.failed_over")

        self._for_a_while(lambda: None, fail_over, 4.0)

    def _kafka_down(self) -> None:
        self._flag(self._broker, "away", 5.0)

    def _fetch_error(self) -> None:
        self._error("fetch_error")

    def _ends_error(self) -> None:
        self._error("ends_error")

    def _commit_error(self) -> None:
        self._error("commit_error")

    def _error(self, name: str) -> None:
        errors = self._broker.errors
        self._for_a_while(lambda: errors.add(name), lambda: errors.discard(name), 3.0)

    def _consumer_stuck(self) -> None:
        if self._broker.members:
            self._rng.choice(self._broker.members).stuck = True

    def _rebalance(self) -> None:
        self._broker.rebalance()

    def _kill(self) -> None:
        if process := self._somebody():
            process.kill()

    def _terminate(self) -> None:
        if process := self._somebody():
            self._workers.terminate(process)

    def _pause(self) -> None:
        if process := self._somebody():
            self._for_a_while(process.stop, process.go_on, 6.0)

    def _partition_added(self) -> None:
        if len(self._broker.logs) < self._plan.partitions + 2:
            self._workers.partition_added(self._broker.add_partition())

    def _somebody(self) -> Process | None:
        running = [process for process in self._workers.running() if not process.stopped]
        return self._rng.choice(running) if running else None
