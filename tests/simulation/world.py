"""A world: producers, workers and their supervisor, on brokers and a Redis that fail; and whether it ended well."""

from __future__ import annotations

import asyncio
import gc
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

from alice_rl import events, intake
from alice_rl.episodes import JoinSettings, MissingOutcome
from alice_rl.errors import AliceError, DependencyError
from alice_rl.feature_spec import FeatureSettings
from alice_rl.kafka import KafkaSettings
from alice_rl.log import Logger
from alice_rl.slots import ToolSettings
from alice_rl.snapshot import readiness
from alice_rl.snapshot.store import Retention, Store
from tests.logs import START_MS, TOOLS
from tests.simulation.checks import POLICY, Checks
from tests.simulation.client import Client
from tests.simulation.clock import PROCESS, Process, StuckError, VirtualLoop
from tests.simulation.faults import Faults
from tests.simulation.kafka import Broker
from tests.simulation.plan import Plan
from tests.simulation.telemetry import DEADLY, Append, telemetry
from tests.simulation.trace import Trace, TracingLogger
from tests.simulation.wire import Server, Wire
from worker import assignment, consumer, service
from worker.service import Worker
from worker.settings import DecaySettings, Settings, WorkerSettings

__all__ = ["SETTINGS", "Outcome", "run_world"]

# Windows of seconds and few names, so that a short log is full of what is rare in a long one.
SETTINGS = Settings(
    kafka=KafkaSettings(dead_letter_topic="", topic="telemetry"),
    features=FeatureSettings(feature_dim=8),
    tool=ToolSettings(arms=TOOLS),
    join=JoinSettings(horizon_seconds=10, records_max=64, missing_outcome=MissingOutcome(latency_ms=500.0)),
    decay=DecaySettings(bucket_seconds=20),
    worker=WorkerSettings(
        checkpoint_interval_seconds=0.3,
        publish_interval_seconds=0.7,
        episodes_min=1,
        drain_timeout_seconds=0.8,
        lease_seconds=6.0,
        stall_seconds=3.0,
        intents_max=2,
    ),
)
_SETTLE_SECONDS = 180.0  # virtual; after the last fault
_END_SECONDS = 60.0
# What must never be refused to a worker in these worlds: their logs lose nothing, and nobody tampers with Redis.
_NEVER = frozenset({"checkpoint_corrupt", "checkpoint_lost", "lineage_refused", "log_recreated", "log_truncated"})


class Killed(BaseException):
    """The process has died of what it read."""


class Outcome(NamedTuple):
    """How a world ended.

    Attributes
    ----------
    violations : list of str
        Nothing when all was well.
    seconds : float
        How long it lasted, in its own time.
    trace_digest : str
    events : Counter
        What happened, by name.
    last : list of str
        The end of its trace.
    """

    plan: Plan
    violations: list[str]
    seconds: float
    trace_digest: str
    events: Counter[str]
    last: list[str]

    def __str__(self) -> str:
        lines = "\n".join(self.last[-40:])
        faults = ", ".join(sorted(self.plan.faults)) or "none"
        return (
            f"{lines}\n\nworld {self.plan.seed} (faults: {faults}):\n  " + "\n  ".join(self.violations[:10]) + "\n"
            f"to see it again: python -m tests.simulation --seed {self.plan.seed} --trace"
        )


def run_world(seed: int, *, faults: frozenset[str] | None = None, printed: bool = False) -> Outcome:
    """Run the world of a seed to its end; with other faults than its own, when they are given."""
    loop = VirtualLoop()
    plan, trace = Plan.of(seed), Trace(loop, printed=printed)
    plan = plan if faults is None else plan._replace(faults=faults)
    world = _World(loop, plan, trace)
    try:
        with _replaced(loop, plan, trace, world.broker):
            loop.run_until_complete(world.run())
    except StuckError:
        world.checks.violations.append("the world stood still")
    finally:
        world.bury(loop)
    world.checks.violations += loop.complaints
    return Outcome(plan, world.checks.violations, loop.time(), trace.digest, trace.counts, list(trace.last))


@contextmanager
def _replaced(loop: VirtualLoop, plan: Plan, trace: Trace, broker: Broker) -> Iterator[None]:
    """Everything that a process gets from outside comes from the world."""
    chance, logger = plan.rng("uuid"), TracingLogger(trace)
    decode = events.decode

    def decode_or_die(value: bytes | None, by: Any) -> Any:
        process = PROCESS.get()
        if value == DEADLY and process is not None:
            process.dead = True
            raise Killed
        return decode(value, by)

    def name() -> str:
        process = PROCESS.get()
        assert process is not None
        return process.name

    with ExitStack() as stack:
        for owner, attribute, replacement in (
            (time, "time", lambda: START_MS / 1000 + loop.time()),
            (uuid, "uuid4", lambda: uuid.UUID(int=chance.getrandbits(128), version=4)),
            (gc, "freeze", lambda: None),
            (readiness, "random", plan.rng("jitter")),
            (assignment, "random", plan.rng("fenced")),
            (Logger, "_current", lambda _self: logger),
            (consumer, "AIOKafkaConsumer", partial(Client, broker)),
            (service, "instance_name", name),
            (intake, "decode", decode_or_die),
        ):
            stack.enter_context(mock.patch.object(owner, attribute, replacement))
        yield


