"""What processes of these tests do: functions that a child can import by their names."""

from __future__ import annotations

import os
import signal
import sys
import threading

from alice_rl.errors import DependencyError
from worker.replay.parallel import Progress, in_processes

__all__ = ["doubled", "failing", "holding", "killed"]


def doubled(number: int, progress: Progress) -> int:
    """Twice the number, after having put that many offsets behind."""
    progress(number)
    return number * 2


def failing(number: int, progress: Progress) -> int:
    """Fail at once with an even number, and wait for ever with an odd one."""
    if number % 2:
        threading.Event().wait()
    raise DependencyError(f"job {number} cannot go on", code="kafka_unreachable", hint="look at the broker")


def killed(_: Progress) -> None:
    """Die as if the kernel were out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def holding(pipe: str, _: Progress) -> None:
    """Open a pipe, say so, and never let go of it."""
    with open(pipe, "wb", buffering=0) as held:  # noqa: PTH123
        held.write(b"!")
        threading.Event().wait()


if __name__ == "__main__":
    in_processes(holding, [(sys.argv[1],)] * 2, 2, lambda _: None)
