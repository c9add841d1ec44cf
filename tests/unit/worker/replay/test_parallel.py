"""One job per partition, in processes."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alice_rl.errors import AliceError, DependencyError
from tests.unit.worker.replay import jobs
from worker.replay.parallel import in_processes

ROOT = Path(__file__).parents[4]
WAIT_SECONDS = 60.0


def test_results_come_in_the_order_of_the_jobs() -> None:
    """Whichever is done first: the results are those of the jobs, and the progress of all of them is shown as a sum."""
    shown: list[int] = []
    assert in_processes(jobs.doubled, [(n,) for n in (5, 1, 4, 2, 3)], 2, shown.append) == [10, 2, 8, 4, 6]
    assert shown == sorted(shown)
    assert shown[-1] == 15


def test_no_jobs_are_done_at_once() -> None:
    """Nothing to do has no results."""
    assert in_processes(jobs.doubled, [], 4, lambda _: None) == []


def test_an_error_of_a_job_surfaces_as_it_is() -> None:
    """Class, message, code and hint come across, and the jobs that would go on for ever are ended."""
    with pytest.raises(DependencyError, match="job 0 cannot go on") as caught:
        in_processes(jobs.failing, [(1,), (0,)], 2, lambda _: None)
    assert (caught.value.code, caught.value.hint) == ("kafka_unreachable", "look at the broker")


def test_a_killed_process_is_said() -> None:
    """A child that was killed is an error with what to do, not a traceback of the pool."""
    with pytest.raises(AliceError, match="killed") as caught:
        in_processes(jobs.killed, [()], 1, lambda _: None)
    assert caught.value.code == "process_died"
    assert "the same command" in caught.value.hint


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process with two children that hold a pipe open, and the pipe's other end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    command = [sys.executable, "-m", jobs.__name__, str(pipe)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        yield process, end
        process.kill()
    os.close(end)


def test_children_end_with_their_parent(parent: tuple[subprocess.Popen[bytes], int]) -> None:
    """When the parent is killed, nobody is left that writes on: the pipe that both children held is closed."""
    process, end = parent
    assert [heard(end), heard(end)] == [b"!", b"!"]
    process.kill()
    assert heard(end) == b""


def heard(end: int) -> bytes:
    """The next byte out of a pipe; nothing once nobody holds it any more."""
    readable, _, _ = select.select([end], [], [], WAIT_SECONDS)
    assert readable, f"nothing in {WAIT_SECONDS:g} s"
    return os.read(end, 1)
