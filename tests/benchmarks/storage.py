"""What a checkpoint costs beside a plain SET of as many bytes."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any, cast

from alice_rl.snapshot.connection import RedisSettings
from alice_rl.snapshot.store import Store
from tests.benchmarks import workload
from tests.benchmarks.timing import Finding, Rates
from tests.services import RedisServer
from worker.checkpoint import Checkpoints

__all__ = ["measure_storage"]

_RECORDS_BETWEEN = 50


class _Timed:
    """A store that says how long its last checkpoint took."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def checkpoint(self, *args: Any, **options: Any) -> Any:
        started = perf_counter()
        applied = await self._store.checkpoint(*args, **options)
        self.seconds = perf_counter() - started
        return applied


def measure_storage(*, quick: bool) -> tuple[list[Finding], Rates]:
    """A partition's checkpoint, again and again, each after a few more records."""
    with RedisServer() as server:
        rates = asyncio.run(_measure(server.url, 60 if quick else 300))
    section = "Checkpoints, in time"
    return [
        Finding(section, "checkpoint (its script) / SET of as many bytes", rates.ratio("SET", "script"), "<= 2"),
        Finding(section, "checkpoint with making its bytes / SET of as many bytes", rates.ratio("SET", "checkpoint")),
    ], rates


async def _measure(url: str, rounds: int) -> Rates:
    structure = workload.lineage()
    _, log = workload.partition_log(4000 + rounds * _RECORDS_BETWEEN)
    store = Store.from_settings(RedisSettings(url=url), "alice")
    timed = _Timed(store)
    checkpoints = Checkpoints(cast(Store, timed), structure, "main", "bench", 60.0)
    await store.declare_lineage("main", structure.fingerprint, structure.to_json())
    holding = await checkpoints.claim(0, 1)
    assert holding is not None
    shard, rates = holding.shard, Rates(["SET", "script", "checkpoint"])
    shard.feed(log[:4000])
    for at in range(4000, len(log), _RECORDS_BETWEEN):
        shard.feed(log[at : at + _RECORDS_BETWEEN])
        value = b"".join(shard.buckets[bucket].to_bytes() for bucket in shard.buckets.changed)
        started = perf_counter()
        await store._redis.set("bench", value)
        plain = perf_counter() - started
        started = perf_counter()
        applied = await checkpoints.write(0, holding)
        whole = perf_counter() - started
        assert applied.done
        holding = holding._replace(stored_next=shard.next)
        for name, seconds in (("SET", plain), ("script", timed.seconds), ("checkpoint", whole)):
            rates.by_name[name].append(1.0 / seconds)
    await store.close()
    return rates
