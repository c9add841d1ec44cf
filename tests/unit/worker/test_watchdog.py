"""Is it learning? In virtual time, against a broker that the test speaks for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

import worker.watchdog
from alice_rl.shard import Shard
from tests.logs import LINEAGE, turns
from tests.unit.worker.steps import Clock, FakeConsumer, Logged
from worker.checkpoint import Holding
from worker.settings import WorkerSettings
from worker.watchdog import Watchdog

STALL, READY_LAG = 30.0, 60.0


class Watched:
    """A watchdog over partition 0: 40 of 100 records are read, and the log's clock is 10 seconds old."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock(monkeypatch)
        self.consumer = FakeConsumer(0, end=100)
        self.consumer.positions[0] = 40
        self.holdings = {0: holding(40)}
        self.troubles: list[str] = []
        self.age_seconds = 10.0
        settings = WorkerSettings(stall_seconds=STALL, ready_lag_seconds=READY_LAG)
        self.dog = Watchdog(settings, self.consumer, self.holdings, lambda: self.troubles)
        watermark = self.holdings[0].shard.watermark_ms / 1000
        monkeypatch.setattr(worker.watchdog, "time", SimpleNamespace(time=lambda: watermark + self.age_seconds))

    def stalled(self) -> tuple[int, ...]:
        """The partitions that do not move."""
        return self.dog.health.stalled

    async def after(self, seconds: float) -> None:
        """Let so much time pass, and look."""
        self.clock.now += seconds
        await self.dog.look()


def holding(read: int) -> Holding:
    """A partition of which so many records were read."""
    shard = Shard(LINEAGE)
    shard.feed(turns(read))
    return Holding(shard, 1, read)


@pytest.fixture
async def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Made inside the loop, whose clock it stops."""
    return Watched(monkeypatch)


async def test_nothing_is_believed_before_the_first_look(watched: Watched, logged: Logged) -> None:
    """A worker is not ready until somebody has looked."""
    assert (watched.dog.health.ready, watched.dog.health.reasons) == (False, ("it has not started",))
    await watched.after(0)
    assert (watched.dog.health.ready, watched.dog.health.reasons) == (True, ())
    assert logged.names == ["readiness.gained"]


async def test_a_partition_stalls_after_the_time_and_not_before(watched: Watched, logged: Logged) -> None:
    """What does not move although there is more to read is said after `stall_seconds`, and the client is renewed."""
    await watched.after(0)
    await watched.after(STALL - 0.1)
    assert (watched.stalled(), watched.dog.renewal_due) == ((), False)
    await watched.after(0.1)
    assert (watched.stalled(), watched.dog.renewal_due) == ((0,), True)
    assert watched.dog.health.reasons == ("partition 0 does not move from 40",)
    [entry] = logged.of("partition.stalled")
    assert (entry["position"], entry["end"], entry["seconds"]) == (40, 100, STALL)


async def test_a_stall_is_said_once_per_period(watched: Watched, logged: Logged) -> None:
    """While it lasts it is said, and the client renewed, every `stall_seconds`; not at every look."""
    await watched.after(0)
    await watched.after(STALL)
    watched.dog.renewal_due = False
    for _ in range(3):
        await watched.after(STALL / 4)
    assert (len(logged.of("partition.stalled")), watched.dog.renewal_due) == (1, False)
    await watched.after(STALL / 4)
    assert (len(logged.of("partition.stalled")), watched.dog.renewal_due) == (2, True)


async def test_a_stalled_partition_that_moves_is_said_and_forgiven(watched: Watched, logged: Logged) -> None:
    """Once it moves, the worker is ready again, and the time begins anew."""
    await watched.after(0)
    await watched.after(STALL)
    watched.consumer.positions[0] = 41
    await watched.after(STALL / 4)
    assert (watched.dog.health.ready, watched.stalled()) == (True, ())
    assert [entry["position"] for entry in logged.of("partition.moved")] == [41]
    await watched.after(STALL - 0.1)
    assert watched.stalled() == ()


async def test_moving_slowly_is_no_stall(watched: Watched) -> None:
    """One record per look is enough."""
    for _ in range(20):
        watched.consumer.positions[0] = (watched.consumer.positions[0] or 0) + 1
        await watched.after(STALL / 2)
        assert watched.stalled() == ()


async def test_nothing_to_read_is_no_stall(watched: Watched) -> None:
    """A quiet night is no stall, and its time does not count once there is something to read again."""
    watched.consumer.positions[0] = 100
    await watched.after(0)
    await watched.after(10 * STALL)
    watched.consumer.end[0] = 101
    await watched.after(STALL - 0.1)
    assert watched.stalled() == ()
    await watched.after(0.1)
    assert watched.stalled() == (0,)


async def test_an_unknown_position_stalls_too(watched: Watched) -> None:
    """A client that does not know where it is does not move either."""
    watched.consumer.positions[0] = None
    await watched.after(0)
    await watched.after(STALL)
    assert watched.stalled() == (0,)


async def test_a_partition_that_is_given_away_is_forgotten(watched: Watched, logged: Logged) -> None:
    """Its stall is nobody's concern here any more, and does not wait for its return."""
    await watched.after(0)
    await watched.after(STALL)
    gone = watched.holdings.pop(0)
    await watched.after(1)
    assert (watched.dog.health.ready, watched.stalled()) == (True, ())
    watched.holdings[0] = gone
    await watched.after(STALL)
    assert watched.stalled() == ()
    assert "partition.moved" not in logged.names


