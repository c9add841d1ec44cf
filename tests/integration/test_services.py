"""The servers of the suite do what the other tests rely on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import TopicAlreadyExistsError

from tests.services import KafkaBroker, MockBroker, RedisServer, unique_name

WAIT_SECONDS = 20.0


async def produce(bootstrap: str, topic: str, values: list[bytes], partition: int = 0) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type="gzip") as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=partition)


async def consume(bootstrap: str, topic: str, count: int, partition: int = 0) -> list[bytes]:
    where = TopicPartition(topic, partition)
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, fetch_max_wait_ms=50) as consumer:
        consumer.assign([where])
        await consumer.seek_to_beginning(where)
        return [(await asyncio.wait_for(consumer.getone(), WAIT_SECONDS)).value for _ in range(count)]


async def test_a_record_comes_back_as_it_was_sent(kafka: KafkaBroker | MockBroker, topic: str) -> None:
    """What is produced to a topic is consumed from it, in order."""
    await produce(kafka.bootstrap, topic, [b"one", b"two"])
    assert await consume(kafka.bootstrap, topic, 2) == [b"one", b"two"]


async def test_topics_have_the_partitions_asked_for(
    kafka: KafkaBroker | MockBroker, make_topic: Callable[[int], str]
) -> None:
    """`make_topic(n)` makes a topic with partitions 0 to n - 1."""
    name = make_topic(6)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        assert await producer.partitions_for(name) == set(range(6))


async def test_a_group_commits_and_resumes(kafka: KafkaBroker | MockBroker, topic: str) -> None:
    """A group that committed an offset goes on from there."""
    await produce(kafka.bootstrap, topic, [b"one", b"two"])
    group = unique_name("group")
    seen = []
    for _ in range(2):
        async with AIOKafkaConsumer(
            topic,
            bootstrap_servers=kafka.bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=50,
        ) as consumer:
            record = await asyncio.wait_for(consumer.getone(), WAIT_SECONDS)
            seen.append(record.value)
            await consumer.commit({TopicPartition(topic, 0): record.offset + 1})
    assert seen == [b"one", b"two"]


async def test_a_refused_topic_is_an_error(real_kafka: KafkaBroker, topic: str) -> None:
    """Creating a topic twice raises what the broker answered."""
    with pytest.raises(TopicAlreadyExistsError):
        real_kafka.create_topic(topic)


async def test_a_killed_broker_comes_back_with_its_records(real_kafka: KafkaBroker) -> None:
    """After `kill` and `restart` a broker has the same address and the same log."""
    with KafkaBroker(heap_mb=256) as broker:  # one of its own: the other tests need theirs to stay up
        broker.create_topic("kept")
        address = broker.bootstrap
        await produce(address, "kept", [b"one"])
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.restart)
        assert broker.bootstrap == address
        assert await consume(address, "kept", 1) == [b"one"]


def test_redis_keeps_what_it_is_given(redis_url: str) -> None:
    """A key that was set can be read, and the database was empty before."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("key", b"value")
        assert client.get("key") == b"value"


def test_redis_refuses_rather_than_evicts(redis_url: str) -> None:
    """The server's memory policy is the one the worker requires."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_a_killed_redis_restarts_with_its_append_only_file() -> None:
    """With `appendfsync always`, what was acknowledged before a crash is there after it, on the same port."""
    with RedisServer(appendonly=True, appendfsync="always") as server:
        url = server.url
        with redis.Redis.from_url(url) as client:
            client.set("key", b"value")
            server.kill()
            with pytest.raises(redis.ConnectionError):
                client.get("key")
            server.restart()
            assert server.url == url
            assert client.get("key") == b"value"


def test_a_paused_redis_does_not_answer_until_resumed() -> None:
    """`pause` leaves the connection open and unanswered; `resume` ends that."""
    with RedisServer() as server, redis.Redis.from_url(server.url, socket_timeout=0.2, retry=None) as client:
        client.set("key", b"value")
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.get("key")
        server.resume()
        assert client.get("key") == b"value"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child with its parent")
def test_no_server_outlives_a_killed_run(tmp_path: Path) -> None:
    """A run that is killed without a chance to clean up leaves no server behind."""
    pid_file = tmp_path / "pid"
    script = (
        "import sys, time, pathlib\n"
        "from tests.services import RedisServer\n"
        "server = RedisServer().start()\n"
        "pathlib.Path(sys.argv[1]).write_text(str(server._process.pid))\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script, str(pid_file)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": ".", "TMPDIR": str(tmp_path)},
    )
    assert run.stdout is not None
    assert run.stdout.readline() == b"ready\n"
    server = int(pid_file.read_text())
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    deadline = time.monotonic() + WAIT_SECONDS
    while _running(server) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _running(server)


def _running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"
