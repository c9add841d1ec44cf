"""The assistant alone: its telemetry to somebody's Kafka, or to a file."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from alice_rl.errors import ConfigError
from alice_rl.events import Event, encode
from alice_rl.simulation.assistant import WORLD_RULES, Assistant, Decide, TurnEvents, decide_uniformly, seeded_ids
from alice_rl.simulation.score import Ledger
from alice_rl.simulation.world import ROUTES, TIERS, TOOLS, World
from alice_rl.snapshot.client import PolicyClient
from alice_rl.snapshot.reader import HeadReader
from alice_rl.snapshot.uuid7 import uuid7
from alice_rl.telemetry import Emitter
from worker.settings import Settings

__all__ = ["Report", "Simulation", "run_to_file", "run_to_kafka"]

Show = Callable[[int], object]

_TURNS_PER_SECOND = 20.0  # of simulated time, where it does not keep step with ours
_BURST_TURNS = 20
_PAUSE_SECONDS = 0.02
_POLICY_WAIT_SECONDS = 3.0


class Simulation(NamedTuple):
    """What is simulated.

    Attributes
    ----------
    turns : int or None
        None: until told to end.
    seed : int
    drift_at : int or None
    rate : float
        Turns per second of ours, 0 for as fast as possible.
    policy : str
        Who decides: "redis", "rules" or "uniform".
    turn_events : {"split", "whole"}
    """

    turns: int | None
    seed: int = 7
    drift_at: int | None = None
    rate: float = 0.0
    policy: str = "uniform"
    turn_events: TurnEvents = "split"


class Report(NamedTuple):
    """What was simulated: the score, events sent, events that did not arrive, and whether it was told to end."""

    ledger: Ledger
    events: int
    dropped: int = 0
    stopped: bool = False


def run_to_file(settings: Settings, plan: Simulation, path: Path, show: Show) -> Report:
    """Write the events of all turns to a JSONL file, compressed when its name ends in `.gz`.

    Raises
    ------
    ConfigError
        The file cannot be written.
    """
    assert plan.turns is not None
    world = World(plan.seed, drift_at_turn=plan.drift_at, turns_per_second=_TURNS_PER_SECOND)
    with _writing(path) as file, _deciding(settings, plan) as decide:

        def write(event: Event) -> None:
            file.write(encode(event) + b"\n")

        assistant = Assistant(world, decide, write, turn_events=plan.turn_events, new_id=seeded_ids(plan.seed))
        begun = time.monotonic()
        while assistant.ledger.turns < plan.turns:
            if plan.rate:
                time.sleep(max(0.0, begun + assistant.ledger.turns / plan.rate - time.monotonic()))
            assistant.play()
            show(assistant.ledger.turns)
        assistant.finish()
    return Report(assistant.ledger, assistant.sent)


async def run_to_kafka(settings: Settings, plan: Simulation, show: Show) -> Report:
    """Send the events of all turns to Kafka; SIGINT and SIGTERM end it in order.

    Raises
    ------
    ConfigError
        The configured arms are not those of the simulated world.
    DependencyError
        No broker answers.

    Notes
    -----
    At a rate, event time keeps step with the clock. As fast as possible it cannot; then it begins early enough to end
    about now, because a log that is ahead of the clock would make what follows it look late.
    """
    _check_arms(settings)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    per_second = plan.rate or _TURNS_PER_SECOND
    early_seconds = 0.0 if plan.rate else (plan.turns or 0) / per_second
    world = World(plan.seed, drift_at_turn=plan.drift_at, turns_per_second=per_second)
    async with Emitter(settings.kafka) as emitter:
        with _deciding(settings, plan) as decide:
            assistant = Assistant(
                world,
                decide,
                emitter.emit,
                start_ms=int((time.time() - early_seconds) * 1000),
                turn_events=plan.turn_events,
                new_id=lambda _turn, ts_ms: uuid7(ts_ms),
            )
            begun = time.monotonic()
            while not stop.is_set() and (plan.turns is None or assistant.ledger.turns < plan.turns):
                due = int((time.monotonic() - begun) * plan.rate) + 1 if plan.rate else plan.turns or 0
                ahead = min(due, plan.turns or due) - assistant.ledger.turns
                for _ in range(min(ahead, _BURST_TURNS)):
                    assistant.play()
                show(assistant.ledger.turns)
                await emitter.room()
                await asyncio.sleep(0.0 if ahead > _BURST_TURNS else _PAUSE_SECONDS)
            assistant.finish()
            await emitter.flush()
    return Report(assistant.ledger, emitter.sent, emitter.dropped, stop.is_set())


@contextlib.contextmanager
def _deciding(settings: Settings, plan: Simulation) -> Iterator[Decide]:
    """Who decides, as long as the context is open."""
    if plan.policy == "uniform":
        yield decide_uniformly
        return
    reader = HeadReader.from_settings(settings.redis, settings.policy.name) if plan.policy == "redis" else None
    key = settings.snapshot.signing_key or None
    with PolicyClient(
        reader, settings.policy.name, rules=WORLD_RULES, arms=settings.lineage.arms, signing_key=key
    ) as client:
        if reader is not None:
            client.wait_ready(_POLICY_WAIT_SECONDS)
        yield client.decide


def _check_arms(settings: Settings) -> None:
    """Make sure that what the assistant sends can be learned, and what the policy says can be played."""
    world = {"route": ROUTES, "tool": TOOLS, "cache": TIERS}
    for slot, arms in world.items():
        configured = set(getattr(settings.lineage.arms, slot))
        if not configured >= set(arms) or (slot != "tool" and configured > set(arms)):
            raise ConfigError(
                f"{slot}.arms are {', '.join(sorted(configured))}, but the simulated world has {', '.join(arms)}",
                hint="simulate with the arms of the shipped config.toml, under a policy and a topic of their own",
            )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name when it is complete."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with contextlib.ExitStack() as open_files:
            file: BinaryIO = open_files.enter_context(partial.open("wb"))
            if path.suffix == ".gz":
                # Neither name nor time in the header, so that the same events give the same bytes.
                packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
                file = cast(BinaryIO, open_files.enter_context(packed))
            yield file
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", hint="give another file with --to") from error
    finally:
        partial.unlink(missing_ok=True)
