"""Shards to Redis and back: sums and next offset in one atomic write, so that every event counts exactly once.

The offset lives inside the state. A restart reads the checkpoint, seeks to its `low`, re-reads the join window with
contributions off, and folds on from `next`; what the group has committed is never looked at.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec import structs

from alice_rl.errors import AliceError, DependencyError
from alice_rl.lineage import Lineage
from alice_rl.lineage_change import Relation
from alice_rl.shard import Shard
from alice_rl.shard_state import ShardState
from alice_rl.snapshot.records import Applied, ShardChange, ShardRecord
from alice_rl.snapshot.shards import ShardStore
from worker.suspicion import Suspicion

__all__ = ["Checkpoints", "Holding", "damaged", "read_state", "restored"]

_STATE = "state"


def read_state(record: ShardRecord) -> ShardState:
    """What a stored shard holds beside its buckets."""
    return msgspec.json.decode(record.extra[_STATE], type=ShardState)


def damaged(buckets: Mapping[str, bytes], state: ShardState) -> list[str]:
    """The buckets whose bytes are missing, or are not those that were checkpointed."""
    found = {name: hashlib.sha256(data).hexdigest() for name, data in buckets.items()}
    names = found.keys() | state.digests.keys()
    return sorted(name for name in names if found.get(name) != state.digests.get(name))


def restored(lineage: Lineage, record: ShardRecord) -> Shard:
    """The shard that a checkpoint holds; one of before the lineage was extended is padded.

    Raises
    ------
    ConfigError
        The lineage was extended, and this is the configuration of before.
    DependencyError
        Its bytes were changed in Redis.
    """
    state = read_state(record)
    if bad := damaged(record.buckets, state):
        raise DependencyError(
            f"the checkpoint is damaged: bucket {bad[0]} does not have the bytes that were written",
            code="checkpoint_corrupt",
            hint="alice-rl verify says more; alice-rl savepoint restore, or learn the log anew under another lineage",
        )
    return Shard.restore(lineage, state, record.buckets)


class Holding(NamedTuple):
    """A partition of this worker: its shard, the fencing token, and the offset that Redis has (None: nothing).

    `renewed_at` is when Redis last took a checkpoint, seconds of the loop's clock; `suspicion` says that a record may
    kill its reader, and how carefully to fold.
    """

    shard: Shard
    token: int
    stored_next: int | None
    renewed_at: float = 0.0
    suspicion: Suspicion | None = None

    def stored(self, now: float) -> Holding:
        """The same after Redis took its checkpoint; a suspicion ends where the log was passed without harm."""
        suspicion, next_offset = self.suspicion, self.shard.next
        if suspicion is not None and next_offset != self.stored_next and next_offset >= suspicion.end:
            suspicion = None
        return self._replace(stored_next=next_offset, renewed_at=now, suspicion=suspicion)


class Checkpoints:
    """Claims, loads and writes the shards of one lineage.

    Parameters
    ----------
    store : ShardStore
    lineage : Lineage
    name : str
        The lineage's name.
    worker : str
        This worker, for people.
    lease_seconds : float
        How long a partition counts as held without a checkpoint.
    """

    def __init__(self, store: ShardStore, lineage: Lineage, name: str, worker: str, lease_seconds: float) -> None:
        self.name = name
        self._store = store
        self._lineage = lineage
        self._fingerprint = lineage.fingerprint
        self._worker = worker
        self._lease_ms = int(lease_seconds * 1000)

    async def claim(self, partition: int, epoch: int, source: str = "") -> Holding | None:
        """Take a partition over with what it has learned; None when another worker took it meanwhile.

        Raises
        ------
        DependencyError
            The partition had a checkpoint once, and Redis has lost or damaged it: starting from nothing would learn
            half the log.
        """
        claim = await self._store.claim(
            self.name, partition, nonce=uuid.uuid4().hex, worker=self._worker, epoch=epoch, lease_ms=self._lease_ms
        )
        if not claim.applied.done:
            return None
        suspicion = Suspicion.of(claim)
        record = await self._store.load_shard(self.name, partition)
        if record is not None:
            return Holding(restored(self._lineage, record), claim.token, record.next, suspicion=suspicion)
        if claim.partition_known:
            if partition not in await self._store.known_partitions(self.name):
                return None  # a failover took it all back since the claim, and the claim with it
            raise DependencyError(
                f"the checkpoint of partition {partition} in lineage {self.name!r} is gone from Redis",
                code="checkpoint_lost",
                hint="alice-rl savepoint restore, or learn the log anew under another policy.lineage",
            )
        return Holding(Shard(self._lineage, source=source), claim.token, None, suspicion=suspicion)

    async def starts(self, ends: Mapping[int, int]) -> dict[int, int]:
        """Where the log ended when this lineage was begun, by partition; `ends` when that is now."""
        return await self._store.lineage_starts(self.name, ends)

    async def write(self, partition: int, holding: Holding) -> Applied:
        """Write what changed since the last checkpoint, and renew the lease."""
        shard = holding.shard
        state = shard.state
        change = ShardChange(
            checkpoint_id=_identity(holding, state),
            expected_next=holding.stored_next,
            next=state.next,
            low=state.low.offset,
            watermark_ms=state.watermark_ms,
            tail=state.tail,
            extra={_STATE: msgspec.json.encode(state)},
            buckets=shard.parts.changes(),
            removed_buckets=shard.parts.removals(),
        )
        applied = await self._offer(partition, holding, change)
        if applied.done:
            shard.parts.written()
        return applied

    async def keep_skipped(self, partition: int, holding: Holding) -> Holding:
        """Write what is passed over, at once and without moving: whoever dies next must not have to find it again.

        Right after a claim, before anything was folded. Whether Redis still takes it is the next checkpoint's to see.
        """
        record = await self._store.shard_position(self.name, partition)
        if record is None:
            done = (await self.write(partition, holding)).done
            return holding._replace(stored_next=holding.shard.next) if done else holding
        # The stored state, because that of a shard without its joiner tells another time.
        state = structs.replace(read_state(record), skipped=sorted(holding.shard.skipped))
        change = ShardChange(
            checkpoint_id=uuid.uuid4().hex,
            expected_next=holding.stored_next,
            next=record.next,
            low=record.low,
            watermark_ms=record.watermark_ms,
            tail=record.tail,
            extra={_STATE: msgspec.json.encode(state)},
        )
        await self._offer(partition, holding, change)
        return holding

    async def _offer(self, partition: int, holding: Holding, change: ShardChange) -> Applied:
        return await self._store.checkpoint(
            self.name, partition, token=holding.token, fingerprint=self._fingerprint, change=change
        )

    async def refusal(self) -> AliceError:
        """Why Redis refuses checkpoints with this configuration (LINEAGE), and what to do."""
        config = self._lineage.to_json()
        stands, change = await self._store.lineage_change(self.name, self._fingerprint, config)
        if stands and change.relation in (Relation.SHRINKS, Relation.DIFFERS):
            return change.refusal(self.name, await self._store.replay_name(self.name, self._fingerprint))
        return DependencyError(
            f"lineage {self.name!r} is not declared in Redis with this configuration any more",
            code="lineage_refused",
            hint="Redis lost what was written last: start the worker again, which declares it, and run alice-rl doctor",
        )

    async def suspect(self, partition: int, holding: Holding, offsets: tuple[int, int] | None) -> None:
        """Leave word of what is about to be folded; whether Redis still takes it is the next checkpoint's to see."""
        await self._store.suspect(self.name, partition, token=holding.token, offsets=offsets)


def _identity(holding: Holding, state: ShardState) -> str:
    """The same for a repetition of the same write, so that one whose answer was lost is recognised.

    To renew a lease writes nothing new, and may well be done twice.
    """
    again = uuid.uuid4().hex if holding.stored_next == state.next else ""
    text = f"{holding.token}:{holding.stored_next}:{state.next}:{state.tail}{again}"
    return hashlib.sha256(text.encode()).hexdigest()
