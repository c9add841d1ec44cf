"""What the commands of `alice-rl policy` are given: versions, stages, files, reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = [
    "NAMES",
    "FileArgument",
    "ReasonOption",
    "StageOption",
    "VersionArgument",
    "VersionOrNone",
    "version_or_name",
]

NAMES = ("live", "canary", "previous", "newest")
"""What the head calls a version."""


def version_or_name(text: str | None) -> str | None:
    """A version as it was given; a usage error when it is neither a number nor a name."""
    if text is not None and not text.isdecimal() and text not in NAMES:
        raise typer.BadParameter(f"{text!r} is no version: give a number, or one of {', '.join(NAMES)}")
    return text


def _reason(text: str | None) -> str | None:
    if text is not None and not text.strip():
        raise typer.BadParameter("the reason is empty: say it to those who will read the audit")
    return text


VersionArgument = Annotated[
    str,
    typer.Argument(metavar="VERSION", help=f"A version's number, or {', '.join(NAMES)}.", callback=version_or_name),
]
VersionOrNone = Annotated[
    str | None,
    typer.Argument(metavar="[VERSION]", help=f"A version's number, or {', '.join(NAMES)}.", callback=version_or_name),
]
FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A policy as a file.", exists=True, dir_okay=False, readable=True)
]
StageOption = Annotated[
    Literal["canary", "prod"] | None,
    typer.Option("--stage", help="canary: for a share of the requests; prod: live, for everyone."),
]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the audit.", callback=_reason)
]
