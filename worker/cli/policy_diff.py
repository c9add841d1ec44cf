"""`alice-rl policy diff`: where would two policies decide differently?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.invocation import Invocation, command
from worker.cli.output import console, print_json
from worker.cli.policy_arguments import NAMES

if TYPE_CHECKING:
    from worker.cli.policy_difference import Difference
    from worker.latest_decisions import Sample
    from worker.settings import Settings

__all__ = ["diff"]


def _policy(text: str) -> str:
    if not text.isdecimal() and text not in NAMES and not Path(text).is_file():
        raise typer.BadParameter(
            f"{text!r} is no policy: give a version's number, one of {', '.join(NAMES)}, or an exported file"
        )
    return text


@command
def diff(
    invocation: Invocation,
    a: Annotated[str, typer.Argument(metavar="A", help="A version, its name, or a file.", callback=_policy)],
    b: Annotated[str, typer.Argument(metavar="B", help="The other one.", callback=_policy)],
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="Decisions in place of the log's: JSON lines, plain, gzip or zstd; or a folder. May be repeated.",
            exists=True,
            readable=True,
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option("--sample", min=1, max=1_000_000, metavar="N", help="The latest decisions to compare on.")
    ] = 2000,
    groups_max: Annotated[
        int, typer.Option("--intents", min=0, metavar="N", help="Intents shown per slot, most of the difference first.")
    ] = 5,
) -> None:
    """Show where two policies would decide differently.

    Both are asked for their probabilities on the latest decisions of the log,
    each with its context and the arms that were available. Per slot: the share
    of turns whose likeliest arm differs, the mean distance (the least share of
    turns on which drawn arms would differ), and the intents or query classes
    that account for most of it, with each policy's likeliest arm. Then what
    the policies say about themselves: reward weights, exploration, arms,
    as-of. Nothing is written.

    For example:

      alice-rl policy diff live canary

      alice-rl policy diff 40 newest --sample 20000 --json

      alice-rl policy diff old.safetensors live --file monday.jsonl.gz
    """
    from worker.cli.policy_difference import Difference

    settings = invocation.settings()
    blobs = _bytes(settings, a), _bytes(settings, b)
    told = Difference.of((a, b), blobs, settings, lambda: _sampled(settings, files, sample))
    if invocation.as_json:
        print_json(told)
    else:
        _show(told, groups_max)


def _bytes(settings: Settings, policy: str) -> bytes:
    from worker.cli.policy_versions import read_file, read_version

    if policy.isdecimal() or policy in NAMES:
        return asyncio.run(read_version(settings, policy))
    return read_file(Path(policy))


def _sampled(settings: Settings, files: list[Path] | None, count: int) -> Sample:
    from alice_rl.errors import AliceError
    from worker.latest_decisions import latest_in_files, latest_in_topic

    sample = latest_in_files(files, count) if files else asyncio.run(latest_in_topic(settings.kafka, count))
    if not sample.decisions:
        where = ", ".join(map(str, files)) if files else f"topic {settings.kafka.topic!r}"
        raise AliceError(
            f"no decision in {where} ({sample.records:,} records read, {sample.rejected:,} of them no events)",
            code="no_decisions",
            hint="give telemetry that holds decisions with --file, or let turns come in first (alice-rl simulate)",
        )
    return sample


def _show(told: Difference, groups_max: int) -> None:
    from worker.cli.policy_diff_view import difference_view

    console().print(difference_view(told, groups_max))
