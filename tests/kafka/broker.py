"""A real Apache Kafka, private to one run, and its stand-in where Java or Maven is missing."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import socket
import subprocess
import threading
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from alice_rl.errors import DependencyError
from tests.kafka.jars import kafka_jars
from tests.server import Server
from worker.embedded.broker import EmbeddedBroker
from worker.embedded.process import free_port

__all__ = ["KafkaBroker", "MockBroker"]

START_TIMEOUT_SECONDS = 90.0
REQUEST_TIMEOUT_MS = 5_000
READINESS_TOPIC = "readiness"

T = TypeVar("T")


class KafkaBroker(Server):
    """A single-node Apache Kafka in KRaft mode.

    Parameters
    ----------
    properties : mapping of str to str, optional
        Broker properties on top of (or instead of) the ones below.
    heap_mb : int
        Maximum heap of the JVM, in MiB.

    Attributes
    ----------
    kind : str
        ``kafka``; the fallback's is ``mock``.
    bootstrap : str
        ``127.0.0.1:<port>``
    """

    kind = "kafka"
    start_timeout_seconds = START_TIMEOUT_SECONDS

    def __init__(self, properties: Mapping[str, str] | None = None, heap_mb: int = 512) -> None:
        self._classpath = f"{kafka_jars()}/*"
        super().__init__("alice-rl-kafka-")
        self._extra = dict(properties or {})
        self._heap_mb = heap_mb
        self.bootstrap = ""

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Create a topic with one replica.

        Raises
        ------
        KafkaError
            If the broker refuses, for example because the topic exists.
        """
        _run(self._create_topic(name, partitions, config or {}))

    def delete_topic(self, name: str) -> None:
        """Delete a topic and its records."""
        _run(self._delete_topic(name))

    def delete_records(self, name: str, before: Mapping[int, int]) -> None:
        """Delete the records of a topic's partitions before an offset, as retention would."""
        _run(self._delete_records(name, before))

    def add_partitions(self, name: str, total: int) -> None:
        """Raise a topic's number of partitions to `total`."""
        _run(self._add_partitions(name, total))

    # Readiness is a record produced to a topic of our own: an open port says nothing about leaders.
    def _ready(self) -> bool:
        if not _accepts_connections(self.bootstrap):  # aiokafka logs every refused connection as an error
            return False
        try:
            return _run(self._probe())
        except (KafkaError, OSError, TimeoutError):
            return False

    async def _probe(self) -> bool:
        with contextlib.suppress(TopicAlreadyExistsError):
            await self._create_topic(READINESS_TOPIC, 1, {})
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, request_timeout_ms=REQUEST_TIMEOUT_MS) as out:
            await out.send_and_wait(READINESS_TOPIC, b"ready")
        return True

    async def _create_topic(self, name: str, partitions: int, config: Mapping[str, str]) -> None:
        async with _admin(self.bootstrap) as admin:
            reply = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=dict(config))])
        _raise_first_error((row[0], row[1]) for row in reply.topic_errors)

    async def _delete_topic(self, name: str) -> None:
        async with _admin(self.bootstrap) as admin:
            reply = await admin.delete_topics([name])
        _raise_first_error((row[0], row[1]) for row in reply.topic_error_codes)

    async def _delete_records(self, name: str, before: Mapping[int, int]) -> None:
        async with _admin(self.bootstrap) as admin:
            await admin.delete_records({TopicPartition(name, p): RecordsToDelete(o) for p, o in before.items()})

    async def _add_partitions(self, name: str, total: int) -> None:
        async with _admin(self.bootstrap) as admin:
            reply = await admin.create_partitions({name: NewPartitions(total)})
        _raise_first_error((row[0], row[1]) for row in reply.topic_errors)

    def _prepare(self) -> None:
        port, controller = free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{port}"
        data = self.folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        properties = _broker_properties(port, controller, data) | self._extra
        self._config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        self._format_storage()

    @property
    def _config(self) -> Path:
        return self.folder / "server.properties"

    def _format_storage(self) -> None:
        # The cluster id is 22 characters of URL-safe base64; a leading "-" would read as an option.
        cluster = "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        command = [*self._java(), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_TIMEOUT_SECONDS)
        if done.returncode != 0:
            raise DependencyError(f"Kafka could not format its storage:\n{done.stdout}{done.stderr}")

    def _java(self) -> list[str]:
        # Small and quick to start: one collector thread, no optimising compiler.
        options = [
            f"-Xmx{self._heap_mb}m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dlog4j2.level=WARN",
        ]
        return ["java", *options, "-cp", self._classpath]

    def _command(self) -> list[str]:
        return [*self._java(), "kafka.Kafka", str(self._config)]


def _accepts_connections(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except OSError:
        return False
    return True


@contextlib.asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


def _raise_first_error(rows: Iterator[tuple[str, int]]) -> None:
    for name, code in rows:
        if code:
            raise for_code(code)(f"topic {name!r}")


def _broker_properties(port: int, controller: int, data: Path) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
        # One node can hold one replica, and one partition of each internal topic is quick to create.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        # Tests wait for rebalances and expired sessions: let both be quick.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        # After `kill`, the controller must give up on the old incarnation before it takes the new one:
        # default 9 s.
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "500",
        # Compaction is looked for every 15 s by default.
        "log.retention.ms": "-1",  # event time is long ago, and a test may live to see the broker look for old records
        "log.cleaner.backoff.ms": "200",
        # A test that forgets to create its topic should fail, not pass on one it did not ask for.
        "auto.create.topics.enable": "false",
    }


class MockBroker:
    """The fallback where Java or Maven is missing: librdkafka's mock cluster behind the same few methods."""

    kind = "mock"

    def __init__(self) -> None:
        self._broker = EmbeddedBroker()
        self.bootstrap = self._broker.start({})

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Create a topic; `config` is accepted for the real broker's sake and has no effect."""
        self._broker.create_topic(name, partitions)

    def close(self) -> None:
        """Stop it."""
        self._broker.stop()


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a loop of its own, whether or not the caller is inside another loop."""
    results: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:  # handed to the caller below
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
