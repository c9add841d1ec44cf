"""`alice-rl canary`: what the gate is doing, and the story of a canary."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.invocation import Invocation, command
from worker.cli.output import console, print_json

if TYPE_CHECKING:
    from worker.replay.canary import Replayed

__all__ = ["app"]

app = typer.Typer(rich_markup_mode="rich", add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
@command
def canary(invocation: Invocation) -> None:
    """See what the gate is doing, and why.

    No policy reaches all users without evidence: a new one serves a share
    of the requests first, beside the live one, until it has shown that it is
    better, or worse. docs/evaluation.md explains the evidence.
    """


@app.command("status")
@command
def status(invocation: Invocation) -> None:
    """Show what the gate is doing now.

    The phase, the two versions, the share and since when; the requests of the
    trial, what users felt and what the policies differ by, the evidence beside
    what it takes; what comes next, and when it may. Without a canary: why
    there is none. All times but the pin's are the log's clock.

    For example:

      alice-rl canary status
      alice-rl canary status --json | jq .evidence
    """
    from worker.cli.canary_gate import seen
    from worker.cli.canary_reading import look

    settings = invocation.settings()
    gate = seen(settings.policy.name, asyncio.run(look(settings)), settings.canary)
    if invocation.as_json:
        print_json(gate)
    else:
        from worker.cli.canary_view import gate_view

        console().print(gate_view(gate))


@app.command("explain")
@command
def explain(
    invocation: Invocation,
    version: Annotated[
        int | None,
        typer.Argument(metavar="[VERSION]", min=1, help="The canary; the current or last one by default."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Draw effect, evidence and share over time: .png or .svg.",
            dir_okay=False,
        ),
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Fold the log again, and compare each verdict with the recorded one.")
    ] = False,
    sources: Annotated[
        list[Path] | None,
        typer.Option(
            "--source", metavar="FILE", help="With --replay: an archive that the lineage has learned.", exists=True
        ),
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option("--since", metavar="FILE", help="With --replay: a savepoint to begin with.", exists=True),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, max=256, help="With --replay: processes at work; one per core by default."),
    ] = None,
) -> None:
    """Tell the story of a canary, for somebody who knows no statistics.

    What was compared, how the requests were split and when, what users felt
    and what the policies differ by, how sure that is, whether outcomes are
    missing, why the gate did what it did, and what happens next.

    With --replay the log is folded again, from where the fold began or from a
    savepoint, and judged at the offsets of every recorded verdict. Exit code
    1 when a verdict comes out otherwise.

    For example:

      alice-rl canary explain
      alice-rl canary explain 42 --plot canary.png
      alice-rl canary explain 42 --replay --json
    """
    from worker.cli.canary_reading import read_story
    from worker.cli.picture import check_drawable

    if plot is not None:
        check_drawable(plot)
    settings = invocation.settings()
    record, story = asyncio.run(read_story(settings, version))
    if plot is not None:
        from worker.cli.canary_plot import save

        save(plot, record, settings.canary.rules, story.headline)
    replayed: list[Replayed] = []
    missing = 0
    if replay:
        from worker.cli.canary_replay import reach_again

        replayed, missing = reach_again(settings, record, sources or [], since, jobs or os.cpu_count() or 1)
    equal = not any(one.parts for one in replayed) if replayed else None
    if invocation.as_json:
        facts = {"headline": story.headline, "story": story.passages, "record": record, "plot": plot and str(plot)}
        print_json(facts | ({"equal": equal, "replayed": replayed, "not_replayed": missing} if replay else {}))
    else:
        from worker.cli.canary_view import replay_view, story_view

        console().print(story_view(story))
        if replay:
            console().print(replay_view(replayed, missing))
        if plot is not None:
            print(f"\nDrawn into {plot}.")
    if equal is False:
        raise typer.Exit(1)
