"""One job per partition, in processes: each says how far it is, and the parent shows the sum."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from alice_rl.errors import AliceError

__all__ = ["Progress", "in_processes"]

T = TypeVar("T")
Progress = Callable[[int], None]
"""Called by a job with the offsets that it has put behind it."""

_LOOK_SECONDS = 0.2

_progress: Any = None  # the shared array, in a child


def in_processes(
    function: Callable[..., T], jobs: Sequence[tuple[Any, ...]], processes: int, show: Callable[[int], object]
) -> list[T]:
    """The results of `function(*job, progress)` for each job, in their order.

    Parameters
    ----------
    function : callable
        Of a module's own name, so that a child can import it.
    jobs : sequence of tuple
        Arguments, which are pickled.
    processes : int
        How many run at once.
    show : callable
        Told every now and then how far all jobs together are.

    Raises
    ------
    AliceError
        As a job raised it; the others are ended. `process_died` when one was killed.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy the parent's threads and connections
    shared = context.Array("q", len(jobs), lock=False)
    workers = min(processes, len(jobs)) or 1
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(shared, os.getpid())) as pool:
        try:
            running = [pool.submit(_run, function, index, job) for index, job in enumerate(jobs)]
            return _gathered(running, lambda: show(sum(shared)))
        except BaseException:
            for child in list((pool._processes or {}).values()):
                child.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _gathered(running: Sequence[Future[T]], look: Callable[[], object]) -> list[T]:
    left: set[Future[T]] = set(running)
    try:
        while left:
            done, left = wait(left, timeout=_LOOK_SECONDS, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            look()
    except BrokenProcessPool as error:
        raise AliceError(
            "a process was killed while it worked",
            code="process_died",
            hint="nothing is lost: the same command goes on where it was; is there enough memory?",
        ) from error
    return [future.result() for future in running]


def _begin(shared: Any, parent: int) -> None:
    """In a child: the parent alone is interrupted, and its children end with it."""
    global _progress
    _progress = shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


def _run(function: Callable[..., T], index: int, job: tuple[Any, ...]) -> T:
    def progress(done: int) -> None:
        _progress[index] = done

    return function(*job, progress)
