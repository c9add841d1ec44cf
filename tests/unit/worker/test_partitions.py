"""The partitions that a worker holds: claimed, folded, checkpointed, let go."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from msgspec import structs

from alice_rl.errors import DependencyError
from alice_rl.intake import Record, Rejected
from alice_rl.kafka import KafkaSettings
from alice_rl.shard import Shard
from alice_rl.snapshot import keys
from alice_rl.snapshot.records import Applied
from alice_rl.snapshot.store import Store
from tests.logs import LogRecord, records, turn, turns
from tests.unit.worker.steps import Clock, FakeConsumer, FakeDeadLetters, Logged, held, makes_checkpoints, taught
from worker.assignment import Assignment
from worker.checkpoint import Holding
from worker.partitions import Partitions
from worker.settings import Settings, WorkerSettings

LOG = turns(40)


class Cast:
    """Partitions with the stand-ins that they work with."""

    def __init__(self, store: Store, settings: Settings, *assigned: int) -> None:
        self.consumer, self.dead_letters = FakeConsumer(*assigned), FakeDeadLetters()
        self.checkpoints = makes_checkpoints(store, settings)
        consumer, dead_letters = self.consumer, self.dead_letters
        self.assignment = Assignment(settings, consumer, self.checkpoints)
        lease_seconds = settings.worker.lease_seconds
        self.partitions = Partitions(self.assignment, consumer, dead_letters, lease_seconds)

    @property
    def holdings(self) -> dict[int, Holding]:
        return self.assignment.holdings

    async def work(self, records: Sequence[LogRecord], partition: int = 0) -> None:
        """Settle, fold and checkpoint."""
        await self.assignment.settle()
        await self.partitions.fold({partition: records})
        await self.partitions.checkpoint()


@pytest.fixture
def cast(store: Store, settings: Settings) -> Cast:
    """A worker that the group has given the partitions 0 and 1."""
    return Cast(store, settings, 0, 1)


async def test_what_is_assigned_is_claimed_and_read_from_its_start(cast: Cast, logged: Logged) -> None:
    """A new partition is read from what the topic still holds, and everything is settled then."""
    cast.consumer.first = {0: 0, 1: 30}
    before = cast.assignment.settled
    await cast.assignment.settle()
    assert (before, cast.assignment.settled) == (False, True)
    assert cast.consumer.seeks == [(0, 0), (1, 30)]
    assert (cast.holdings[1].shard.start, cast.holdings[1].shard.next) == (30, 30)
    assert logged.names == ["partition.assigned", "partition.assigned"]


async def test_a_new_partition_may_begin_at_the_end(store: Store, settings: Settings) -> None:
    """With `start_from = "latest"` what stands in the log already is not learned."""
    latest = structs.replace(settings, kafka=KafkaSettings(start_from="latest"))
    cast = Cast(store, latest, 0)
    await cast.work([])
    assert cast.consumer.seeks == [(0, 1000)]
    assert cast.holdings[0].shard.start == 1000


async def test_a_checkpoint_is_gone_on_from_wherever_reading_begins(store: Store, settings: Settings) -> None:
    """`start_from` is for partitions without a checkpoint alone; the others go on, and rebuild their joiner first."""
    before = await taught(makes_checkpoints(store, settings), LOG)
    cast = Cast(store, structs.replace(settings, kafka=KafkaSettings(start_from="latest")), 0)
    await cast.assignment.settle()
    shard = cast.holdings[0].shard
    assert cast.consumer.seeks == [(0, before.shard.state.low.offset)]
    assert (shard.next, shard.rebuilding) == (40, True)


async def test_revoked_partitions_are_let_go_of(cast: Cast, logged: Logged) -> None:
    """What the group takes away is dropped and not written; what stays is kept as it is."""
    await cast.work(LOG)
    kept = cast.holdings[0]
    cast.consumer.assign(0)
    assert not cast.assignment.settled
    await cast.assignment.settle()
    assert (list(cast.holdings), cast.holdings[0]) == ([0], kept)
    assert [entry["partition"] for entry in logged.of("partition.revoked")] == [1]


async def test_records_of_a_partition_that_is_not_held_are_dropped(cast: Cast) -> None:
    """What was fetched before a rebalance belongs to somebody else by now."""
    await cast.assignment.settle()
    await cast.partitions.fold({5: LOG})
    assert cast.partitions.counts == {}


async def test_the_last_record_is_read_again_when_a_partition_stays(cast: Cast) -> None:
    """After a rebalance it is seen whether the log is still the same one: another one is refused."""
    await cast.work(LOG)
    cast.consumer.assign(0, 1)
    await cast.assignment.settle()
    assert cast.consumer.seeks[2:] == [(0, 39), (1, 0)]
    await cast.partitions.fold({0: [LOG[39], *records([turn("new")], 40)]})
    assert cast.holdings[0].shard.next == 41
    assert cast.partitions.counts["records"] == 41  # the record that was read again counts once
    cast.consumer.assign(0, 1)
    await cast.assignment.settle()
    with pytest.raises(DependencyError, match="made anew"):
        await cast.partitions.fold({0: records([turn("other")], 40)})


async def test_a_resume_never_asks_for_what_left_retention(cast: Cast) -> None:
    """When all that was read has left the topic meanwhile, reading goes on where the topic begins."""
    await cast.work(LOG)
    cast.consumer.first[0] = 40
    cast.consumer.assign(0)
    await cast.assignment.settle()
    assert cast.consumer.seeks[-1] == (0, 40)


@pytest.mark.parametrize(("first", "end", "code"), [(41, 90, "log_truncated"), (0, 39, "log_recreated")])
async def test_a_gap_in_the_log_is_refused(cast: Cast, first: int, end: int, code: str) -> None:
    """A topic that begins after the next record, or ends before it, cannot be gone on with."""
    await cast.work(LOG)
    cast.assignment.release()
    cast.consumer.first[0], cast.consumer.end[0] = first, end
    with pytest.raises(DependencyError) as caught:
        await cast.assignment.settle()
    assert caught.value.code == code


async def test_a_resume_refuses_a_gap_as_well(cast: Cast) -> None:
    """What left retention before it was read is missing, also to a worker that held the partition all the time."""
    await cast.work(LOG)
    cast.consumer.first[0] = 41
    cast.consumer.assign(0)
    with pytest.raises(DependencyError) as caught:
        await cast.assignment.settle()
    assert caught.value.code == "log_truncated"


async def test_a_partition_that_another_claimed_is_claimed_again(
    cast: Cast, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was slower says so, stays unsettled, and tries again after a pause."""
    claim = cast.checkpoints.claim

    async def slower(partition: int, epoch: int, source: str = "") -> None:
        return None

    monkeypatch.setattr(cast.checkpoints, "claim", slower)
    await cast.assignment.settle()
    assert (cast.assignment.settled, cast.holdings) == (False, {})
    assert logged.names == ["partition.fenced", "partition.fenced"]
    monkeypatch.setattr(cast.checkpoints, "claim", claim)
    clock = Clock(monkeypatch)
    waits = cast.assignment.settling_due
    clock.now += 60
    assert (waits, cast.assignment.settling_due) == (False, True)
    await cast.assignment.settle()
    assert (cast.assignment.settled, sorted(cast.holdings)) == (True, [0, 1])


