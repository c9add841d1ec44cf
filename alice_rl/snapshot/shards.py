"""The store's half for shards: lineages, the claim on a partition, and its checkpoint.

Whatever changes state is a script that recognises its own repetition, because redis-py repeats a command
silently when a connection breaks. The two plain writes (a lineage's first configuration, the active lineage) are
idempotent by nature.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import redis.asyncio

from alice_rl.errors import DependencyError
from alice_rl.lineage_change import LineageChange, Relation, compare, next_names
from alice_rl.snapshot import keys, scripts
from alice_rl.snapshot.connection import reaching
from alice_rl.snapshot.head import decode_offsets, encode_offsets
from alice_rl.snapshot.records import BUCKET, Applied, Claim, Owner, ShardChange, ShardRecord

__all__ = ["ShardStore"]

_NONCE = re.compile(r"[^\s:]{1,128}\Z")
_UPGRADES_TRIED = 16  # a lineage can be extended by somebody else meanwhile, but not often
_NAMES_TRIED = 100  # before a lineage's next name is given up on finding free
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

    async def declare_lineage(
        self, lineage: str, fingerprint: str, config: bytes, *, extend: bool = True
    ) -> tuple[str, ...]:
        """Fix a lineage's configuration, or see that it is the one declared before, or one that extends it.

        Parameters
        ----------
        extend : bool
            Whether an extension is written: workers with the configuration of before are refused from then on.

        Returns
        -------
        tuple of str
            The numerics by which this configuration extends the one that stood; empty when it is the same.

        Raises
        ------
        ConfigError
            The lineage was declared with another structure; it says in what, and what to do.
        """
        if not fingerprint or " " in fingerprint:
            raise ValueError(f"fingerprint {fingerprint!r} must be one word")
        key = keys.lineage_config(self._policy, lineage)
        for _ in range(_UPGRADES_TRIED):
            # A full Redis refuses a write even where it would change nothing.
            if await self.lineage_config(lineage) is None:
                with reaching(self._where):
                    await self._redis.set(key, fingerprint.encode() + b" " + config, nx=True)
            stands, change = await self.lineage_change(lineage, fingerprint, config)
            if change.relation in (Relation.SHRINKS, Relation.DIFFERS):
                raise change.refusal(lineage, await self.replay_name(lineage, fingerprint))
            if change.relation is Relation.EQUAL or not extend:
                return change.numerics
            (status,) = await self._run("upgrade", [key], [stands, fingerprint, config])
            if Applied(status.decode()).done:
                return change.numerics
        raise DependencyError(
            f"the configuration of lineage {lineage} keeps changing", code="lineage_contended", hint="try again"
        )

    async def lineage_change(self, lineage: str, fingerprint: str, config: bytes) -> tuple[str, LineageChange]:
        """The fingerprint that a lineage stands at, empty when it is new, and what a configuration would change."""
        declared = await self.lineage_config(lineage)
        if declared is None or declared[0] == fingerprint:
            return "" if declared is None else fingerprint, LineageChange(Relation.EQUAL)
        change = compare(declared[1], config)
        # The same settings under two fingerprints: two formats of the structure, whose sums are not the same.
        return declared[0], LineageChange(Relation.DIFFERS) if change.relation is Relation.EQUAL else change

    async def replay_name(self, lineage: str, fingerprint: str) -> str:
        """The name under which to learn a lineage anew with a configuration: the first one free for it."""
        name = lineage
        for name in islice(next_names(lineage), _NAMES_TRIED):
            declared = await self.lineage_config(name)
            if declared is None or declared[0] == fingerprint:
                break
        return name

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
        meta, field = keys.meta(self._policy), keys.starts_field(lineage)
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
        active = await self.active_lineage()
        if active is None or not only_if_none:
            with reaching(self._where):
                write = self._redis.hsetnx if only_if_none else self._redis.hset
                await write(meta, "active_lineage", lineage)
        return await self.active_lineage() or lineage

    async def known_partitions(self, lineage: str) -> frozenset[int]:
        """Partitions that ever had a checkpoint; one without a shard has lost its state."""
        return (await self.standing(lineage))[1]

    async def standing(self, lineage: str) -> tuple[str | None, frozenset[int]]:
        """The lineage that may publish, and the partitions of this one that ever had a checkpoint."""
        with reaching(self._where):
            fields = await self._redis.hgetall(keys.meta(self._policy))
        active, prefix = fields.get(b"active_lineage"), keys.partition_field(lineage, "")
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
            [nonce, worker, epoch, lease_ms, keys.partition_field(lineage, partition)],
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
                keys.partition_field(lineage, partition),
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


def _range(text: bytes) -> tuple[int, int] | None:
    """Offsets as the script `suspect` writes them: "first:end"."""
    first, colon, end = text.partition(b":")
    return (int(first), int(end)) if colon else None
