"""A bar with rate and time left for long work: on a terminal, and not at all elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from worker.cli.output import console

__all__ = ["progress"]

_SHOWN_SECONDS = 0.1


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], object]]:
    """A function that is told how much is done, as often as one likes.

    Parameters
    ----------
    what : str
        What is counted, in a word.
    total : int or None
        How much there is; None when nobody knows.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    errors = console(stderr=True)
    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task, started, shown = bar.add_task("", total=total, rate=""), time.monotonic(), 0.0

        def show(done: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown >= _SHOWN_SECONDS or done == total:
                shown = now
                bar.update(task, completed=done, rate=f"{done / max(now - started, 1e-3):,.0f} a second")

        yield show
