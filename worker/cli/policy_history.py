"""`alice-rl policy history`: the audit, for people."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.invocation import Invocation, command
from worker.cli.output import console, print_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from worker.cli.policy_audit import Line

__all__ = ["history", "history_view"]


@command
def history(
    invocation: Invocation,
    limit: Annotated[int, typer.Option("--limit", min=1, max=20_000, metavar="N", help="Lines at most.")] = 20,
    publishes: Annotated[bool, typer.Option("--publishes", help="A line for each publication.")] = False,
) -> None:
    """Tell who published, promoted and rolled back what, and why.

    The newest is first. Publications in a row are one line, unless somebody
    gave a reason for one. What the gate did stands with the numbers of its
    verdict; an interval covers the difference at all times, and evidence is
    what a fair bet of 1 has become.

    For example:

      alice-rl policy history
      alice-rl policy history --limit 100 --publishes
      alice-rl policy history --json | jq '.lines[] | select(.kind=="rollback")'
    """
    from worker.cli.policy_audit import read_audit

    settings = invocation.settings()
    lines = asyncio.run(read_audit(settings, limit, fold=not publishes))
    if invocation.as_json:
        print_json({"policy": settings.policy.name, "lines": lines})
    elif lines:
        console().print(history_view(settings.policy.name, lines))
    else:
        print(f"policy {settings.policy.name}: nothing happened yet")


def history_view(policy: str, lines: list[Line]) -> RenderableType:
    """The lines as a table."""
    from rich.markup import escape

    from worker.cli.policy_audit_words import verdict_words
    from worker.cli.status_view import columns, headed, time_words

    table = columns("when", "what", "who", "why", text=4)
    for line in lines:
        numbers = verdict_words(line.detail)
        why = "\n".join(part for part in (escape(line.why), f"[dim]{escape(numbers)}[/]" if numbers else "") if part)
        table.add_row(time_words(line.ts_ms), escape(line.words), escape(line.who), why)
    return headed(f"History of {policy}", table)
