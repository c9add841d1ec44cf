"""Servers for the integration tests: started once per run, with fresh topics and databases for each test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest
import redis
from hypothesis import settings

from alice_rl.errors import DependencyError
from tests.services import KafkaBroker, MockBroker, RedisServer, kafka_jars, unique_name

# A test says what is true, not how fast: a busy machine is no counterexample.
settings.register_profile("alice-rl", deadline=None)
settings.load_profile("alice-rl")

MakeTopic = Callable[[int], str]

_served: dict[str, str] = {}  # what the summary says about the servers of this run
_databases = itertools.count(1)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker | MockBroker]:
    """A broker for all tests: Apache Kafka, or (except under CI) a mock where Java or Maven is missing."""
    try:
        kafka_jars()
    except DependencyError as error:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"CI needs the real Kafka broker: {error}")
        _served["kafka"] = f"mock cluster, because {error}"
        broker: KafkaBroker | MockBroker = MockBroker()
    else:
        broker = KafkaBroker().start()
        _served["kafka"] = "Apache Kafka"
    yield broker
    broker.close()


@pytest.fixture
def real_kafka(kafka: KafkaBroker | MockBroker) -> KafkaBroker:
    """The broker, for what only Apache Kafka can show: restarts, transactions, offsets by time."""
    if not isinstance(kafka, KafkaBroker):
        pytest.skip(f"needs a real broker; this run has a {_served['kafka']}")
    return kafka


@pytest.fixture
def make_topic(kafka: KafkaBroker | MockBroker) -> MakeTopic:
    """A factory of unique topics: `make_topic(partitions)` returns the name."""

    def make(partitions: int = 1) -> str:
        name = unique_name("topic")
        kafka.create_topic(name, partitions)
        return name

    return make


@pytest.fixture
def topic(make_topic: MakeTopic) -> str:
    """A topic of one partition that no other test uses."""
    return make_topic(1)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis for the whole run; a test that stops, freezes or fills one starts its own `RedisServer`."""
    with RedisServer() as server:
        _served["redis"] = server.kind
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty logical database.

    A different one each time, so that a straggler of an earlier test writes elsewhere. Channels are shared by
    all databases: use `unique_name` for a policy whose notifications matter.
    """
    url = f"{redis_server.url.rsplit('/', 1)[0]}/{next(_databases) % redis_server.databases}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which servers the run has used."""
    for name, what in _served.items():
        terminalreporter.write_line(f"{name}: {what}")
