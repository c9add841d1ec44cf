"""The servers of the tests and benchmarks: a real Apache Kafka and a real Redis, private to one run.

Nothing here imports pytest. Every server runs in its own process group on free loopback ports, keeps its data
in a temporary folder, and dies with this process. `restart` brings it back on the same port with the same
data.

All methods block and may be called from any thread; inside a coroutine use ``await
asyncio.to_thread(kafka.restart)``.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import redis

from alice_rl.errors import DependencyError
from tests.kafka.broker import KafkaBroker, MockBroker
from tests.kafka.jars import kafka_jars
from tests.server import Server
from worker.embedded.process import free_port
from worker.embedded.redis import find_server, is_ready

__all__ = ["KafkaBroker", "MockBroker", "RedisServer", "kafka_jars", "unique_name"]


def unique_name(prefix: str = "t") -> str:
    """A topic, group or policy name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


class RedisServer(Server):
    """A real Redis (or Valkey) server.

    Parameters
    ----------
    appendonly : bool
        Keep an append-only file, so that the data survives `kill` and `restart`; without it a restart is
        empty.
    appendfsync : str
        When that file is flushed: ``always``, ``everysec`` or ``no``.
    maxmemory : str, optional
        Limit such as ``"32mb"``.
    maxmemory_policy : str
        What happens at the limit; the worker requires ``noeviction``.
    args : sequence of str
        Further command line arguments of the server, such as ``["--requirepass", "x"]``.

    Attributes
    ----------
    port : int
    url : str
        ``redis://127.0.0.1:<port>/0``
    """

    start_timeout_seconds = 30.0
    databases = 256

    def __init__(
        self,
        *,
        appendonly: bool = False,
        appendfsync: str = "everysec",
        maxmemory: str | None = None,
        maxmemory_policy: str = "noeviction",
        args: Sequence[str] = (),
    ) -> None:
        found = find_server()
        if found is None:
            raise DependencyError("no redis-server found", hint="apt-get install redis-server")
        super().__init__("alice-rl-redis-")
        self.kind, binary = found
        self.port = 0
        self._base = [binary, "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        self._base += ["--databases", str(self.databases), "--maxmemory-policy", maxmemory_policy]
        self._base += ["--appendonly", "yes" if appendonly else "no", "--appendfsync", appendfsync]
        self._base += ["--maxmemory", maxmemory] if maxmemory else []
        self._base += args

    @property
    def url(self) -> str:
        """Address of logical database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def configure(self, name: str, value: str) -> None:
        """Change a setting of the running server."""
        with redis.Redis.from_url(self.url) as client:
            client.config_set(name, value)

    def _prepare(self) -> None:
        self.port = free_port()

    def _command(self) -> list[str]:
        return [*self._base, "--port", str(self.port)]

    def _ready(self) -> bool:
        return is_ready(self.url)
