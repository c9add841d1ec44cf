"""`alice-rl replay`: a stretch of the log into a lineage of its own, beside the live worker."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.invocation import Invocation, command
from worker.cli.log_options import Archives, Start, Stop
from worker.cli.output import console, print_json
from worker.cli.progress import progress

if TYPE_CHECKING:
    from worker.replay.bounds import Bound
    from worker.replay.plan import Span
    from worker.settings import Settings

__all__ = ["replay"]


@command
def replay(
    invocation: Invocation,
    lineage: Annotated[
        str, typer.Option("--lineage", metavar="NAME", help="Lineage to learn; not the one that is live.")
    ],
    start: Start = "earliest",
    stop: Stop = "now",
    sources: Archives = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, max=256, help="Processes at work; one per core by default.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be read and written, and do nothing.")
    ] = False,
) -> None:
    """Learn a stretch of the log under a lineage of its own, beside the live
    worker.

    It is the same fold as the worker's, partition by partition in
    processes, and ends with the same bytes. Nothing that is live is
    touched: the lineage has its own keys, and no consumer group is joined.
    After Ctrl-C or a crash the same command goes on where it was.

    The lineage is learned with the configuration that is given: other
    features, arms or bounds by --config or --set. Times are those of the
    records, UTC unless they say otherwise. When it is done, `alice-rl
    policy promote --lineage NAME` puts it in the place of the live one.

    For example:

      alice-rl replay --lineage wide --set features.feature_dim=256 --dry-run

      alice-rl replay --lineage may --from 2026-05-01 --to 2026-06-01

      alice-rl replay --lineage all --source 2025.jsonl.zst --source 2024/
    """
    from worker.replay.bounds import Bound
    from worker.settings import of_lineage

    settings = of_lineage(invocation.settings(), lineage)
    begin, end = Bound.parse(start), Bound.parse(stop)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        spans = asyncio.run(_planned(settings, sources or [], begin, end, declare=not dry_run))
        if dry_run:
            _tell_plan(settings, spans, as_json=invocation.as_json)
        else:
            _replay(settings, spans, jobs or os.cpu_count() or 1, as_json=invocation.as_json)
    except KeyboardInterrupt:
        console(stderr=True).print("Stopped. The same command goes on where it was.")
        raise typer.Abort from None


async def _planned(settings: Settings, sources: list[Path], start: Bound, stop: Bound, *, declare: bool) -> list[Span]:
    """What is to be read, and how far the lineage has got in it."""
    from alice_rl.errors import ConfigError
    from alice_rl.snapshot.store import Store
    from worker.cli.inspector import inspecting
    from worker.replay.plan import plan_files, plan_topic, resume

    name, lineage = settings.policy.lineage, settings.lineage
    async with inspecting(settings, Store) as store:
        await store.ensure_ready()
        if await store.active_lineage() == name:
            raise ConfigError(
                f"lineage {name!r} is live: a replay into it would be folded on top of what is served",
                hint="give --lineage another name, and promote it when it is done",
            )
        spans = plan_files(sources, start, stop) if sources else await plan_topic(settings, start, stop)
        spans = await resume(store, name, spans, start)
        if declare and (
            appended := await store.declare_lineage(name, lineage.fingerprint, lineage.to_json(), extend=False)
        ):
            raise ConfigError(
                f"lineage {name!r} was begun without the features {', '.join(appended)}",
                hint="give the configuration that it was begun with, or choose another --lineage",
            )
        return spans


def _replay(settings: Settings, spans: list[Span], jobs: int, *, as_json: bool) -> None:
    from worker.cli.replay_view import done_view
    from worker.replay.parallel import in_processes
    from worker.replay.span import fold_span

    started = time.monotonic()
    with progress("records", sum(span.end - span.first for span in spans)) as show:
        longest_first = sorted(spans, key=lambda span: -span.left)
        done = in_processes(fold_span, [(settings, span) for span in longest_first], jobs, show)
    done.sort(key=lambda part: part.partition)
    seconds = time.monotonic() - started
    if as_json:
        from alice_rl.sums import digest

        records = sum(part.records for part in done)
        print_json(
            {
                "lineage": settings.policy.lineage,
                "records": records,
                "seconds": round(seconds, 3),
                "records_per_second": round(records / max(seconds, 1e-9)),
                "digest": digest({str(part.partition): part.digest for part in done}),
                "partitions": done,
            }
        )
    else:
        console().print(done_view(settings.policy.lineage, done, seconds))


def _tell_plan(settings: Settings, spans: list[Span], *, as_json: bool) -> None:
    from worker.cli.replay_view import plan_view

    if as_json:
        from msgspec.structs import asdict

        print_json(
            {
                "dry_run": True,
                "lineage": settings.policy.lineage,
                "fingerprint": settings.lineage.fingerprint,
                "records_at_most": sum(span.left for span in spans),
                "spans": [{**asdict(span), "left": span.left} for span in spans],
            }
        )
    else:
        console().print(plan_view(settings, spans))
