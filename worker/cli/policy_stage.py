"""`alice-rl policy promote | rollback | pin | unpin`: what serves, moved by hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.invocation import Invocation, command
from worker.cli.output import console, print_json
from worker.cli.policy_arguments import ReasonOption, StageOption, VersionOrNone, version_or_name

if TYPE_CHECKING:
    from worker.cli.policy_moves import Move

__all__ = ["pin", "promote", "rollback", "unpin"]

_SHARE = 0.05
_TIMEOUT_SECONDS = 300.0


def _share(value: float | None) -> float | None:
    if value is not None and not 0.0 <= value < 1.0:
        raise typer.BadParameter("a canary serves at least 0 (a shadow) and less than 1; --stage prod is for everyone")
    return value


@command
def promote(
    invocation: Invocation,
    version: VersionOrNone = None,
    stage: StageOption = None,
    share: Annotated[
        float | None,
        typer.Option(
            "--share",
            metavar="SHARE",
            help=f"Of the requests, for a canary; {_SHARE:g} by default, 0 is a shadow.",
            callback=_share,
        ),
    ] = None,
    pinned: Annotated[bool, typer.Option("--pin", help="Keep it live until alice-rl policy unpin.")] = False,
    unpinned: Annotated[bool, typer.Option("--unpin", help="Lift the pin, where a version is pinned.")] = False,
    reason: ReasonOption = None,
    lineage: Annotated[
        str | None, typer.Option("--lineage", metavar="NAME", help="A lineage that takes the place of the live one.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0.0, metavar="SECONDS", help="With --lineage: how long to try to be level; 300."),
    ] = None,
) -> None:
    """Make a version live, or the canary; or make another lineage live.

    --stage prod makes the canary live for everyone, or the VERSION that is
    given; what was live is remembered as previous. --stage canary lets a
    VERSION serve a share of the requests, or changes the share of the canary
    that is there; where there is none, the newest version is taken. A worker
    in gate mode goes on from what it finds.

    --lineage takes a lineage that was learned by alice-rl replay. It is first
    brought level: what came into the log since the replay is folded, until it
    knows all that the live policy knows. Then one step in Redis makes it the
    active lineage together with its first policy, so clients see the old one
    or the new one and nothing between. Give the same configuration as to the
    replay. Workers with the same features and arms go over by themselves;
    others must be restarted with the new configuration, and publish nothing
    until then.

    For example:

      alice-rl policy promote 42 --stage canary --share 0.1 --reason "try it"

      alice-rl policy promote --stage prod --reason "good enough for us"

      alice-rl policy promote --lineage may --reason "longer memory"
    """
    if pinned and unpinned:
        raise typer.BadParameter("--pin and --unpin exclude each other")
    if lineage is not None:
        _check_lineage_alone(VERSION=version, stage=stage, share=share, pin=pinned or None)
        _promote_lineage(invocation, lineage, reason or "", _TIMEOUT_SECONDS if timeout is None else timeout, unpinned)
        return
    if stage is None:
        raise typer.BadParameter(
            "say where to: --stage canary, for a share of the requests, or --stage prod, for everyone; "
            "or give a whole lineage with --lineage NAME"
        )
    if reason is None:
        raise typer.BadParameter("say why, for the audit: --reason TEXT")
    if timeout is not None:
        raise typer.BadParameter("--timeout is for --lineage alone")
    if stage == "prod" and share is not None:
        raise typer.BadParameter("--share is for --stage canary; --stage prod is for everyone")
    if stage == "canary" and (pinned or unpinned):
        raise typer.BadParameter("a pin keeps what is live: --pin and --unpin are for --stage prod")
    from alice_rl.snapshot.records import Pin, Stage
    from worker.cli.policy_moves import promote_version

    wished = Pin.PIN if pinned else Pin.UNPIN if unpinned else Pin.KEEP
    portion = 0.0 if stage == "prod" else _SHARE if share is None else share
    settings = invocation.settings()
    _show(
        invocation, asyncio.run(promote_version(settings, version, Stage(stage), share=portion, pin=wished, why=reason))
    )


def _check_lineage_alone(**given: object) -> None:
    for name, value in given.items():
        if value is not None:
            option = name if name.isupper() else f"--{name}"
            raise typer.BadParameter(
                f"--lineage and {option} exclude each other: a lineage goes live with its newest policy"
            )


def _promote_lineage(invocation: Invocation, lineage: str, reason: str, timeout: float, unpinned: bool) -> None:
    from worker.cli.policy_promote import promote_lineage
    from worker.cli.progress import progress
    from worker.settings import of_lineage

    settings = of_lineage(invocation.settings(), lineage)
    with progress("records left", None) as show:
        done = asyncio.run(promote_lineage(settings, why=reason, timeout_seconds=timeout, unpin=unpinned, show=show))
    if invocation.as_json:
        print_json(done)
    elif done.replaced == done.lineage:
        print(f"Lineage {lineage!r} is active already; version {done.version} is live.")
    else:
        print(
            f"Lineage {lineage!r} took the place of {done.replaced!r} with version {done.version}, "
            f"after {done.records} records in {done.rounds} rounds."
        )


@command
def rollback(
    invocation: Invocation,
    stage: StageOption = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="VERSION",
            help="With --stage prod: where to go back to; previous by default.",
            callback=version_or_name,
        ),
    ] = None,
    reason: ReasonOption = None,
) -> None:
    """Take back the canary, or what is live.

    --stage canary: the canary serves nobody any more. A worker in gate mode
    does not try the same policy again.

    --stage prod: live goes back to the previous version and is pinned there,
    so that the next publication does not undo it. A canary goes, too: it was
    compared with what no longer serves. Learning goes on; lift the pin with
    alice-rl policy unpin.

    Clients follow within a poll.

    For example:

      alice-rl policy rollback --stage canary --reason "angry users"

      alice-rl policy rollback --stage prod --to 40 --reason "back to Tuesday"
    """
    if stage is None:
        raise typer.BadParameter("say what to take back: --stage canary, or --stage prod for what is live")
    if reason is None:
        raise typer.BadParameter("say why, for the audit: --reason TEXT")
    if stage == "canary" and to is not None:
        raise typer.BadParameter("--to is for --stage prod: without its canary, live serves everyone")
    from alice_rl.snapshot.records import Stage
    from worker.cli.policy_moves import roll_back

    _show(invocation, asyncio.run(roll_back(invocation.settings(), Stage(stage), to, why=reason)))


@command
def pin(invocation: Invocation, version: VersionOrNone = None, reason: ReasonOption = None) -> None:
    """Keep what is live, or make a VERSION live and keep it.

    Nothing takes its place until the pin is lifted. Workers go on learning
    and publish candidates, which serve nobody.

    For example:

      alice-rl policy pin --reason "over the holidays"

      alice-rl policy pin 40
    """
    from worker.cli.policy_moves import pin_version

    _show(invocation, asyncio.run(pin_version(invocation.settings(), version, why=reason or "")))


@command
def unpin(invocation: Invocation, reason: ReasonOption = None) -> None:
    """Lift the pin.

    Live stays as it is, until a canary wins, something is promoted, or, in
    direct mode, the next version is published.

    For example:

      alice-rl policy unpin --reason "mended"
    """
    from worker.cli.policy_moves import unpin as lift

    _show(invocation, asyncio.run(lift(invocation.settings(), why=reason or "")))


def _show(invocation: Invocation, move: Move) -> None:
    """What was done, what serves now, and what happens next."""
    if invocation.as_json:
        print_json(move)
    else:
        console().print(f"{move.said}\n{move.serving.words}\n{move.next}", soft_wrap=True, markup=False)
