"""`alice-rl policy`: the versions that Redis holds, and policies as files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.invocation import Invocation, command
from worker.cli.output import console, print_json, size_words
from worker.cli.policy_arguments import FileArgument, VersionArgument
from worker.cli.policy_diff import diff
from worker.cli.policy_history import history
from worker.cli.policy_stage import pin, promote, rollback, unpin

__all__ = ["app"]

app = typer.Typer(rich_markup_mode="rich", add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
@command
def policy(invocation: Invocation) -> None:
    """See, compare, move, export and import policies.

    A policy is a safetensors file: it holds numbers and a description, and
    nothing in it is executed. With snapshot.signing_key set, only what was
    signed with that key is accepted.
    """


@app.command("list")
@command
def list_versions(invocation: Invocation) -> None:
    """List the versions that Redis holds, the newest first.

    For example:

      alice-rl policy list
      alice-rl policy list --json | jq '.versions[].digest'
    """
    from worker.cli.policy_versions import versions
    from worker.cli.policy_view import list_view

    listing = asyncio.run(versions(invocation.settings()))
    if invocation.as_json:
        print_json(listing)
    else:
        console().print(list_view(listing))


@app.command("show")
@command
def show(
    invocation: Invocation,
    version: VersionArgument = "live",
    intents_max: Annotated[
        int, typer.Option("--intents", min=0, metavar="N", help="Intents shown, the most frequent first.")
    ] = 20,
) -> None:
    """Show what a version is, and what it would choose.

    For each intent: the likeliest route, tool and cache tier and its
    probability, for a context that says nothing but the intent.

    For example:

      alice-rl policy show
      alice-rl policy show 12 --intents 5
      alice-rl policy show previous --json
    """
    from worker.cli.policy_card import Card
    from worker.cli.policy_versions import read_version
    from worker.cli.policy_view import card_view

    settings = invocation.settings()
    blob = asyncio.run(read_version(settings, version))
    card = Card.of(blob, settings)
    if invocation.as_json:
        print_json(card)
    else:
        console().print(card_view(card, intents_max))


@app.command("export")
@command
def export(
    invocation: Invocation,
    version: VersionArgument,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to write; replaced when it exists.", dir_okay=False)
    ],
) -> None:
    """Write a version to a file, byte for byte.

    The file appears under its name when it is complete, never half.

    For example:

      alice-rl policy export live policy.safetensors
      alice-rl policy export 12 backup/policy-12.safetensors
    """
    from alice_rl.snapshot.format import digest
    from worker.cli.policy_versions import read_version, write_file

    blob = asyncio.run(read_version(invocation.settings(), version))
    write_file(file, blob)
    if invocation.as_json:
        print_json({"file": str(file), "size_bytes": len(blob), "digest": digest(blob)})
    else:
        print(f"{file}: {size_words(len(blob))}, digest {digest(blob)}")


@app.command("validate")
@command
def validate(invocation: Invocation, file: FileArgument) -> None:
    """Check a file, and say what it is. Needs neither Kafka nor Redis.

    Exit code 1 when it is damaged, of a newer format, or not signed as
    configured. Whether it also fits the configured lineage is said, too.

    For example:

      alice-rl policy validate policy.safetensors
    """
    from worker.cli.policy_card import Card
    from worker.cli.policy_versions import read_file
    from worker.cli.policy_view import card_view

    settings = invocation.settings()
    card = Card.of(read_file(file), settings)
    if invocation.as_json:
        print_json({"valid": True, **card.facts()})
    else:
        console().print(card_view(card, 0))


@app.command("import")
@command
def import_file(
    invocation: Invocation,
    file: FileArgument,
    live: Annotated[
        bool, typer.Option("--live", help="Make it live at once, unless another version is pinned.")
    ] = False,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Reason, for the audit.")] = "",
) -> None:
    """Store a file as a new version.

    It must belong to the configured lineage: same features, same arms. It
    keeps everything but its version number. Without --live it is stored as a
    candidate, which serves nobody yet. A running worker publishes its own next
    version over a live import.

    For example:

      alice-rl policy import policy.safetensors
      alice-rl policy import policy.safetensors --live --why "back to Tuesday"
    """
    from worker.cli.policy_import import import_policy
    from worker.cli.policy_versions import read_file

    imported = asyncio.run(import_policy(invocation.settings(), read_file(file), file.name, live=live, why=why))
    if invocation.as_json:
        print_json(imported)
    else:
        print(f"version {imported.version}, digest {imported.digest}: {imported.words}")


for _command in (promote, rollback, pin, unpin, history, diff):
    app.command(_command.__name__)(_command)
