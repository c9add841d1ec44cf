"""What runs around the demo's assistant: a broker, a Redis and the workers, started together and stopped together.

Broker and Redis are embedded unless their addresses are given. On somebody else's servers the demo keeps to a topic
and a policy of its own, and takes both away again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

import worker
from alice_rl.errors import DependencyError
from alice_rl.settings import load
from alice_rl.snapshot.connection import connect, reaching
from worker.demo.member import EMBEDDED_VARIABLE
from worker.demo.topics import create_topics, delete_topics
from worker.embedded.broker import EmbeddedBroker
from worker.embedded.process import ServerProcess
from worker.embedded.redis import EmbeddedRedis
from worker.settings import Settings

__all__ = ["Services"]

_ADDRESSES = {"kafka": "kafka.bootstrap_servers", "redis": "redis.url"}


class Services:
    """Broker, Redis and workers of one demo; a context manager.

    Parameters
    ----------
    flags : mapping of str to object
        Settings by dotted key, for the workers and for us.
    kafka, redis : str, optional
        Addresses of the user's own; embedded without.
    config : Path, optional
        A configuration file, for what it takes to reach those.
    partitions, workers : int

    Attributes
    ----------
    settings : Settings
        What the workers run with, complete once started.
    kinds : dict of str to str
        What serves as Kafka and as Redis, for people.
    log : Path
        The log of the first worker; kept when something failed.
    """

    def __init__(
        self,
        flags: Mapping[str, object],
        *,
        kafka: str | None = None,
        redis: str | None = None,
        config: Path | None = None,
        partitions: int = 6,
        workers: int = 1,
    ) -> None:
        self._name = f"alice-demo-{uuid.uuid4().hex[:8]}"
        own = ("policy.name", "kafka.topic", "kafka.group_id")
        self._flags = {**flags, **dict.fromkeys(own, self._name), "kafka.dead_letter_topic": f"{self._name}.dead"}
        self._given = {"kafka": kafka, "redis": redis}
        self._config = config.absolute() if config is not None else None
        self._partitions = partitions
        self._broker, self._redis = EmbeddedBroker(), EmbeddedRedis()
        self._folder = Path(tempfile.mkdtemp(prefix="alice-rl-demo-"))
        self._workers = [ServerProcess([], self._folder / f"worker-{n}.log") for n in range(1, workers + 1)]
        self._undo = contextlib.ExitStack()
        self.settings = Settings()
        self.kinds = {"kafka": "your Kafka", "redis": "your Redis"}
        self.log = self._workers[0].log

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Stop everything. The workers' logs are kept where an error needs them explained."""
        for process in self._workers:
            process.kill()
        self._undo.close()
        failed = kind is not None and issubclass(kind, Exception) and not issubclass(kind, OSError)
        if not failed or not self.log.exists():  # OSError: the terminal was closed
            shutil.rmtree(self._folder, ignore_errors=True)

    def check(self) -> None:
        """Make sure that the workers run.

        Raises
        ------
        DependencyError
            One has ended; with the end of its log.
        """
        for process in self._workers:
            if not process.alive():
                raise DependencyError(
                    f"a worker has ended with code {process.exit_code}:\n{process.log_tail()}",
                    code="worker_ended",
                    hint=f"its log is {process.log}",
                )

    def drain_workers(self, grace_seconds: float = 15.0) -> None:
        """Ask the workers to write what they have learned and to end.

        Raises
        ------
        DependencyError
            One did not end well.
        """
        for process in self._workers:
            process.stop(grace_seconds)
            if process.exit_code != 0:
                raise DependencyError(
                    f"a worker did not end well (code {process.exit_code}):\n{process.log_tail()}",
                    code="worker_ended",
                    hint=f"its log is {process.log}",
                )

    def _start(self) -> None:
        topics = {self._name: self._partitions, f"{self._name}.dead": 1}
        addresses = dict(self._given)
        if addresses["kafka"] is None:
            addresses["kafka"] = self._broker.start(topics)
            self._undo.callback(self._broker.stop)
            self.kinds["kafka"] = "embedded Kafka (librdkafka's mock cluster)"
        if addresses["redis"] is None:
            addresses["redis"] = self._redis.start()
            self._undo.callback(self._redis.stop)
            self.kinds["redis"] = f"embedded Redis ({self._redis.kind})"
        self._flags |= {_ADDRESSES[name]: address for name, address in addresses.items()}
        self.settings = load(Settings, path=self._config, environ=os.environ, flags=self._flags).settings
        if self._given["kafka"] is not None:
            asyncio.run(create_topics(self.settings.kafka, topics))
            self._undo.callback(lambda: asyncio.run(delete_topics(self.settings.kafka, list(topics))))
        if self._given["redis"] is not None:
            self._undo.callback(self._forget_policy)
        self._start_workers()

    def _start_workers(self) -> None:
        """Start the workers, with the settings of the demo in their environment."""
        config = ["--config", str(self._config)] if self._config is not None else []
        # The demo may run from a checkout that is not installed.
        path = [str(Path(worker.__path__[0]).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environ = {"PYTHONPATH": os.pathsep.join(path), EMBEDDED_VARIABLE: str(int(self._given["kafka"] is None))}
        environ["OPENBLAS_NUM_THREADS"] = "1"  # as the command line sets it for `alice-rl worker`
        for key, value in self._flags.items():
            environ[f"ALICE__{key.replace('.', '__').upper()}"] = _as_text(value)
        for process in self._workers:
            process.argv = [sys.executable, "-m", "worker.demo.member", *config]
            process.environ = environ
            process.start()

    def _forget_policy(self) -> None:
        """Take the demo's policy out of the user's Redis."""
        with contextlib.suppress(DependencyError), reaching(self.settings.redis.url):
            client = connect(self.settings.redis)
            for key in client.scan_iter(match=f"alice:{{{self._name}}}:*", count=1000):
                client.delete(key)
            client.close()


def _as_text(value: object) -> str:
    """A setting as an environment variable says it."""
    return value if isinstance(value, str) else "none" if value is None else msgspec.json.encode(value).decode()
