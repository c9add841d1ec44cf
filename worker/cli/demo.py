"""`alice-rl demo`: the whole loop on one machine, to watch."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.invocation import Invocation, command
from worker.cli.output import console, print_json

if TYPE_CHECKING:
    from worker.demo.plan import Plan
    from worker.demo.services import Services

__all__ = ["demo"]


@command
def demo(
    invocation: Invocation,
    turns: Annotated[int, typer.Option(min=100, help="Turns that the simulated assistant plays.")] = 30_000,
    seed: Annotated[int, typer.Option(min=0, help="One seed is one world and one stream of turns.")] = 7,
    drift: Annotated[
        bool, typer.Option("--drift", help="Change the world halfway: what was right is wrong then.")
    ] = False,
    drift_at: Annotated[int | None, typer.Option(min=1, metavar="TURN", help="Change the world at this turn.")] = None,
    partitions: Annotated[int, typer.Option(min=1, max=64, help="Partitions of the demo's topic.")] = 6,
    workers: Annotated[int, typer.Option(min=1, max=8, help="Worker processes that share the partitions.")] = 1,
    kafka: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Use this Kafka instead of an embedded one.")
    ] = None,
    redis: Annotated[str | None, typer.Option(metavar="URL", help="Use this Redis instead of an embedded one.")] = None,
) -> None:
    """Watch Alice learn: broker, Redis, worker and a simulated assistant, all in one process tree, no Docker.

    The assistant asks the client for its decisions; its turns flow through Kafka; the worker learns from them and
    publishes policies; the client adopts each within the second, and the reward climbs past the rules.

    Every policy goes live at once here (canary.mode = "direct"). A worker
    of your own compares it with the live one first, on a share of the turns.

    On your own Kafka and Redis the demo keeps to a topic and a policy of its own and removes both in the end.

    For example:

      alice-rl demo

      alice-rl demo --drift

      alice-rl demo --turns 30000 --seed 7 --json

      alice-rl demo --kafka localhost:9092 --redis redis://localhost:6379/0
    """
    if drift_at is None and drift:
        drift_at = turns // 2
    if drift_at is not None and drift_at >= turns:
        raise typer.BadParameter(f"the world cannot change at turn {drift_at} of {turns}", param_hint="--drift-at")
    from alice_rl import log_output
    from worker.demo.plan import Plan, flags_of
    from worker.demo.services import Services

    log_output.configure(
        "auto", invocation.log_level or "error"
    )  # the view tells what happens; the worker has a log of its own
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # clean up as for Ctrl-C
    plan = Plan(turns, seed, drift_at)
    given = {key: value for key, value in invocation.flags.items() if value is not None}
    around = Services(
        flags_of(plan) | given,
        kafka=kafka,
        redis=redis,
        config=invocation.config_file,
        partitions=partitions,
        workers=workers,
    )
    try:
        with around as services:
            _run(services, plan, as_json=invocation.as_json)
    finally:
        if around.log.exists():
            console(stderr=True).print(f"The worker's log is kept in {around.log}", soft_wrap=True)


def _run(services: Services, plan: Plan, *, as_json: bool) -> None:
    """Play the plan, show it while it runs, and say what came of it."""
    from worker.demo.session import Session
    from worker.demo.summary import summary, summary_table
    from worker.demo.view import showing

    with showing(console(stderr=True), plan, services.kinds) as show:
        session = Session(services, plan, show)
        learned = asyncio.run(session.run())
    ledger = session.facts.ledger
    if as_json:
        print_json(summary(ledger, learned, plan))
    else:
        console().print(summary_table(ledger, learned, plan))