async def test_kafkas_absence_and_return_are_said_once(watched: Watched, logged: Logged) -> None:
    """While the brokers do not answer the worker is not ready; each turn is one line."""
    await watched.after(0)
    watched.consumer.away = True
    for _ in range(3):
        await watched.after(1)
    assert watched.dog.health.reasons == ("Kafka does not answer",)
    watched.consumer.away = False
    await watched.after(1)
    await watched.after(1)
    assert watched.dog.health.ready
    assert logged.names == [
        *("readiness.gained", "kafka.unreachable", "readiness.dropped"),
        *("kafka.recovered", "readiness.gained"),
    ]


async def test_kafkas_absence_is_no_stall(watched: Watched) -> None:
    """After an outage a partition has its whole time again: until then nothing could move."""
    await watched.after(0)
    watched.consumer.away = True
    await watched.after(2 * STALL)
    watched.consumer.away = False
    await watched.after(STALL / 4)
    assert (watched.stalled(), watched.dog.renewal_due) == ((), False)
    await watched.after(STALL)
    assert watched.stalled() == (0,)


async def test_a_stall_outlasts_kafkas_absence(watched: Watched) -> None:
    """What stalled before an outage stays stalled until it moves."""
    await watched.after(0)
    await watched.after(STALL)
    watched.consumer.away = True
    await watched.after(1)
    assert watched.stalled() == (0,)


async def test_without_partitions_kafka_is_not_asked(watched: Watched) -> None:
    """A worker that was given nothing is ready: there may be more workers than partitions."""
    watched.holdings.clear()
    watched.consumer.away = True
    await watched.after(0)
    assert (watched.dog.health.ready, watched.dog.health.lag_records, watched.dog.health.lag_seconds) == (True, 0, 0.0)


async def test_troubles_of_the_worker_are_reasons(watched: Watched, logged: Logged) -> None:
    """What the worker itself tells keeps it from being ready; the same reason is said once."""
    await watched.after(0)
    watched.troubles.append("Redis or Kafka is away")
    for _ in range(3):
        await watched.after(1)
    assert watched.dog.health.reasons == ("Redis or Kafka is away",)
    assert [entry["reasons"] for entry in logged.of("readiness.dropped")] == [["Redis or Kafka is away"]]


async def test_a_partition_that_is_being_restored_is_a_reason(watched: Watched) -> None:
    """Until the joiner is rebuilt nothing new is learned."""
    shard = watched.holdings[0].shard
    buckets = {str(bucket): sums.to_bytes() for bucket, sums in shard.buckets.items()}
    watched.holdings[0] = Holding(Shard.restore(LINEAGE, shard.state, buckets), 1, 40)
    watched.age_seconds = 0
    await watched.after(0)
    assert "restoring partition 0" in watched.dog.health.reasons
    watched.holdings[0].shard.feed(turns(40))
    await watched.after(1)
    assert watched.dog.health.ready


async def test_lag_is_the_age_of_the_logs_clock_where_something_is_left(watched: Watched) -> None:
    """Records are added up; seconds are those of the partition that is furthest behind, of those that are behind."""
    watched.holdings[1] = holding(20)  # 20 seconds further back
    await watched.after(0)
    assert (watched.dog.health.lag_records, watched.dog.health.lag_seconds) == (60 + 80, 30.0)
    watched.consumer.end[1] = 20
    await watched.after(1)
    assert (watched.dog.health.lag_records, watched.dog.health.lag_seconds) == (60, 10.0)
    watched.consumer.end[0] = 40
    await watched.after(1)
    assert (watched.dog.health.lag_records, watched.dog.health.lag_seconds) == (0, 0.0)


async def test_a_worker_that_is_far_behind_is_not_ready(watched: Watched) -> None:
    """More than `ready_lag_seconds` behind is a reason; that many are not."""
    watched.age_seconds = READY_LAG
    await watched.after(0)
    assert watched.dog.health.ready
    watched.age_seconds = READY_LAG + 1
    await watched.after(1)
    assert watched.dog.health.reasons == ("behind by 60 records, 61 s",)


async def test_it_looks_until_it_is_cancelled(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` looks four times within the time after which a partition counts as stalled."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        watched.clock.now += seconds
        if len(slept) == 6:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await watched.dog.run()
    assert slept == [STALL / 4] * 6
    assert watched.stalled() == (0,)
