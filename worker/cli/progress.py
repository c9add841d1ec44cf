"""How far a long reading is: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from worker.cli.output import console

__all__ = ["reading_progress"]


@contextmanager
def reading_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function that is told how much was read, and of how much; the bar leaves nothing behind."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    errors = console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def show(read: int, total: int) -> None:
            progress.update(task, completed=read, total=total)

        yield show
