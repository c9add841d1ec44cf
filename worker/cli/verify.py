"""`alice-rl verify`: is what is live exactly what the log says?"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.invocation import Invocation, command
from worker.cli.output import console, print_json
from worker.cli.progress import progress

if TYPE_CHECKING:
    from alice_rl.snapshot.records import ShardRecord
    from worker.replay.verdict import Verdict
    from worker.replay.verification import Standing
    from worker.settings import Settings

__all__ = ["earlier_checkpoints", "standing_of", "verify"]


@command
def verify(
    invocation: Invocation,
    partition: Annotated[
        int | None, typer.Option("--partition", min=0, metavar="P", help="This partition alone.")
    ] = None,
    sources: Annotated[
        list[Path] | None,
        typer.Option(
            "--source", metavar="FILE", help="An archive that the lineage has learned; may be repeated.", exists=True
        ),
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option(
            "--since", metavar="FILE", help="A savepoint to begin with, where the log is not that old.", exists=True
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, max=256, help="Processes at work; one per core by default.")
    ] = None,
) -> None:
    """Fold the log again, and compare with the checkpoints and the live
    policy.

    Each partition is read from where its fold began, or from a savepoint,
    up to where its checkpoint stands, and compared bucket by bucket, by
    SHA-256. Where they part, the first bucket and its offsets are named.
    The sums that the live policy was solved from are compared as well, at
    its own offsets. Workers may go on meanwhile.

    Exit code 0: equal. 1: not equal, or the log no longer reaches back to
    the beginning.

    For example:

      alice-rl verify

      alice-rl verify --partition 3 --json

      alice-rl verify --since monday.savepoint

      alice-rl verify --set policy.lineage=wide --source archive-2025.jsonl.zst
    """
    from worker.replay.verification import begins, compare_snapshot, verify_partitions

    settings = invocation.settings()
    standing = asyncio.run(standing_of(settings))
    standing = standing if partition is None else standing.of(partition)
    earlier = earlier_checkpoints(since, settings) if since is not None else {}
    firsts = asyncio.run(begins(settings, standing, earlier))
    with progress("records", sum(state.next - firsts[p] for p, state in standing.states.items())) as show:
        verdicts, missing = verify_partitions(
            settings, standing, sources or [], earlier, jobs or os.cpu_count() or 1, show
        )
    snapshot = compare_snapshot(standing, verdicts)
    equal = all(verdict.equal for verdict in verdicts) and snapshot.equal is not False
    if invocation.as_json:
        facts = {"equal": equal, "lineage": settings.policy.lineage, "partitions": [_facts(v) for v in verdicts]}
        print_json({**facts, "snapshot": snapshot, "not_verified": missing})
    else:
        from worker.cli.replay_view import verdict_view

        console().print(verdict_view(verdicts, snapshot.words, missing, equal=equal))
    if not equal:
        raise typer.Exit(1)


async def standing_of(settings: Settings) -> Standing:
    """How the lineage stands in Redis."""
    from alice_rl.snapshot.store import Store
    from worker.cli.inspector import inspecting
    from worker.replay.verification import read_standing

    async with inspecting(settings, Store) as store:
        return await read_standing(store, settings)


def earlier_checkpoints(file: Path, settings: Settings) -> dict[int, ShardRecord]:
    """The checkpoints that a savepoint holds."""
    from alice_rl.errors import ConfigError
    from alice_rl.snapshot.records import ShardRecord
    from worker.cli.savepoint_files import read_savepoint

    savepoint, _ = read_savepoint(settings, file)
    name, lineage = settings.policy.lineage, settings.lineage
    if (savepoint.lineage, savepoint.fingerprint) != (name, lineage.fingerprint):
        raise ConfigError(
            f"{file} is a savepoint of lineage {savepoint.lineage!r}, fingerprint {savepoint.fingerprint[:12]}, "
            f"not of {name!r}, {lineage.fingerprint[:12]}",
            hint="give a savepoint of the lineage that is verified",
        )
    return {partition: ShardRecord.from_hash(fields) for partition, fields in savepoint.shards.items()}


def _facts(verdict: Verdict) -> dict[str, object]:
    from msgspec.structs import asdict

    return {"equal": verdict.equal, **asdict(verdict)}
