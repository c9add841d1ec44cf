"""`alice-rl status`: what is live and how far learning is, once or again and again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.invocation import Invocation, command
from worker.cli.output import console, print_json

if TYPE_CHECKING:
    from worker.cli.survey import Surveyor
    from worker.settings import Settings

__all__ = ["status"]


@command
def status(
    invocation: Invocation,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")] = False,
    interval: Annotated[
        float, typer.Option("--interval", min=0.2, max=3600.0, metavar="SECONDS", help="Pause between two looks.")
    ] = 2.0,
) -> None:
    """Show what is live and how far learning is.

    Everything is read from Redis and Kafka: it works beside a running worker
    and without one. Without Kafka the lag is unknown; without Redis there is
    nothing to show, and the exit code is 3.

    For example:

      alice-rl status
      alice-rl status --watch --interval 1
      alice-rl status --json | jq .lag_records
    """
    settings = invocation.settings()
    asyncio.run(_watch(settings, invocation.as_json, interval) if watch else _once(settings, invocation.as_json))


async def _once(settings: Settings, as_json: bool) -> None:
    from worker.cli.inspector import Inspector, inspecting
    from worker.cli.status_view import view
    from worker.cli.survey import Surveyor

    async with inspecting(settings, Inspector) as inspector:
        survey = await Surveyor(settings, inspector).look()
    if as_json:
        print_json(survey)
    else:
        console().print(view(survey))


async def _watch(settings: Settings, as_json: bool, interval: float) -> None:
    from worker.cli.inspector import Inspector, inspecting
    from worker.cli.survey import Surveyor

    async with inspecting(settings, Inspector) as inspector:
        surveyor = Surveyor(settings, inspector)
        await (_print_lines(surveyor, interval) if as_json else _show(surveyor, interval))


async def _print_lines(surveyor: Surveyor, interval: float) -> None:
    while True:
        print_json(await surveyor.look())
        await asyncio.sleep(interval)


async def _show(surveyor: Surveyor, interval: float) -> None:
    """Keep the picture up to date; Redis may go away and come back, once it was there."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from alice_rl.errors import DependencyError
    from worker.cli.status_view import view

    shown = view(await surveyor.look())
    with Live(shown, console=console(), auto_refresh=False, screen=console().is_terminal) as live:
        while True:
            await asyncio.sleep(interval)
            try:
                shown = view(await surveyor.look())
                live.update(shown, refresh=True)
            except DependencyError as error:
                live.update(Group(Text(error.message, style="bold red"), shown), refresh=True)
