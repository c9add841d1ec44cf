"""Whether Redis is fit to hold what was learned: it answers, and it never evicts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from redis import exceptions

from alice_rl.errors import DependencyError
from alice_rl.log import get_logger
from alice_rl.snapshot.connection import is_transient, reaching

__all__ = ["ensure_ready", "wait_ready"]

logger = get_logger(__name__)
_PAUSE_FIRST_SECONDS = 0.1
_PAUSE_MAX_SECONDS = 5.0


async def ensure_ready(client: Any, where: str) -> None:
    """Check once.

    Raises
    ------
    DependencyError
        Redis is away, or its `maxmemory-policy` is not `noeviction`: it would delete shards under load.
    """
    with reaching(where):
        await client.ping()
        try:
            memory: Mapping[str, Any] = await client.info("memory")
        except exceptions.ResponseError as error:  # fakeredis has no INFO, and an ACL may forbid it
            logger.warning("redis.policy_unchecked", address=where, reason=str(error))
            return
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        raise DependencyError(
            f"Redis at {where} runs with maxmemory-policy {policy}",
            code="redis_evicts",
            hint="it would delete learned state; set maxmemory-policy noeviction in redis.conf",
        )


async def wait_ready(client: Any, where: str, timeout_seconds: float) -> None:
    """Check until it passes, with growing, jittered pauses.

    Raises
    ------
    DependencyError
        Not ready after `timeout_seconds`, or for a reason that waiting does not mend.
    """
    clock = asyncio.get_running_loop().time
    give_up_at = clock() + timeout_seconds
    pause_seconds = _PAUSE_FIRST_SECONDS
    while True:
        try:
            return await ensure_ready(client, where)
        except DependencyError as error:
            left_seconds = give_up_at - clock()
            if left_seconds <= 0 or not is_transient(error):
                raise
            logger.warning("redis.awaited", address=where, code=error.code, left_seconds=round(left_seconds, 1))
        # Workers that start together do not knock together.
        await asyncio.sleep(min(left_seconds, pause_seconds * random.uniform(0.5, 1.0)))
        pause_seconds = min(2 * pause_seconds, _PAUSE_MAX_SECONDS)