class _World:
    """The parts of a world, and its life."""

    def __init__(self, loop: VirtualLoop, plan: Plan, trace: Trace) -> None:
        self.plan = plan
        self.broker = Broker(loop, plan, trace)
        self.server = Server(loop, plan, trace)
        self.checks = Checks(SETTINGS.lineage, self.broker, self.server)
        self.server.heard = self.checks.heard
        self._loop = loop
        self._trace = trace
        self._rng = plan.rng("world")
        self._calm = self._over = False
        self._alive: dict[Process, Worker] = {}
        self._told: set[Process] = set()
        self._producers: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Live until the end, or until something is found that must not be."""
        life, broken = asyncio.create_task(self._live_on()), asyncio.create_task(self.checks.broken.wait())
        await asyncio.wait((life, broken), return_when=asyncio.FIRST_COMPLETED)
        if life.done():
            life.result()

    async def _live_on(self) -> None:
        faults = Faults(self.plan, self._trace, self.broker, self.server, self.checks, self)
        watching = asyncio.create_task(self.broker.watch())
        for partition in range(self.plan.partitions):
            self._produce(partition, self.plan.chaos_seconds * 0.9)
        supervisors = [asyncio.create_task(self._supervise(slot)) for slot in range(self.plan.workers)]
        await faults.run()
        self._calm = True
        await asyncio.gather(*self._producers)
        await self._settle()
        self._over = True
        for process in self.running():
            self.terminate(process)
        _, running = await asyncio.wait(supervisors, timeout=_END_SECONDS)
        if running:
            self.checks.complain(f"{len(running)} workers have not ended {_END_SECONDS:.0f} s after SIGTERM")
        watching.cancel()
        for task in supervisors:
            if task.done():
                task.result()
        self.checks.at_the_end()

    async def _settle(self) -> None:
        until = self._loop.time() + _SETTLE_SECONDS
        while left := self.checks.unsettled():
            if self._loop.time() > until:
                self.checks.complain(f"after {_SETTLE_SECONDS:.0f} s of calm: {'; '.join(left)}")
                return
            await asyncio.sleep(0.5)

    def running(self) -> list[Process]:
        return [process for process in self._alive if not process.dead]

    def terminate(self, process: Process) -> None:
        self._told.add(process)
        process.tell(self._alive[process].stop)

    def partition_added(self, partition: int) -> None:
        self._produce(partition, max(0.5, self.plan.chaos_seconds * 0.9 - self._loop.time()))

    def _produce(self, partition: int, seconds: float) -> None:
        deadly = "deadly_record" in self.plan.faults and partition == 0
        log = telemetry(self.plan.rng(f"log {partition}"), partition, self.plan.events, seconds, deadly=deadly)
        self._producers.append(self._loop.create_task(self._write(partition, log)))

    async def _write(self, partition: int, log: list[Append]) -> None:
        began = self._loop.time()
        for record in log:
            await asyncio.sleep(max(0.0, began + record.at - self._loop.time()))
            self.broker.append(partition, record)
        if self._rng.random() < 0.3:
            self.broker.pass_by(partition, 1)

    async def _supervise(self, slot: int) -> None:
        """Start a worker, and another one after it, again and again."""
        await asyncio.sleep(self._rng.choice((0.0, self._rng.uniform(0.0, 5.0))))
        life = 0
        while not self._over:
            life += 1
            process = Process(f"w{slot}.{life}", self._loop)
            task = process.spawn(self._live(process))
            await asyncio.wait((task,))
            self._judge(process, task)
            process.kill()  # what it has left behind goes with it
            self._alive.pop(process, None)
            await asyncio.sleep(self._rng.uniform(0.1, 1.0 if self._calm else 4.0))

    async def _live(self, process: Process) -> None:
        store = Store(Wire(self.server), POLICY, retention=Retention(versions_max=5))  # type: ignore[arg-type]
        worker = Worker(SETTINGS, store=store)
        self._alive[process] = worker
        await worker.run()

    def _judge(self, process: Process, task: asyncio.Task[None]) -> None:
        """What a worker may end of: SIGTERM, a kill, and a dependency that stays away for long."""
        if process.dead or task.cancelled():
            self._trace.note("sim.died", process=process.name)
            return
        error = task.exception()
        self._trace.note("sim.ended", process=process.name, error=repr(error))
        if isinstance(error, TimeoutError) and process in self._told:
            return  # as documented: it drains within a time, or not at all
        if error is None or (isinstance(error, DependencyError) and error.code not in _NEVER):
            return
        where = error if isinstance(error, AliceError) else repr(error)
        self.checks.complain(f"worker {process.name} failed: {where}")

    def bury(self, loop: VirtualLoop) -> None:
        """Let nothing of the world be left."""
        for process in list(self._alive):
            process.kill()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=60.0))
        loop.close()
