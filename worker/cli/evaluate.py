"""`alice-rl evaluate`: what a policy would have earned on the log."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.invocation import Invocation, command
from worker.cli.log_options import Archives, Start, Stop
from worker.cli.output import console, print_json
from worker.cli.progress import progress

if TYPE_CHECKING:
    from worker.cli.evaluate_subject import Subject
    from worker.evaluation.reading import Scored
    from worker.replay.bounds import Bound
    from worker.replay.plan import Span
    from worker.settings import Settings

__all__ = ["evaluate"]

_DRAWN_MAX = 48  # windows of a picture for which nobody has asked for others


@command
def evaluate(
    invocation: Invocation,
    policy: Annotated[
        str,
        typer.Argument(
            metavar="POLICY", help="A version, live, canary, previous or newest; an exported file; or rules."
        ),
    ],
    files: Archives = None,
    start: Start = "earliest",
    stop: Stop = "now",
    window: Annotated[
        str, typer.Option("--window", metavar="SPAN", help="Event time of a window: 1h, 30min, 1d. Without: one.")
    ] = "",
    slide: Annotated[
        str, typer.Option("--slide", metavar="SPAN", help="Event time between windows; --window if not given.")
    ] = "",
    unseen_only: Annotated[
        bool, typer.Option("--unseen-only", help="Leave out the turns that the policy has learned from.")
    ] = False,
    alpha: Annotated[
        float, typer.Option("--alpha", min=1e-9, max=0.5, help="Error of each end of the interval.")
    ] = 0.05,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Draw the windows into a .png or .svg; without --window, some that fit.",
            dir_okay=False,
        ),
    ] = None,
) -> None:
    """Estimate what a policy would have earned on turns that others served.

    Each turn is weighed by how likely the policy would have served what was
    served. IPS, SNIPS and DR are shown with the errors of one look, bounds
    from clipped weights, and an interval that may be looked at at any time.
    They inform; the canary gate decides. Turns without propensities, those
    of the rules, are counted as unfit.

    A policy looks better on turns that it has learned from: how many these
    are is said, and --unseen-only leaves them out.

    For example:

      alice-rl evaluate live --from 2026-05-01 --window 1d

      alice-rl evaluate policy.safetensors --file march.jsonl.zst

      alice-rl evaluate canary --unseen-only --window 1h --slide 10min
    """
    from worker.cli.evaluate_report import Report, told
    from worker.cli.evaluate_subject import subject_of, window_shape
    from worker.cli.picture import check_drawable
    from worker.evaluation.reading import coarser, scored_windows
    from worker.replay.bounds import Bound

    if plot is not None:
        check_drawable(plot)
    settings = invocation.settings()
    begin, end, (slide_ms, per_window) = Bound.parse(start), Bound.parse(stop), window_shape(window, slide)
    subject = subject_of(settings, policy)
    scored = asyncio.run(_scored(settings, subject, files or [], begin, end, slide_ms, unseen_only=unseen_only))
    if plot is not None and per_window is None:
        scored, per_window = coarser(scored, _DRAWN_MAX), 1
    report = Report(subject, scored, scored_windows(scored, settings, per_window, alpha), alpha, unseen_only)
    if plot is not None:
        from worker.cli.evaluate_plot import drawn

        drawn(report, plot)
    if invocation.as_json:
        print_json(report.facts())
    else:
        console().print(told(report))
        if plot is not None:
            print(f"Drawn into {plot}.")


async def _scored(
    settings: Settings,
    subject: Subject,
    files: list[Path],
    start: Bound,
    stop: Bound,
    slide_ms: int,
    *,
    unseen_only: bool,
) -> Scored:
    from worker.evaluation.reading import read_scored
    from worker.replay.plan import plan_files, plan_topic

    spans: list[Span] = plan_files(files, start, stop) if files else await plan_topic(settings, start, stop)
    with progress("records", sum(span.left for span in spans)) as show:
        return await read_scored(
            settings,
            spans,
            subject.target,
            learned=subject.learned,
            unseen_only=unseen_only,
            slide_ms=slide_ms,
            show=show,
        )