async def test_a_rebalance_while_settling_starts_over(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the group moves meanwhile, what was settled is not believed."""
    ends = cast.consumer.log_ends

    async def moving(partition: int) -> tuple[int, int]:
        cast.consumer.assign(1)
        return await ends(partition)

    monkeypatch.setattr(cast.consumer, "log_ends", moving)
    await cast.assignment.settle()
    assert not cast.assignment.settled
    monkeypatch.undo()
    await cast.assignment.settle()
    assert (cast.assignment.settled, sorted(cast.holdings)) == (True, [1])


async def test_rejected_records_go_to_the_dead_letters(cast: Cast) -> None:
    """What cannot be learned is counted and sent on, with its partition."""
    await cast.work(records([turn("a"), b"garbage"]), partition=1)
    assert [(partition, one.offset, one.reason) for partition, one in cast.dead_letters.sent] == [
        (1, 1, "malformed_json")
    ]
    assert (cast.partitions.counts["records"], cast.partitions.counts["rejected"]) == (2, 1)


async def test_the_end_of_a_rebuild_is_said(store: Store, settings: Settings, logged: Logged) -> None:
    """A partition counts as restored once a record after its checkpoint was folded."""
    await taught(makes_checkpoints(store, settings), LOG)
    cast = Cast(store, settings, 0)
    await cast.assignment.settle()
    await cast.partitions.fold({0: LOG[:20]})
    assert "partition.restored" not in logged.names
    await cast.partitions.fold({0: LOG[20:]})
    [entry] = logged.of("partition.restored")
    assert entry["next"] == 40
    assert cast.partitions.counts["records"] == 0  # all of them were folded before


async def test_a_shard_that_moved_is_written_and_its_offset_committed(cast: Cast, store: Store) -> None:
    """Redis has the offset after a checkpoint, and the group is told; what did not move is left alone."""
    await cast.work(LOG)
    assert cast.holdings[0].stored_next == 40
    assert cast.consumer.committed == [{0: 40, 1: 0}]
    await cast.partitions.fold({0: records([turn("new")], 40)})
    await cast.partitions.checkpoint()
    assert cast.consumer.committed[1:] == [{0: 41}]
    record = await store.shard_position("main", 0)
    assert record is not None and record.next == 41


async def test_idle_leases_are_renewed_after_a_third_of_them(
    cast: Cast, store: Store, monkeypatch: pytest.MonkeyPatch, client: Any
) -> None:
    """Somebody who has nothing to read keeps its partitions, and does not write more often than it must."""
    clock = Clock(monkeypatch)
    await cast.work(LOG)
    lease = WorkerSettings().lease_seconds
    await client.hset(keys.owner("alice", "main", 0), "lease", 1)
    clock.now += lease / 3 - 0.1
    await cast.partitions.checkpoint()
    assert await lease_until_ms(store) == 1
    clock.now += 0.2
    await cast.partitions.checkpoint()
    assert await lease_until_ms(store) > 1
    await client.hset(keys.owner("alice", "main", 0), "lease", 1)
    clock.now += lease / 3 - 0.1
    await cast.partitions.checkpoint()
    assert await lease_until_ms(store) == 1


async def lease_until_ms(store: Store) -> int:
    """Until when partition 0 is held, as Redis has it."""
    owner = await store.owner("main", 0)
    assert owner is not None
    return owner.lease_until_ms


async def test_a_shard_that_is_being_rebuilt_is_not_written(store: Store, settings: Settings) -> None:
    """Half a joiner is no checkpoint."""
    await taught(makes_checkpoints(store, settings), LOG)
    cast = Cast(store, settings, 0)
    await cast.work(LOG[:20])
    assert cast.consumer.committed == []


async def test_a_fenced_partition_is_let_go_of_and_loaded_again(
    cast: Cast, store: Store, settings: Settings, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another worker has claimed since is not written; the partition is claimed and read anew."""
    await cast.work(LOG[:10])
    await held(makes_checkpoints(store, settings, worker="other"))
    await cast.partitions.fold({0: LOG[10:]})
    await cast.partitions.checkpoint()
    assert (list(cast.holdings), cast.assignment.settled) == ([1], False)
    assert [(entry["partition"], entry["reason"]) for entry in logged.of("partition.fenced")] == [(0, "FENCED")]
    Clock(monkeypatch).now += 60
    await cast.work(LOG)
    assert cast.holdings[0].stored_next == 40
    whole = await held(makes_checkpoints(store, settings))
    assert whole.shard.digest() == cast.holdings[0].shard.digest()


async def test_a_lineage_that_is_not_declared_any_more_is_fatal(cast: Cast, client: Any) -> None:
    """When Redis does not know this configuration, the worker says so instead of trying again."""
    await cast.work(LOG[:10])
    await client.delete(keys.lineage_config("alice", "main"))
    await cast.partitions.fold({0: LOG[10:]})
    with pytest.raises(DependencyError) as caught:
        await cast.partitions.checkpoint()
    assert caught.value.code == "lineage_refused"


async def test_what_was_written_counts_although_another_write_failed(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """One partition whose write fails costs the others nothing: they go on from what Redis has taken."""
    await cast.work([])
    write = cast.checkpoints.write

    async def broken(partition: int, holding: Holding) -> Applied:
        if partition == 0:
            raise DependencyError("Redis is away", code="redis_unreachable")
        return await write(partition, holding)

    monkeypatch.setattr(cast.checkpoints, "write", broken)
    await cast.partitions.fold({0: LOG[:20], 1: LOG[:20]})
    with pytest.raises(DependencyError, match="away"):
        await cast.partitions.checkpoint()
    monkeypatch.undo()
    await cast.partitions.fold({0: LOG[20:], 1: LOG[20:]})
    await cast.partitions.checkpoint()
    assert "partition.fenced" not in logged.names
    assert {partition: holding.stored_next for partition, holding in cast.holdings.items()} == {0: 40, 1: 40}


async def test_after_a_release_everything_is_claimed_anew(cast: Cast) -> None:
    """Whoever lets go of everything is not settled, and starts from the checkpoints."""
    await cast.work(LOG)
    before = cast.holdings[0].token
    cast.assignment.release()
    assert (cast.holdings, cast.assignment.settled) == ({}, False)
    await cast.assignment.settle()
    assert cast.holdings[0].token > before
    assert cast.holdings[0].shard.rebuilding


@pytest.mark.parametrize(
    ("deadly", "checkpointed"), [({100}, 0), ({100}, 80), ({100, 101}, 0), ({30, 100, 390}, 20), ({0, 399}, 0)]
)
async def test_records_that_kill_are_found_and_passed_over(
    store: Store, settings: Settings, deadly: set[int], checkpointed: int
) -> None:
    """Worker after worker dies, until each of the records is found; all the others are learned."""
    log = turns(400)
    if checkpointed:
        await taught(makes_checkpoints(store, settings), log[:checkpointed])
    for _ in range(8 * len(deadly)):
        with suppress(Killed):
            shard = await lived(Cast(store, settings, 0), log, deadly)
            break
    else:
        pytest.fail("they die for ever")
    assert (shard.skipped, shard.next, shard.counts["episodes"]) == (deadly, 400, 400 - len(deadly))


async def test_nothing_is_suspected_where_nothing_is_to_be_read(
    store: Store, settings: Settings, logged: Logged
) -> None:
    """A quiet partition that is claimed again and again is no reason for alarm; one with records to read is."""
    await taught(makes_checkpoints(store, settings), LOG)
    for _ in range(4):
        cast = Cast(store, settings, 0)
        cast.consumer.end[0] = 40
        await cast.assignment.settle()
    assert (cast.holdings[0].suspicion, "record.suspected" in logged.names) == (None, False)
    await Cast(store, settings, 0).assignment.settle()
    assert "record.suspected" in logged.names


class Killed(BaseException):
    """The end of a process."""


async def lived(cast: Cast, log: Sequence[LogRecord], deadly: set[int]) -> Shard:
    """One worker's life: its shard, unless a record kills it."""
    await cast.assignment.settle()
    shard = cast.holdings[0].shard
    feed = shard.feed

    def feed_or_die(records: Sequence[Record]) -> list[Rejected]:
        if (deadly - shard.skipped) & {record.offset for record in records}:
            raise Killed
        return feed(records)

    shard.feed = feed_or_die  # type: ignore[method-assign]
    await cast.partitions.fold({0: log[cast.consumer.seeks[-1][1] :]})
    await cast.partitions.checkpoint()
    return shard
