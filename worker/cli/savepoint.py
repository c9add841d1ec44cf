"""`alice-rl savepoint`: a whole lineage as a file, and back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.invocation import Invocation, command
from worker.cli.output import console, print_json

__all__ = ["app"]

app = typer.Typer(rich_markup_mode="rich", add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A savepoint.", exists=True, dir_okay=False, readable=True)
]


@app.callback()
@command
def savepoint(invocation: Invocation) -> None:
    """Keep a whole lineage as a file, and bring it back.

    A savepoint is a zip that any tool opens: what every partition has taught,
    with the offsets it is the sum of, and the policies that were kept. From
    there a worker goes on with the log as if nothing had happened. With
    snapshot.signing_key set, savepoints are signed, and refused without.
    """


@app.command("create")
@command
def create(
    invocation: Invocation,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to write; replaced when it exists.", dir_okay=False)
    ],
    lineage: Annotated[
        str | None, typer.Option("--lineage", metavar="NAME", help="Another lineage than policy.lineage.")
    ] = None,
    history: Annotated[
        int, typer.Option("--history", min=0, max=100_000, metavar="N", help="Newest entries of the audit to keep.")
    ] = 1000,
) -> None:
    """Write a lineage to a file.

    Workers may run meanwhile: the file holds each partition as one of its
    checkpoints left it. It appears under its name when it is complete, never
    half.

    For example:

      alice-rl savepoint create alice.savepoint
      alice-rl savepoint create backup/replay.savepoint --lineage replay
    """
    from worker.cli.savepoint_files import create_savepoint
    from worker.cli.savepoint_view import view

    facts = asyncio.run(create_savepoint(invocation.settings(), file, lineage, history))
    if invocation.as_json:
        print_json(facts)
    else:
        console().print(view(facts))


@app.command("show")
@command
def show(invocation: Invocation, file: FileArgument) -> None:
    """Check a file, and say what is in it. Needs neither Kafka nor Redis.

    Every byte is checked. Exit code 1 when the file is damaged, of a newer
    format, or not signed as configured.

    For example:

      alice-rl savepoint show alice.savepoint
    """
    from worker.cli.savepoint_files import read_savepoint
    from worker.cli.savepoint_view import view

    _, facts = read_savepoint(invocation.settings(), file)
    if invocation.as_json:
        print_json(facts)
    else:
        console().print(view(facts))


@app.command("restore")
@command
def restore(
    invocation: Invocation,
    file: FileArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what lives there; workers that run are fenced and reload.")
    ] = False,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Reason, for the audit.")] = "",
) -> None:
    """Put a lineage back as a file holds it, all of it in one step.

    Every byte is checked before Redis is touched. Where the lineage, or a
    policy that serves, is there already, nothing is done without --force.
    Workers then go on with the log from the offsets of the file, so the topic
    must still hold what came after them.

    For example:

      alice-rl savepoint restore alice.savepoint
      alice-rl savepoint restore alice.savepoint --force --why "back to Tuesday"
    """
    from worker.cli.savepoint_files import restore_savepoint
    from worker.cli.savepoint_view import restored_view

    restored = asyncio.run(restore_savepoint(invocation.settings(), file, force=force, why=why))
    if invocation.as_json:
        print_json(restored.facts())
    else:
        console().print(restored_view(restored))
