"""The embedded broker under a consumer group of several processes, which is how the demo uses it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from worker.embedded.broker import EmbeddedBroker

ROOT = Path(__file__).parents[2]
PARTITIONS = 6
PER_PARTITION = 50
GROUP = "learners"
WAIT_SECONDS = 120.0

# Reads, says what it read and only then commits it: one JSON line [partition, offset] per record.
MEMBER = """
import asyncio, contextlib, json, sys
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from worker.embedded.assignor import EmbeddedAssignor

async def main():
    consumer = AIOKafkaConsumer(
        "telemetry", bootstrap_servers=sys.argv[1], group_id="learners", auto_offset_reset="earliest",
        enable_auto_commit=False, fetch_max_wait_ms=20, session_timeout_ms=6000, heartbeat_interval_ms=500,
        partition_assignment_strategy=[EmbeddedAssignor],
    )
    await consumer.start()
    try:
        while True:
            for where, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    print(json.dumps([record.partition, record.offset]), flush=True)
                with contextlib.suppress(KafkaError):  # in a rebalance: then somebody reads it once more
                    await consumer.commit({where: records[-1].offset + 1})
    finally:
        await consumer.stop()

asyncio.run(main())
"""


async def produce(bootstrap: str, rounds: range) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type="gzip") as producer:
        for number in rounds:
            for partition in range(PARTITIONS):
                await producer.send("telemetry", str(number).encode(), partition=partition)


async def member(bootstrap: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        MEMBER,
        bootstrap,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


async def follow(process: asyncio.subprocess.Process, name: int, seen: dict[tuple[int, int], set[int]]) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        partition, offset = json.loads(line)
        seen.setdefault((partition, offset), set()).add(name)


async def until_complete(seen: dict[tuple[int, int], set[int]], per_partition: int) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while len(seen) < PARTITIONS * per_partition:
            await asyncio.sleep(0.02)


async def test_three_processes_share_six_partitions_and_one_of_them_dies() -> None:
    """Three processes split the partitions; when one is killed, the others read on from the commits."""
    seen: dict[tuple[int, int], set[int]] = {}
    with EmbeddedBroker() as broker:
        bootstrap = broker.start({"telemetry": PARTITIONS})
        members = [await member(bootstrap) for _ in range(3)]
        followers = [asyncio.create_task(follow(process, name, seen)) for name, process in enumerate(members)]
        try:
            await produce(bootstrap, range(PER_PARTITION))
            await until_complete(seen, PER_PARTITION)
            await _until_all_take_part(bootstrap, seen)
            before = max(offset for _, offset in seen) + 1
            members[0].kill()
            await produce(bootstrap, range(PER_PARTITION))
            await until_complete(seen, before + PER_PARTITION)
            assert Counter(partition for partition, _ in seen) == dict.fromkeys(
                range(PARTITIONS), before + PER_PARTITION
            )
            await _until_committed(bootstrap, before + PER_PARTITION)
        finally:
            for process in members:
                if process.returncode is None:
                    process.kill()
                await process.wait()
            await asyncio.gather(*followers)


async def _until_all_take_part(bootstrap: str, seen: dict[tuple[int, int], set[int]]) -> None:
    """Produce a round at a time until one round was read by all three members."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            last = max(offset for _, offset in seen) + 1
            await produce(bootstrap, range(1))
            await until_complete(seen, last + 1)
            if len(set.union(*(seen[partition, last] for partition in range(PARTITIONS)))) == 3:
                return


async def _until_committed(bootstrap: str, offset: int) -> None:
    async with (
        asyncio.timeout(WAIT_SECONDS),
        AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=GROUP, enable_auto_commit=False) as consumer,
    ):
        places = [TopicPartition("telemetry", partition) for partition in range(PARTITIONS)]
        while [await consumer.committed(where) for where in places] != [offset] * PARTITIONS:
            await asyncio.sleep(0.02)
