"""A bar with rate and time left for long work: on a terminal, and not at all elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from worker.cli.output import console

__all__ = ["Show", "progress"]

_SHOWN_SECONDS = 0.1


class Show(Protocol):
    """Told how much is done, and of how much where that was not known before."""

    def __call__(self, done: int, total: int | None = None, /) -> None:
        """Show it, unless something was shown a moment ago."""


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Show]:
    """A bar that is told how much is done, as often as one likes; it leaves nothing behind.

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

        def show(done: int, of: int | None = total, /) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown >= _SHOWN_SECONDS or done == of:
                shown = now
                bar.update(task, completed=done, total=of, rate=f"{done / max(now - started, 1e-3):,.0f} a second")

        yield show
