"""The store's half for shards: lineages, the claim on a partition, and its checkpoint.

Whatever changes state is a script that recognises its own repetition, because redis-py repeats a command
silently when a connection breaks. The two plain writes (a lineage's configuration, the active lineage) are
idempotent by nature.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import redis.asyncio

from alice_rl.errors import ConfigError
from alice_rl.lineage import differing
from alice_rl.snapshot import keys, scripts
from alice_rl.snapshot.connection import reaching
from alice_rl.snapshot.head import decode_offsets, encode_offsets
from alice_rl.snapshot.records import BUCKET, Applied, Claim, Owner, ShardChange, ShardRecord

__all__ = ["ShardStore"]

_NONCE = re.compile(r"[^\s:]{1,128}\Z")
_BESIDE_BUCKETS = ("next", "low", "watermark_ms", "tail", "extra:state")


class ShardStore:
    """Lineages and shards of one policy in Redis; `Store` adds the snapshots and is what callers make.

    Parameters
    ----------
    client : redis.asyncio.Redis
        Without `decode_responses`.
    policy : str
        Name of the policy.
    where : str
        Address for error messages, without a password.
    """

    def __init__(self, client: redis.asyncio.Redis, policy: str, where: str) -> None:
        # redis-py's annotations mix its two clients and change with releases: answers are typed here.
        self._redis: Any = client
        self._policy = policy
        self._where = where
        self._scripts = {name: client.register_script(scripts.source(name)) for name in scripts.NAMES}

    async def declare_lineage(self, lineage: str, fingerprint: str, config: bytes) -> None:
        """Fix a lineage's configuration, or check that it is the one declared before.

        Raises
        ------
        ConfigError
            The lineage was declared with another fingerprint.
        """
        if not fingerprint or " " in fingerprint:
            raise ValueError(f"fingerprint {fingerprint!r} must be one word")
        key = keys.lineage_config(self._policy, lineage)
        with reaching(self._where):
            await self._redis.set(key, fingerprint.encode() + b" " + config, nx=True)
        declared = await self.lineage_config(lineage)
        if declared is None or declared[0] != fingerprint:
            parts = "; ".join(differing(declared[1], config)) if declared else "it is gone from Redis"
            raise ConfigError(
                f"lineage {lineage!r} was declared with another structure: {parts}",
                code="lineage_mismatch",
                hint="undo the change, or learn it under a new lineage by a replay",
            )

    async def lineage_config(self, lineage: str) -> tuple[str, bytes] | None:
        """Fingerprint and configuration of a lineage, None when it was never declared."""
        with reaching(self._where):
            text: bytes | None = await self._redis.get(keys.lineage_config(self._policy, lineage))
        if text is None:
            return None
        fingerprint, _, config = text.partition(b" ")
        return fingerprint.decode(), config

    async def lineage_starts(self, lineage: str, offered: Mapping[int, int]) -> dict[int, int]:
        """The offsets from which a lineage was begun, by partition: the first that were offered.

        A lineage that had checkpoints before anything was offered has none.
        """
        meta, field = keys.meta(self._policy), f"starts:{lineage}"
        if await self.known_partitions(lineage):
            offered = {}
        with reaching(self._where):
            await self._redis.hsetnx(meta, field, encode_offsets(offered))
            return decode_offsets(await self._redis.hget(meta, field))

    async def active_lineage(self) -> str | None:
        """The lineage that may publish."""
        with reaching(self._where):
            name = await self._redis.hget(keys.meta(self._policy), "active_lineage")
        return None if name is None else name.decode()

    async def activate_lineage(self, lineage: str, *, only_if_none: bool = False) -> str:
        """Make a lineage the one that may publish; answers which one is.

        With `only_if_none` a lineage that is active already stays so.
        """
        meta = keys.meta(self._policy)
        keys.lineage_config(self._policy, lineage)  # a name that can be no key is refused before it is stored
        with reaching(self._where):
            if only_if_none:
                await self._redis.hsetnx(meta, "active_lineage", lineage)
            else:
                await self._redis.hset(meta, "active_lineage", lineage)
        return await self.active_lineage() or lineage

    async def known_partitions(self, lineage: str) -> frozenset[int]:
        """Partitions that ever had a checkpoint; one without a shard has lost its state."""
        return (await self.standing(lineage))[1]

    async def standing(self, lineage: str) -> tuple[str | None, frozenset[int]]:
        """The lineage that may publish, and the partitions of this one that ever had a checkpoint."""
        with reaching(self._where):
            fields = await self._redis.hgetall(keys.meta(self._policy))
        active, prefix = fields.get(b"active_lineage"), _partition_field(lineage, "")
        known = (name[len(prefix) :] for name in map(bytes.decode, fields) if name.startswith(prefix))
        return None if active is None else active.decode(), frozenset(map(int, known))

    async def claim(self, lineage: str, partition: int, *, nonce: str, worker: str, epoch: int, lease_ms: int) -> Claim:
        """Take a partition over; whoever held it is fenced.

        Parameters
        ----------
        nonce : str
            Unique per claim, the same on a retry; neither spaces nor colons.
        epoch : int
            The caller's count of assignments, kept for the operator.
        lease_ms : int
            How long the partition counts as held without a further checkpoint.
        """
        if not _NONCE.match(nonce):
            raise ValueError(f"nonce {nonce!r} must be one word without colons")
        status, token, exists, known, lease, vain, blamed, deaths = await self._run(
            "claim",
            [self._owner(lineage, partition), self._shard(lineage, partition), keys.meta(self._policy)],
            [nonce, worker, epoch, lease_ms, _partition_field(lineage, partition)],
        )
        return Claim(
            Applied(status.decode()),
            int(token),
            exists == b"1",
            known == b"1",
            int(lease),
            int(vain or 0),
            _range(blamed),
            int(deaths),
        )

    async def suspect(self, lineage: str, partition: int, *, token: int, offsets: tuple[int, int] | None) -> Applied:
        """Leave word which offsets `[first, end)` are about to be folded, or with None that no fold is under way."""
        text = "" if offsets is None else f"{offsets[0]}:{offsets[1]}"
        (status,) = await self._run("suspect", [self._owner(lineage, partition)], [token, text])
        return Applied(status.decode())

    async def owner(self, lineage: str, partition: int) -> Owner | None:
        """Who holds a partition."""
        with reaching(self._where):
            fields = await self._redis.hgetall(self._owner(lineage, partition))
        if not fields:
            return None
        return Owner(int(fields[b"token"]), fields[b"worker"].decode(), int(fields[b"epoch"]), int(fields[b"lease"]))

    async def load_shard(self, lineage: str, partition: int) -> ShardRecord | None:
        """The stored shard of a partition, None when there is none."""
        with reaching(self._where):
            fields = await self._redis.hgetall(self._shard(lineage, partition))
        return ShardRecord.from_hash(fields) if fields else None

    async def shard_position(self, lineage: str, partition: int) -> ShardRecord | None:
        """The stored shard without its buckets, which may be megabytes; None when there is none."""
        with reaching(self._where):
            values = await self._redis.hmget(self._shard(lineage, partition), _BESIDE_BUCKETS)
        if values[0] is None:
            return None
        found = zip(_BESIDE_BUCKETS, values, strict=True)
        return ShardRecord.from_hash({name.encode(): value for name, value in found if value is not None})

    async def load_buckets(self, lineage: str, partition: int, names: Sequence[str]) -> dict[str, bytes]:
        """Some buckets of a stored shard; those that it does not have are left out."""
        if not names:
            return {}
        fields = [BUCKET + name for name in names]
        with reaching(self._where):
            values = await self._redis.hmget(self._shard(lineage, partition), fields)
        return {name: value for name, value in zip(names, values, strict=True) if value is not None}

    async def checkpoint(
        self, lineage: str, partition: int, *, token: int, fingerprint: str, change: ShardChange
    ) -> Applied:
        """Write sums and offset together, and renew the lease.

        After `FENCED` or `CAS` the caller reloads and seeks; it never merges. With `change.next` equal to
        `change.expected_next` an idle partition renews its lease.
        """
        status, _ = await self._run(
            "checkpoint",
            [
                self._owner(lineage, partition),
                self._shard(lineage, partition),
                keys.lineage_config(self._policy, lineage),
                keys.meta(self._policy),
            ],
            [
                token,
                change.checkpoint_id,
                fingerprint,
                _partition_field(lineage, partition),
                *change.to_arguments(),
            ],
        )
        return Applied(status.decode())

    async def _run(self, name: str, script_keys: list[str], arguments: list[Any]) -> list[Any]:
        """Run one script; EVALSHA, and the text again after SCRIPT FLUSH or a failover, are redis-py's."""
        with reaching(self._where):
            reply: list[Any] = await self._scripts[name](keys=script_keys, args=arguments)
        return reply

    def _owner(self, lineage: str, partition: int) -> str:
        return keys.owner(self._policy, lineage, partition)

    def _shard(self, lineage: str, partition: int) -> str:
        return keys.shard(self._policy, lineage, partition)


def _partition_field(lineage: str, partition: int | str) -> str:
    return f"partition:{lineage}:{partition}"


def _range(text: bytes) -> tuple[int, int] | None:
    """Offsets as the script `suspect` writes them: "first:end"."""
    first, colon, end = text.partition(b":")
    return (int(first), int(end)) if colon else None
