"""What the servers of the tests share: one process, one folder, and the ways to hurt it."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from alice_rl.errors import DependencyError
from worker.embedded.process import ServerProcess

__all__ = ["Server"]

START_ATTEMPTS = 3  # a free port may be taken by somebody else before the server binds it


class Server(ABC):
    """A server with a temporary folder; a subclass says how to prepare, command and probe it."""

    start_timeout_seconds: float

    def __init__(self, prefix: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self._process: ServerProcess | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def start(self) -> Self:
        """Start on fresh ports and return once the server really serves."""
        for attempt in range(1, START_ATTEMPTS + 1):
            try:
                self._prepare()
                self._launch()
                return self
            except DependencyError:
                if attempt == START_ATTEMPTS:
                    self.close()
                    raise
        raise AssertionError("unreachable")

    def restart(self) -> None:
        """Stop the server if it runs, and start it again on the same ports with the same data."""
        self.stop()
        self._launch()

    def stop(self) -> None:
        """End it in the orderly way; the data stays for `restart`."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End it at once, as a crash would; the data stays for `restart`."""
        if self._process is not None:
            self._process.kill()

    def pause(self) -> None:
        """Freeze it: connections stay open, nobody answers."""
        if self._process is not None:
            self._process.pause()

    def resume(self) -> None:
        """Let it go on after `pause`."""
        if self._process is not None:
            self._process.resume()

    def close(self) -> None:
        """End it and remove its data."""
        self.kill()
        self._folder.cleanup()

    def _launch(self) -> None:
        self._process = ServerProcess(self._command(), self.folder / "server.log")
        self._process.start()
        self._process.wait_ready(self._ready, self.start_timeout_seconds)

    @abstractmethod
    def _prepare(self) -> None:
        """Choose ports and write what the server reads; again after a failed attempt."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The command line."""

    @abstractmethod
    def _ready(self) -> bool:
        """Whether it serves."""
