"""The doctor's checks of Redis: it answers, keeps what it is given, and takes what a worker writes."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

from redis import exceptions

from alice_rl.errors import AliceError, DependencyError
from alice_rl.lineage_change import Relation
from alice_rl.snapshot import keys
from alice_rl.snapshot.connection import address, reaching
from worker.cli.checks import Check, failed, ok, skipped, warning
from worker.cli.inspector import Inspector, inspecting
from worker.settings import Settings

__all__ = ["redis_checks"]

_REST = ("redis eviction", "redis persistence", "redis writes", "redis scripts", "redis clock", "lineage")
_OLDEST_TESTED = (6, 2)
_CLOCK_SECONDS_MAX = 1.0
_PROBE_SECONDS = 10


class _Examiner(Inspector):
    """An inspector that also asks the server about itself."""

    async def ping(self) -> float:
        """How long an answer takes, seconds."""
        with reaching(self._where):
            await self._redis.ping()
            started = time.perf_counter()
            await self._redis.ping()
        return time.perf_counter() - started

    async def server(self) -> Mapping[str, Any] | None:
        """What the server says about itself, None when it may not be asked."""
        with reaching(self._where):
            try:
                info: Mapping[str, Any] = await self._redis.info()
            except (exceptions.NoPermissionError, exceptions.ResponseError):
                return None
        return info

    async def write_probe(self) -> None:
        """Do to a key of the policy, which is gone at once, what a worker does to the others."""
        key = f"{keys.meta(self._policy)}:probe:{uuid.uuid4().hex}"
        with reaching(self._where):
            await self._redis.set(key, b"probe", ex=_PROBE_SECONDS)
            await self._redis.get(key)
            await self._redis.delete(key)
            # Only a hint to look at the head, which is as it was.
            await self._redis.publish(keys.events(self._policy), b"probe")

    async def clock_difference(self) -> float:
        """How far Redis's clock is ahead of ours, seconds."""
        before = time.time()
        head = await self.read_head()
        return head.now_ms / 1000 - (before + time.time()) / 2


async def redis_checks(settings: Settings) -> AsyncIterator[Check]:
    """Look at Redis, one thing after the other."""
    where = address(settings.redis.url)
    async with inspecting(settings, _Examiner) as redis:
        try:
            seconds = await redis.ping()
        except DependencyError as error:
            yield failed("redis", error)
            for check in skipped(_REST, "Redis does not answer"):
                yield check
            return
        info = await redis.server()
        version = "" if info is None else str(info.get("redis_version", ""))
        yield _version_check(where, version, seconds)
        yield _eviction_check(info)
        yield _persistence_check(info)
        for name, attempt in (("redis writes", _writes), ("redis scripts", _scripts), ("redis clock", _clock)):
            yield await _attempted(name, attempt(redis, settings))
        yield await _attempted("lineage", _lineage(redis, settings))


async def _attempted(name: str, attempt: Any) -> Check:
    try:
        check: Check = await attempt
    except AliceError as error:
        return failed(name, error)
    return check


def _version_check(where: str, version: str, seconds: float) -> Check:
    words = f"Redis {version or 'of unknown version'} at {where} answers in {seconds * 1000:.1f} ms"
    parts = version.split(".")[:2]
    if all(part.isdecimal() for part in parts) and tuple(map(int, parts)) < _OLDEST_TESTED:
        return warning("redis", words, "older than 6.2, the oldest that Alice RL is tested with: update it")
    return ok("redis", words)


def _eviction_check(info: Mapping[str, Any] | None) -> Check:
    if info is None:
        return warning(
            "redis eviction", "unknown: this user may not run INFO", "see to it that maxmemory-policy is noeviction"
        )
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        return Check(
            "redis eviction",
            "failed",
            f"maxmemory-policy is {policy}: Redis would delete learned state when memory runs short",
            "redis-cli config set maxmemory-policy noeviction, and the same in redis.conf",
        )
    return ok("redis eviction", "maxmemory-policy is noeviction")


def _persistence_check(info: Mapping[str, Any] | None) -> Check:
    if info is None:
        return warning("redis persistence", "unknown: this user may not run INFO", "see to it that appendonly is yes")
    if info.get("role") not in (None, "master"):
        return Check(
            "redis persistence", "failed", "this is a replica, which takes no writes", "point redis.url at the primary"
        )
    if int(info.get("aof_enabled", 0)):
        return ok("redis persistence", "the append-only file is on")
    return warning(
        "redis persistence",
        "the append-only file is off: a crash of Redis loses checkpoints and policies",
        "redis-cli config set appendonly yes, and the same in redis.conf",
    )


async def _writes(redis: _Examiner, settings: Settings) -> Check:
    await redis.write_probe()
    return ok("redis writes", f"this user may write the keys of policy {settings.policy.name}")


async def _scripts(redis: _Examiner, settings: Settings) -> Check:
    head = await redis.read_head()
    return ok("redis scripts", "scripts run" + (f"; version {head.live} is live" if head.live is not None else ""))


async def _clock(redis: _Examiner, settings: Settings) -> Check:
    ahead = await redis.clock_difference()
    words = f"{abs(ahead):.2f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    if abs(ahead) > _CLOCK_SECONDS_MAX:
        return warning(
            "redis clock", words, "synchronise both clocks (NTP): ages and leases are shown by Redis's clock"
        )
    return ok("redis clock", words)


async def _lineage(redis: _Examiner, settings: Settings) -> Check:
    name, fingerprint = settings.policy.lineage, settings.lineage.fingerprint
    stands, change = await redis.lineage_change(name, fingerprint, settings.lineage.to_json())
    active = await redis.active_lineage()
    if not stands:
        return ok("lineage", f"{name} is new: the first worker declares it as {fingerprint[:12]}")
    if change.relation is Relation.EXTENDS:
        return warning(
            "lineage",
            f"this configuration extends {name} by features {change.features}",
            "restart all workers with it: the first one extends the lineage, and those of before end by themselves",
        )
    if change.relation is not Relation.EQUAL:
        return failed("lineage", change.refusal(name, await redis.replay_name(name, fingerprint)))
    if active != name:
        return warning(
            "lineage", f"{name} is as declared, but {active} is active", "a worker learns it, but publishes nothing"
        )
    return ok("lineage", f"{name} is as declared, {fingerprint[:12]}")
