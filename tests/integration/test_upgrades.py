"""A change of structure while workers run: appended numerics roll over them, and anything else is refused."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alice_rl.episodes import JoinSettings
from alice_rl.errors import ConfigError, DependencyError
from alice_rl.feature_spec import FeatureSettings
from alice_rl.refold import Refold
from alice_rl.shard import Shard
from alice_rl.snapshot import keys
from alice_rl.snapshot.connection import connect_async
from alice_rl.snapshot.format import Snapshot, unpack
from alice_rl.snapshot.store import Store
from alice_rl.sums import Sums
from tests.integration.conftest import MakeSettings
from tests.logs import LogRecord, turns
from tests.streams import eventually, folded, produce, read_log, running, shard_digests
from worker.checkpoint import Checkpoints, Holding, read_state
from worker.peers import Peers
from worker.service import Worker
from worker.settings import Settings, WorkerSettings
from worker.solver import Taught, solve_policy

ROOT = Path(__file__).parents[2]
WIDE = FeatureSettings()
NARROW = FeatureSettings(numerics=WIDE.numerics[:3])
WAIT_SECONDS = 60.0


def changed(settings: Settings, **sections: Any) -> Settings:
    """The same deployment under another configuration."""
    return msgspec.structs.replace(settings, **sections)


async def refusal(running: asyncio.Task[None]) -> ConfigError:
    """Why a worker ended by itself."""
    with pytest.raises(ConfigError) as caught:
        await asyncio.wait_for(running, WAIT_SECONDS)
    return caught.value


async def live_snapshot(settings: Settings) -> Snapshot:
    """What serves."""
    store = Store.from_settings(settings.redis)
    try:
        blob = await store.get_snapshot((await store.read_head()).live or 0)
    finally:
        await store.close()
    assert blob is not None
    return unpack(blob)


async def refolded(settings: Settings) -> dict[int, Shard]:
    """An unbroken fold of every partition, under the structures that its checkpoint names."""
    store = Store.from_settings(settings.redis)
    shards = {}
    for partition, log in (await read_log(settings.kafka)).items():
        record = await store.shard_position(settings.policy.lineage, partition)
        assert record is not None
        refold = Refold.of(settings.lineage, read_state(record))
        refold.feed(log)
        shards[partition] = refold.shard
    await store.close()
    return shards


async def feed_slowly(settings: Settings, log: Sequence[LogRecord], pause: asyncio.Event) -> None:
    """Produce in small pieces; the last of them once `pause` is set."""
    pieces = [log[at : at + 100] for at in range(0, len(log), 100)]
    for piece in pieces[:-5]:
        await produce(settings.kafka, piece)
    await pause.wait()
    for piece in pieces[-5:]:
        await produce(settings.kafka, piece)


def delayed(log: Sequence[LogRecord], decisions: int) -> list[LogRecord]:
    """A log of decisions and outcomes in turn, with so many decisions open at any time."""
    chosen, ended = log[::2], log[1::2]
    rest = (record for pair in zip(chosen[decisions:], ended, strict=False) for record in pair)
    return [*chosen[:decisions], *rest, *ended[-decisions:]]


async def test_a_numeric_is_appended_under_load(make_settings: MakeSettings) -> None:
    """Workers of the old configuration end by themselves when one of the new starts; the sums are those of the fold
    that was extended at the offsets which the checkpoints name, with decisions open across them.
    """
    new = make_settings(partitions=2)
    old = changed(new, features=NARROW)
    log, taken_over = delayed(turns(1500, seed=8, split=True), decisions=20), asyncio.Event()
    producing = asyncio.create_task(feed_slowly(new, log, taken_over))
    before = [Worker(old), Worker(old)]
    ending = [asyncio.create_task(worker.run()) for worker in before]
    await eventually(lambda: all(len(worker.holdings) == 1 and folded(worker) > 50 for worker in before))
    async with running(new) as first:
        for error in [await refusal(task) for task in ending]:
            assert error.code == "lineage_extended"
            # Told by the refusal of a checkpoint, or by a peer's checkpoint that has grown already.
            assert "was extended" in error.message
            assert error.hint == "restart this worker with the new configuration"
        async with running(new) as second:
            await eventually(lambda: all(len(worker.holdings) == 1 for worker in (first, second)))
            taken_over.set()
            await producing
            await eventually(lambda: folded(first) + folded(second) == len(log))
            for worker in (first, second):
                (holding,) = worker.holdings.values()
                growths = holding.shard.grown
                assert [growth.numerics for growth in growths] == [3, 4]
                assert 0 < growths[1].offset < holding.shard.next
    shards = await refolded(new)
    assert await shard_digests(new) == {partition: shard.digest() for partition, shard in shards.items()}
    assert sum(shard.counts["episodes"] for shard in shards.values()) == 1500
    manifest = (await live_snapshot(new)).manifest
    assert manifest.lineage_fingerprint == new.lineage.fingerprint
    assert (manifest.features, manifest.counts["episodes"]) == (WIDE, 1500)
    # Not the fold of either structure alone: the log has the fourth numeric all the way.
    alone = {partition: Shard(new.lineage) for partition in shards}
    for partition, records in (await read_log(new.kafka)).items():
        alone[partition].feed(records)
        assert alone[partition].digest() != shards[partition].digest()


async def test_the_configuration_of_before_cannot_start(make_settings: MakeSettings) -> None:
    """Once a lineage was extended, a worker without the new numerics is refused, and nothing it did is left."""
    new = make_settings(partitions=1)
    await produce(new.kafka, turns(30))
    async with running(new) as worker:
        await eventually(lambda: folded(worker) == 30)
    digests = await shard_digests(new)
    error = await refusal(asyncio.create_task(Worker(changed(new, features=NARROW)).run()))
    assert error.code == "lineage_extended"
    assert "recent_cost_usd" in error.message
    assert await shard_digests(new) == digests


async def test_mixed_configurations_refuse_each_other(make_settings: MakeSettings) -> None:
    """A worker of another structure is told what differs and which replay to run; the one that runs goes on."""
    settings = make_settings(partitions=1)
    other = changed(settings, features=FeatureSettings(feature_dim=128), join=JoinSettings(horizon_seconds=60))
    await produce(settings.kafka, turns(30))
    async with running(settings) as worker:
        await eventually(lambda: folded(worker) == 30)
        error = await refusal(asyncio.create_task(Worker(other).run()))
        assert error.code == "lineage_mismatch"
        assert "features.feature_dim: 64 -> 128; join.horizon_seconds: 600 -> 60" in error.message
        assert "alice-rl replay --lineage main-2 --from earliest" in error.hint
        assert "alice-rl policy promote --lineage main-2" in error.hint
        await produce(settings.kafka, turns(30, seed=2))
        await eventually(lambda: folded(worker) == 60)
        assert set(worker.holdings) == {0}


async def test_a_worker_of_before_that_is_told_to_stop_ends_in_order(make_settings: MakeSettings) -> None:
    """Its last checkpoint is refused, which costs nothing: whoever takes over reads those records again."""
    seldom = WorkerSettings(checkpoint_interval_seconds=600, publish_interval_seconds=600)
    new = make_settings(partitions=1)
    old = changed(new, features=NARROW, worker=seldom)
    await produce(new.kafka, turns(40))
    worker = Worker(old)
    task = asyncio.create_task(worker.run())
    await eventually(lambda: 0 in worker.holdings and worker.holdings[0].shard.next == 40)
    store = Store.from_settings(new.redis)
    await store.declare_lineage("main", new.lineage.fingerprint, new.lineage.to_json())
    worker.stop()
    await asyncio.wait_for(task, WAIT_SECONDS)
    assert await store.load_shard("main", 0) is None
    await store.close()
    async with running(new) as successor:
        await eventually(lambda: folded(successor) == 40)
    assert await shard_digests(new) == {p: shard.digest() for p, shard in (await refolded(new)).items()}


async def test_a_redis_that_lost_the_extension_is_extended_again(make_settings: MakeSettings) -> None:
    """After a failover that lost its newest writes the worker ends with exit code 3, and its next start goes on."""
    new = make_settings(partitions=1)
    await produce(new.kafka, turns(30))
    worker = Worker(new)
    task = asyncio.create_task(worker.run())
    await eventually(lambda: folded(worker) == 30)
    narrow = changed(new, features=NARROW).lineage
    client = connect_async(new.redis)
    await client.set(keys.lineage_config("alice", "main"), f"{narrow.fingerprint} ".encode() + narrow.to_json())
    await client.aclose()
    await produce(new.kafka, turns(30, seed=2))
    with pytest.raises(DependencyError) as caught:
        await asyncio.wait_for(task, WAIT_SECONDS)
    assert caught.value.code == "lineage_refused"
    async with running(new) as again:
        await eventually(lambda: folded(again) == 60)
    assert await shard_digests(new) == {p: shard.digest() for p, shard in (await refolded(new)).items()}


async def test_what_peers_taught_before_is_padded(make_settings: MakeSettings) -> None:
    """While one partition is still stored in the old structure, a policy is solved of both in the new one."""
    new = make_settings(partitions=2)
    old = changed(new, features=NARROW)
    store = Store.from_settings(new.redis)
    await store.declare_lineage("main", old.lineage.fingerprint, old.lineage.to_json())
    theirs, ours = Shard(old.lineage), Shard(new.lineage)
    theirs.feed(turns(60, seed=1))
    ours.feed(turns(60, seed=2))
    checkpoints = Checkpoints(store, old.lineage, "main", "w-1", 15.0)
    held = await checkpoints.claim(1, 1)
    assert held is not None
    assert (await checkpoints.write(1, Holding(theirs, held.token, None))).done
    await store.declare_lineage("main", new.lineage.fingerprint, new.lineage.to_json())
    peers = Peers(store, new.lineage, "main")
    read, again = await peers.read(1), await peers.read(1)
    assert read is not None and again is not None
    theirs.grow(new.lineage)
    assert read.digest == again.digest == theirs.digest()
    assert sum(read.buckets.values(), start=Sums(new.lineage)).route.n.sum() > 0
    snapshot = solve_policy({0: Taught.of(ours), 1: read}, new, 1)
    assert snapshot.route_theta.shape[1] == WIDE.dim
    # The one that takes the partition over writes it anew, in the new structure, although no record came.
    taking = Checkpoints(store, new.lineage, "main", "w-2", 15.0)
    taken = await taking.claim(1, 2)
    assert taken is not None
    assert (await taking.write(1, taken)).done
    record = await store.load_shard("main", 1)
    assert record is not None
    assert read_state(record).digests == theirs.buckets.digests()
    assert (await peers.read(1) or read).digest == theirs.digest()
    with pytest.raises(ConfigError, match="extended"):
        await Peers(store, old.lineage, "main").read(1)
    with pytest.raises(ConfigError, match="extended"):
        await checkpoints.claim(1, 3)
    await store.close()


async def test_processes_roll_over(make_settings: MakeSettings, tmp_path: Path) -> None:
    """Exit code 2 with the reason for the worker of before, and 0 for its successor when that is told to end."""
    settings = make_settings(partitions=1)
    variables = {
        "ALICE__KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "ALICE__KAFKA__TOPIC": settings.kafka.topic,
        "ALICE__KAFKA__DEAD_LETTER_TOPIC": "",
        "ALICE__KAFKA__GROUP_ID": settings.kafka.group_id,
        "ALICE__REDIS__URL": settings.redis.url,
        "ALICE__TOOL__ARMS": ",".join(settings.tool.arms),
        "ALICE__WORKER__CHECKPOINT_INTERVAL_SECONDS": "0.1",
        "ALICE__WORKER__LEASE_SECONDS": "1",
        "PYTHONPATH": str(ROOT),
    }
    before = {"ALICE__FEATURES__NUMERICS": msgspec.json.encode(NARROW.numerics).decode()}
    await produce(settings.kafka, turns(20))

    async def start(name: str, extra: dict[str, str]) -> asyncio.subprocess.Process:
        with (tmp_path / name).open("wb") as output:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "worker.cli", "worker"),
                env=os.environ | variables | extra,
                stdout=output,
                stderr=output,
                cwd=tmp_path,
            )

    store = Store.from_settings(settings.redis)

    async def stored(offset: int) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while (record := await store.shard_position("main", 0)) is None or record.next < offset:
                await asyncio.sleep(0.05)

    old = await start("old.log", before)
    await stored(20)
    new = await start("new.log", {})
    assert await asyncio.wait_for(old.wait(), WAIT_SECONDS) == 2, (tmp_path / "old.log").read_text()
    told = (tmp_path / "old.log").read_text()
    assert "error: lineage main was extended by features recent_cost_usd" in told
    assert "hint: restart this worker with the new configuration" in told
    await produce(settings.kafka, turns(20, seed=2))
    await stored(40)
    new.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(new.wait(), WAIT_SECONDS) == 0, (tmp_path / "new.log").read_text()
    assert "lineage.extended" in (tmp_path / "new.log").read_text()
    assert await shard_digests(settings) == {p: shard.digest() for p, shard in (await refolded(settings)).items()}
    await store.close()
