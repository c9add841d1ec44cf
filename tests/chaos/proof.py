"""The users' own proof: `alice-rl verify` says equal, and once a byte of a shard is changed by hand, where it parts."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import redis

from alice_rl.snapshot import keys
from alice_rl.snapshot.records import BUCKET
from tests.chaos.deployment import Deployment

__all__ = ["Proof", "prove"]

_ROOT = Path(__file__).parents[2]


class Proof(NamedTuple):
    """Whether everything was equal, and where it parted after the byte; empty when nothing was found."""

    equal: bool
    parting: str


async def prove(deployment: Deployment) -> Proof:
    """Verify, change a byte, verify again, and put the byte back."""
    equal = (await _verify(deployment))["equal"]
    policy = deployment.settings.policy
    shard = keys.shard(policy.name, policy.lineage, 0)
    with redis.Redis.from_url(deployment.settings.redis.url) as client:
        fields: dict[bytes, bytes] = client.hgetall(shard)
        name = min(field for field in fields if field.startswith(BUCKET.encode()))
        data = fields[name]
        client.hset(shard, name, data[:-1] + bytes([data[-1] ^ 1]))
        verdict = next(part for part in (await _verify(deployment))["partitions"] if part["partition"] == 0)
        client.hset(shard, name, data)
    parting = verdict["parting"]
    found = not verdict["equal"] and f"{BUCKET}{parting['bucket']}" == name.decode()
    return Proof(equal, f"bucket {parting['bucket']}, offsets {parting['first']} to {parting['last']}" if found else "")


async def _verify(deployment: Deployment) -> Any:
    command = [sys.executable, "-m", "worker.cli", "verify", "--json", "--config", str(deployment.config)]
    process = await asyncio.create_subprocess_exec(*command, cwd=_ROOT, stdout=asyncio.subprocess.PIPE)
    answer, _ = await process.communicate()
    told = json.loads(answer)
    assert process.returncode == (0 if told["equal"] else 1)
    return told
