"""The store's part for savepoints: a lineage out of Redis as it stands, and back in one step.

Read in this order: the head, the list of partitions, the shards. A checkpoint comes before the publication that quotes
it, so every shard is at least as far as the head says, whatever runs meanwhile; sums and offset of a shard are one HASH
and are read at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice

from msgspec import Struct

from alice_rl.errors import AliceError, DependencyError
from alice_rl.snapshot import keys
from alice_rl.snapshot.connection import reaching
from alice_rl.snapshot.head import Head
from alice_rl.snapshot.records import Applied
from alice_rl.snapshot.savepoint import KeptVersion, Savepoint
from alice_rl.snapshot.store import Store

__all__ = ["Living", "SavepointStore"]

_STAGED_SECONDS = 3600  # what a restore that was cut off leaves behind is gone after this
_CHUNK_BYTES = 4 << 20
_CHUNK_KEYS = 500
_Fields = dict[bytes, bytes]


class Living(Struct, frozen=True, kw_only=True):
    """What a restore would replace.

    Attributes
    ----------
    fingerprint : str or None
        Of the lineage, where it is declared.
    partitions : tuple of int
        The lineage's partitions.
    active_lineage : str or None
    head : Head
        What serves; empty when nothing was published, or the savepoint does not replace it.
    workers : tuple of str
        Who holds partitions of the lineage at the moment.
    """

    fingerprint: str | None
    partitions: tuple[int, ...]
    active_lineage: str | None
    head: Head
    workers: tuple[str, ...]


class SavepointStore(Store):
    """A store that takes savepoints and restores them."""

    async def save(self, lineage: str, history_max: int) -> Savepoint:
        """A lineage as it stands, beside workers that run or without.

        Raises
        ------
        AliceError
            There is no such lineage.
        DependencyError
            A partition's state is missing: what is left would not be whole.
        """
        now_ms, flat = await self._run("read_head", [keys.head(self._policy)], [])
        head = dict(zip(flat[::2], flat[1::2], strict=True))
        with reaching(self._where):
            meta = await self._redis.hgetall(keys.meta(self._policy))
            config = await self._redis.get(keys.lineage_config(self._policy, lineage))
        if config is None:
            raise AliceError(
                f"there is no lineage {lineage!r} of policy {self._policy!r} in this Redis",
                code="lineage_missing",
                hint="alice-rl status shows what is there; --lineage and policy.name say what is meant",
            )
        prefix = keys.partition_field(lineage, "").encode()
        known = {field: value for field, value in meta.items() if field.startswith(prefix)}
        partitions = sorted(int(field[len(prefix) :]) for field in known)
        starts = keys.starts_field(lineage).encode()
        known |= {starts: meta[starts]} if starts in meta else {}
        active = meta.get(b"active_lineage") == lineage.encode()
        return Savepoint(
            policy=self._policy,
            lineage=lineage,
            created_at_ms=int(now_ms),
            active=active,
            config=config,
            known=known,
            shards={partition: await self._fields(lineage, partition) for partition in partitions},
            head=head if active else {},
            versions=await self._kept(head) if active else (),
            history=await self._newest_history(history_max) if active else (),
        )

    async def living(self, savepoint: Savepoint) -> Living | None:
        """What is there already that a restore would replace; None where it would replace nothing."""
        lineage = savepoint.lineage
        declared, active = await self.lineage_config(lineage), await self.active_lineage()
        partitions = tuple(sorted(await self.known_partitions(lineage)))
        head = await self.read_head()
        owners = [await self.owner(lineage, partition) for partition in {*partitions, *savepoint.shards}]
        now_ms = head.now_ms
        replaces_head = savepoint.active and (bool(head.run_id) or active not in (None, lineage))
        if declared is None and not partitions and not replaces_head:
            return None
        return Living(
            fingerprint=None if declared is None else declared[0],
            partitions=partitions,
            active_lineage=active,
            head=head if replaces_head else Head(),
            workers=tuple(sorted({one.worker for one in owners if one is not None and one.lease_until_ms > now_ms})),
        )

    async def restore(
        self, savepoint: Savepoint, *, request: str, force: bool, who: str = "", why: str = "", detail: str = ""
    ) -> Applied:
        """Put a savepoint where its lineage was, all of it in one step.

        Parameters
        ----------
        request : str
            Unique per wish, the same on a retry: letters and digits.
        force : bool
            Replace what lives there, and fence whoever holds its partitions; else the answer is `CAS`.

        Notes
        -----
        The values are prepared under names of their own, where a Redis that runs full refuses them without harm; until
        the last step nothing that anybody reads has changed.
        """
        shard_prefix = keys.staged_shard_prefix(self._policy, request)
        snapshot_prefix = keys.staged_snapshot_prefix(self._policy, request)
        staged = [f"{shard_prefix}{partition}" for partition in savepoint.shards]
        staged += [f"{snapshot_prefix}{kept.version}" for kept in savepoint.versions]
        try:
            for partition, fields in savepoint.shards.items():
                await self._stage(f"{shard_prefix}{partition}", fields)
            with reaching(self._where):
                for kept in savepoint.versions:
                    await self._redis.set(f"{snapshot_prefix}{kept.version}", kept.blob, ex=_STAGED_SECONDS)
            status, note = await self._run(
                "restore",
                self._restore_keys(savepoint.lineage, shard_prefix, snapshot_prefix),
                [
                    request,
                    "1" if force else "",
                    savepoint.lineage,
                    savepoint.config,
                    keys.partition_field(savepoint.lineage, ""),
                    "1" if savepoint.active else "",
                    self._retention.expire_seconds,
                    self._retention.history_entries_max,
                    keys.events(self._policy),
                    who,
                    why,
                    detail,
                    *_lists(savepoint),
                ],
            )
        finally:
            await self._forget(staged)
        if status == b"MISSING":
            raise DependencyError(
                f"{note.decode()} was gone before it was used", code="restore_expired", hint="try again"
            )
        return Applied(status.decode())

    def _restore_keys(self, lineage: str, shard_prefix: str, snapshot_prefix: str) -> list[str]:
        return [
            keys.meta(self._policy),
            keys.lineage_config(self._policy, lineage),
            keys.head(self._policy),
            keys.snapshots(self._policy),
            keys.digests(self._policy),
            keys.history(self._policy),
            keys.snapshot_prefix(self._policy),
            keys.shard_prefix(self._policy, lineage),
            keys.owner_prefix(self._policy, lineage),
            shard_prefix,
            snapshot_prefix,
        ]

    async def _fields(self, lineage: str, partition: int) -> _Fields:
        with reaching(self._where):
            fields: _Fields = await self._redis.hgetall(self._shard(lineage, partition))
        if not fields:
            raise DependencyError(
                f"the checkpoint of partition {partition} in lineage {lineage!r} is gone from Redis",
                code="checkpoint_lost",
                hint="restore an older savepoint, or learn the log anew under another policy.lineage",
            )
        return fields

    async def _kept(self, head: _Fields) -> tuple[KeptVersion, ...]:
        """The versions up to the head's that do not expire, or that the head names."""
        newest = int(head.get(b"seq") or 0)
        named = {head.get(field) for field in (b"live", b"canary", b"previous", b"pinned")}
        kept = []
        with reaching(self._where):
            scored = await self._redis.zrange(keys.snapshots(self._policy), 0, -1, withscores=True)
            digests = await self._redis.hgetall(keys.digests(self._policy))
            for name, score in scored:
                version, key = int(name), keys.snapshot(self._policy, int(name))
                if version > newest or (name not in named and await self._redis.pttl(key) != -1):
                    continue
                blob = await self._redis.get(key)
                if blob is not None:
                    kept.append(KeptVersion(version, int(score), digests.get(name, b"").decode(), blob))
        return tuple(sorted(kept, key=lambda one: one.version))

    async def _newest_history(self, count_max: int) -> tuple[tuple[bytes, _Fields], ...]:
        if not count_max:
            return ()
        with reaching(self._where):
            entries = await self._redis.xrevrange(keys.history(self._policy), count=count_max)
        return tuple((identifier, fields) for identifier, fields in reversed(entries))

    async def _stage(self, key: str, fields: _Fields) -> None:
        """Write a HASH under a name that nobody reads, some megabytes at a time."""
        with reaching(self._where):
            for chunk in _chunks(fields):
                await self._redis.hset(key, mapping=chunk)
                await self._redis.expire(key, _STAGED_SECONDS)

    async def _forget(self, staged: list[str]) -> None:
        """Remove what was prepared and not used; where Redis is away it expires by itself."""
        names = iter(staged)
        with suppress(DependencyError), reaching(self._where):
            while some := list(islice(names, _CHUNK_KEYS)):
                await self._redis.unlink(*some)


def _chunks(fields: _Fields) -> Iterator[_Fields]:
    chunk: _Fields = {}
    size = 0
    for name, value in fields.items():
        chunk[name] = value
        size += len(name) + len(value)
        if size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = {}, 0
    if chunk:
        yield chunk


def _lists(savepoint: Savepoint) -> list[bytes | str | int]:
    """The last arguments of the script `restore`: five lists, each after its length."""
    history = [(id_, 2 * len(fields), *_flat(fields.items())) for id_, fields in savepoint.history]
    lists: list[list[tuple[bytes | str | int, ...]]] = [
        [(partition,) for partition in savepoint.shards],
        [*savepoint.known.items()],
        [*savepoint.head.items()],
        [(kept.version, kept.published_ms, kept.digest) for kept in savepoint.versions],
        history,
    ]
    return [argument for items in lists for argument in (len(items), *_flat(items))]


def _flat(items: Iterable[tuple[bytes | str | int, ...]]) -> Iterator[bytes | str | int]:
    return (value for item in items for value in item)
