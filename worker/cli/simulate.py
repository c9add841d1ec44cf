"""`alice-rl simulate`: the simulated assistant alone, to Kafka or to a file."""

from __future__ import annotations

import asyncio
import signal
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.invocation import Invocation, command
from worker.cli.output import console, print_json
from worker.cli.progress import progress

if TYPE_CHECKING:
    from worker.demo.simulation import Report

__all__ = ["simulate"]

_TO_KAFKA = "kafka"
_KAFKA_RATE, _FILE_TURNS = 50.0, 10_000


class _Policy(StrEnum):
    REDIS = "redis"
    RULES = "rules"
    UNIFORM = "uniform"


class _TurnEvents(StrEnum):
    SPLIT = "split"
    WHOLE = "whole"


@command
def simulate(
    invocation: Invocation,
    turns: Annotated[
        int | None,
        typer.Option(min=1, help=f"Turns to play; to Kafka without end by default, to a file {_FILE_TURNS:,}."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="One seed is one world and one stream of turns.")] = 7,
    drift: Annotated[int | None, typer.Option(min=1, metavar="TURN", help="Change the world at this turn.")] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.0, help=f"Turns per second, 0 for as fast as possible; to Kafka {_KAFKA_RATE:g}, to a file 0."
        ),
    ] = None,
    to: Annotated[
        str, typer.Option(metavar="kafka|FILE", help="Where events go: FILE.jsonl or FILE.jsonl.gz.")
    ] = _TO_KAFKA,
    policy: Annotated[
        _Policy | None,
        typer.Option(help="Who decides: the live policy in Redis (to Kafka), the rules, or chance (to a file)."),
    ] = None,
    turn_events: Annotated[
        _TurnEvents, typer.Option(help="Decision and outcome as two events, or as one whole turn.")
    ] = _TurnEvents.SPLIT,
) -> None:
    """Run the simulated assistant: its users' turns, decided by a policy, as
    telemetry.

    To a file the same seed writes the same bytes, unless the policy is the
    one in Redis. To Kafka, event time is the clock's: at a rate of R a
    simulated second takes as long as one of ours.

    For example:

      alice-rl simulate

      alice-rl simulate --turns 100000 --rate 0

      alice-rl simulate --turns 5000 --seed 3 --to log.jsonl.gz
    """
    from worker.demo.simulation import Simulation, run_to_file, run_to_kafka

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    is_kafka, settings = to == _TO_KAFKA, invocation.settings()
    if not is_kafka and not to.endswith((".jsonl", ".jsonl.gz")):
        raise typer.BadParameter(f"{to!r} is neither kafka nor a .jsonl or .jsonl.gz file", param_hint="--to")
    plan = Simulation(
        turns=turns if turns is not None or is_kafka else _FILE_TURNS,
        seed=seed,
        drift_at=drift,
        rate=rate if rate is not None else _KAFKA_RATE if is_kafka else 0.0,
        policy=(policy or (_Policy.REDIS if is_kafka else _Policy.UNIFORM)).value,
        turn_events=turn_events.value,
    )
    if plan.turns is None and not plan.rate:
        raise typer.BadParameter("as fast as possible and without end is not wanted: give --turns", param_hint="--rate")
    started = time.monotonic()
    with progress("turns", plan.turns) as show:
        report = (
            asyncio.run(run_to_kafka(settings, plan, show)) if is_kafka else run_to_file(settings, plan, Path(to), show)
        )
    _tell(report, to, time.monotonic() - started, as_json=invocation.as_json)
    if report.stopped and plan.turns is not None:
        raise typer.Abort


def _tell(report: Report, to: str, seconds: float, *, as_json: bool) -> None:
    """Say what was sent, and the score of all turns that are remembered."""
    from alice_rl.simulation.score import PLAYERS
    from worker.demo.summary import holdout_facts, holdout_words, players_table

    ledger, events = report.ledger, report.events
    score = ledger.score() if ledger.turns else None
    if as_json:
        players = {name: getattr(score, name)._asdict() for name in PLAYERS if score is not None}
        print_json(
            {
                "to": to,
                "turns": ledger.turns,
                "events": events,
                "dropped": report.dropped,
                "seconds": round(seconds, 2),
                **{name: {key: round(value, 4) for key, value in facts.items()} for name, facts in players.items()},
                **holdout_facts(score.holdout if score is not None else None),
            }
        )
        return
    out = console()
    if score is not None:
        out.print(players_table(score, "served", f"The last {score.turns:,} of {ledger.turns:,} turns"))
        if score.holdout is not None:
            out.print(f"  {holdout_words(score.holdout)}")
    out.print(f"  {events:,} events to {to} in {seconds:.1f} s, {report.dropped} dropped.")
