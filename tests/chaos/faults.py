"""The faults: what each kind does to its target, and how it is mended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import redis.asyncio

from tests.chaos.deployment import Deployment
from tests.chaos.fleet import Fleet, Member
from tests.chaos.plan import Fault
from tests.services import RedisServer

__all__ = ["carry_out"]

Say = Callable[[str], None]

_UNWRITTEN_SECONDS = 1.0  # what `appendfsync everysec` may lose
_FULL, _UNLIMITED = "1mb", "0"


async def carry_out(faults: Sequence[Fault], deployment: Deployment, fleet: Fleet, say: Say) -> None:
    """Inflict all faults, each at its time, and return when all are mended."""
    busy: dict[str, asyncio.Lock] = {fault.target: asyncio.Lock() for fault in faults}

    async def one(fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        async with busy[fault.target]:  # mending may take longer than planned
            say(f"{fault.kind} {fault.target} for {fault.seconds:.1f} s")
            await _inflict(fault, deployment, fleet)
            say(f"{fault.kind} {fault.target} mended")

    async with asyncio.TaskGroup() as group:
        for fault in faults:
            group.create_task(one(fault))


async def _inflict(fault: Fault, deployment: Deployment, fleet: Fleet) -> None:
    if fault.kind.endswith("_worker"):
        await _WORKER_FAULTS[fault.kind](fleet.members[fault.target], fault.seconds, fleet)
    elif fault.kind == "restart_kafka":
        await asyncio.to_thread(deployment.kafka.stop)
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(deployment.kafka.restart)
    else:
        await _REDIS_FAULTS[fault.kind](deployment.redis, fault.seconds)


async def _kill_worker(member: Member, seconds: float, _: Fleet) -> None:
    await member.kill()
    await asyncio.sleep(seconds)
    member.start()


async def _stop_worker(member: Member, seconds: float, fleet: Fleet) -> None:
    await fleet.stop_in_order(member)
    await asyncio.sleep(seconds)
    member.start()


async def _freeze_worker(member: Member, seconds: float, _: Fleet) -> None:
    process = member.process
    process.pause()
    await asyncio.sleep(seconds)
    process.resume()


async def _extra_worker(member: Member, seconds: float, fleet: Fleet) -> None:
    member.start()
    await asyncio.sleep(seconds)
    await fleet.stop_in_order(member)


async def _crash_redis(server: RedisServer, seconds: float) -> None:
    """Kill it as a crash of its machine would: what it wrote in the last second never reached the disk."""
    before = _append_only_sizes(server)
    await asyncio.sleep(_UNWRITTEN_SECONDS)
    await asyncio.to_thread(server.kill)
    for path, size in _append_only_sizes(server).items():
        os.truncate(path, before.get(path, size))
    await asyncio.sleep(seconds)
    await asyncio.to_thread(server.restart)


def _append_only_sizes(server: RedisServer) -> dict[Path, int]:
    """Sizes of the files that Redis only appends to."""
    return {path: path.stat().st_size for path in server.folder.rglob("*.incr.aof")}


async def _freeze_redis(server: RedisServer, seconds: float) -> None:
    server.pause()
    await asyncio.sleep(seconds)
    server.resume()


async def _fill_redis(server: RedisServer, seconds: float) -> None:
    await asyncio.to_thread(server.configure, "maxmemory", _FULL)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(server.configure, "maxmemory", _UNLIMITED)


async def _flush_scripts(server: RedisServer, _: float) -> None:
    await _command(server, "SCRIPT", "FLUSH")


async def _kill_connections(server: RedisServer, _: float) -> None:
    await _command(server, "CLIENT", "KILL", "TYPE", "normal")


async def _command(server: RedisServer, *words: str) -> None:
    async with redis.asyncio.Redis.from_url(server.url) as client:
        await client.execute_command(*words)


_WORKER_FAULTS: dict[str, Callable[[Member, float, Fleet], Awaitable[None]]] = {
    "kill_worker": _kill_worker,
    "stop_worker": _stop_worker,
    "freeze_worker": _freeze_worker,
    "extra_worker": _extra_worker,
}
_REDIS_FAULTS: dict[str, Callable[[RedisServer, float], Awaitable[None]]] = {
    "crash_redis": _crash_redis,
    "freeze_redis": _freeze_redis,
    "fill_redis": _fill_redis,
    "flush_scripts": _flush_scripts,
    "kill_connections": _kill_connections,
}
