"""A child process: it starts, can be frozen, ended and waited for, and is gone when it should be."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import pytest

from alice_rl.errors import DependencyError
from worker.embedded.process import ServerProcess


def python(code: str, folder: Path) -> ServerProcess:
    return ServerProcess([sys.executable, "-c", code], folder / "server.log")


FOREVER = "import signal; print('up', flush=True); signal.pause()"
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True:
    signal.pause()
"""


def started(code: str, folder: Path) -> ServerProcess:
    process = python(code, folder)
    process.start()
    process.wait_ready(lambda: "up" in process.log_tail(), 10.0)
    return process


def test_stop_ends_a_polite_process(tmp_path: Path) -> None:
    """SIGTERM is enough for a server that honours it."""
    process = started(FOREVER, tmp_path)
    assert process.alive()
    process.stop()
    assert not process.alive()


def test_stop_kills_a_process_that_ignores_it(tmp_path: Path) -> None:
    """After the grace period the server is killed."""
    process = started(STUBBORN, tmp_path)
    process.stop(grace_seconds=0.1)
    assert not process.alive()


def test_stop_ends_a_paused_process(tmp_path: Path) -> None:
    """A frozen server is woken to hear that it should end."""
    process = started(FOREVER, tmp_path)
    process.pause()
    process.stop()
    assert not process.alive()


def test_a_signal_to_a_dead_process_is_no_error(tmp_path: Path) -> None:
    """Stopping, killing and resuming are repeatable."""
    process = started(FOREVER, tmp_path)
    process.kill()
    process.signal(signal.SIGCONT)
    process.stop()
    process.kill()


def test_an_early_end_is_reported_with_the_log(tmp_path: Path) -> None:
    """A server that dies while starting takes its last words into the error."""
    process = python("print('port taken')", tmp_path)
    process.start()
    with pytest.raises(DependencyError, match="port taken"):
        process.wait_ready(lambda: False, 10.0)


def test_a_server_that_is_never_ready_is_killed(tmp_path: Path) -> None:
    """When the time is up, the process does not stay behind."""
    process = python(FOREVER, tmp_path)
    process.start()
    with pytest.raises(DependencyError, match="not ready within"):
        process.wait_ready(lambda: False, 0.2)
    assert not process.alive()


def test_a_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    """Starting from a short-lived thread does not tie the server's life to it."""
    box: list[ServerProcess] = []
    thread = threading.Thread(target=lambda: box.append(started(FOREVER, tmp_path)))
    thread.start()
    thread.join()
    # A process that the kernel had killed with the thread would not be able to answer this with its own exit.
    assert box[0].alive()
    box[0].stop(grace_seconds=10.0)
    assert box[0].exit_code == -signal.SIGTERM


def test_a_missing_program_is_an_operating_error(tmp_path: Path) -> None:
    """A path that cannot be executed ends the child, and the error names the program."""
    process = ServerProcess([str(tmp_path / "absent")], tmp_path / "server.log")
    process.start()
    with pytest.raises(DependencyError, match="absent"):
        process.wait_ready(lambda: False, 10.0)


def test_variables_are_set_beside_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process sees what it is given and what we have, and the given one wins."""
    monkeypatch.setenv("ALICE_OURS", "ours")
    monkeypatch.setenv("ALICE_BOTH", "ours")
    code = "import os; print(os.environ['ALICE_OURS'], os.environ['ALICE_BOTH'], 'up', flush=True)"
    process = ServerProcess([sys.executable, "-c", code], tmp_path / "server.log", {"ALICE_BOTH": "given"})
    process.start()
    process.wait_ready(lambda: "up" in process.log_tail(), 10.0)
    assert process.log_tail() == "ours given up"
    process.kill()
