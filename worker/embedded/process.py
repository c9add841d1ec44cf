"""A server process of our own: in its own session, logging to a file, and never outliving us.

Three things kill a child that its parent forgot. `stop` and `kill` are the ordinary ways; `atexit` covers an
exception;
and on Linux the kernel itself kills the child when the parent dies without a word (`PR_SET_PDEATHSIG`).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue

from alice_rl.errors import DependencyError

__all__ = ["ServerProcess", "free_port"]

POLL_SECONDS = 0.02
LOG_TAIL_LINES = 15

# Runs first in the child and then becomes the server: ask the kernel for SIGKILL at the parent's death (1 is
# PR_SET_PDEATHSIG), and leave at once if the parent was gone before we could ask. A wrapper rather than
# `preexec_fn`, which may deadlock in a process with threads.
_BIND_TO_PARENT = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""

Start = Callable[[], "subprocess.Popen[bytes]"]


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port nobody listens on at this moment.

    Notes
    -----
    Somebody else may take it before the server binds: a server that dies at its start is worth one more try.

    Examples
    --------
    >>> 1024 <= free_port() <= 65535
    True
    """
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class _Spawner:
    """One thread that starts every child and lives as long as the process.

    Notes
    -----
    The kernel's death signal is tied to the *thread* that forked. A child started from a short-lived thread,
    such as `asyncio.to_thread` uses, would be killed with that thread.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Start, Future[subprocess.Popen[bytes]]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def spawn(self, start: Start) -> subprocess.Popen[bytes]:
        """Run `start` on the long-lived thread and hand back the process it made."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():  # not alive: we are a fork of the first owner
                self._thread = threading.Thread(target=self._run, name="spawner", daemon=True)
                self._thread.start()
        made: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put((start, made))
        return made.result()

    def _run(self) -> None:
        while True:
            start, made = self._jobs.get()
            try:
                made.set_result(start())
            except OSError as error:
                made.set_exception(error)


_spawner = _Spawner()


class ServerProcess:
    """One running server and the signals that can be sent to its process group.

    Parameters
    ----------
    argv : sequence of str
        Command line of the server; it must stay in the foreground.
    log : Path
        File that takes its stdout and stderr; appended to, so that a restart keeps the earlier lines.
    environ : mapping of str to str, optional
        Variables set for it beside our own.
    """

    def __init__(self, argv: Sequence[str], log: Path, environ: Mapping[str, str] | None = None) -> None:
        self.argv = list(argv)
        self.log = log
        self.environ = dict(environ or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the server, which is its process group's id as well."""
        if self._process is None:
            raise DependencyError(f"{self.argv[0]} was not started")
        return self._process.pid

    def alive(self) -> bool:
        """Whether the process runs (a paused one does)."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Exit status of an ended process, negative for a signal; None while it runs or was never started."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start the process; `wait_ready` says when it serves."""
        wrapped = [sys.executable, "-I", "-S", "-c", _BIND_TO_PARENT, str(os.getpid()), *self.argv]
        with self.log.open("ab") as log:
            self._process = _spawner.spawn(
                lambda: subprocess.Popen(
                    wrapped,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.log.parent,
                    env=os.environ | self.environ,
                    start_new_session=True,
                )
            )
        atexit.register(self.kill)

    def wait_ready(self, ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Block until `ready()` is true.

        Raises
        ------
        DependencyError
            If the process ends first, or the time is up (the process is killed then); with the end of its
            log.
        """
        deadline = time.monotonic() + timeout_seconds
        while not ready():
            if not self.alive():
                raise DependencyError(f"{self.argv[0]} ended while starting:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise DependencyError(f"{self.argv[0]} was not ready within {timeout_seconds:g} s:\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        """Send one signal to the whole process group; a group that is gone already is no error."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Ask the server to end (SIGTERM), and kill it when it has not within `grace_seconds`."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # a paused process would never see the SIGTERM
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_seconds)
        self.kill()

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        atexit.unregister(self.kill)

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): its sockets stay open and nobody answers."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        self.signal(signal.SIGCONT)

    def log_tail(self) -> str:
        """The last lines the server has logged."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])
