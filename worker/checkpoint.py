"""Shards to Redis and back: sums and next offset in one atomic write, so that every event counts exactly once.

The offset lives inside the state. A restart reads the checkpoint, seeks to its `low`, re-reads the join window with
contributions off, and folds on from `next`; what the group has committed is never looked at.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import NamedTuple

import msgspec

from alice_rl.errors import DependencyError
from alice_rl.lineage import Lineage
from alice_rl.shard import Shard, ShardState
from alice_rl.snapshot.records import Applied, ShardChange, ShardRecord
from alice_rl.snapshot.store import Store

__all__ = ["Checkpoints", "Holding", "read_state", "restored"]

_STATE = "state"


def read_state(record: ShardRecord) -> ShardState:
    """What a stored shard holds beside its buckets."""
    return msgspec.json.decode(record.extra[_STATE], type=ShardState)


def restored(lineage: Lineage, record: ShardRecord) -> Shard:
    """The shard that a checkpoint holds."""
    return Shard.restore(lineage, read_state(record), record.buckets)


class Holding(NamedTuple):
    """A partition of this worker: its shard, the fencing token, and the offset that Redis has (None: nothing)."""

    shard: Shard
    token: int
    stored_next: int | None


class Checkpoints:
    """Claims, loads and writes the shards of one lineage.

    Parameters
    ----------
    store : Store
    lineage : Lineage
    name : str
        The lineage's name.
    worker : str
        This worker, for people.
    lease_seconds : float
        How long a partition counts as held without a checkpoint.
    """

    def __init__(self, store: Store, lineage: Lineage, name: str, worker: str, lease_seconds: float) -> None:
        self._store = store
        self._lineage = lineage
        self._fingerprint = lineage.fingerprint
        self._name = name
        self._worker = worker
        self._lease_ms = int(lease_seconds * 1000)

    async def claim(self, partition: int, epoch: int) -> Holding | None:
        """Take a partition over with what it has learned; None when another worker took it meanwhile.

        Raises
        ------
        DependencyError
            The partition had a checkpoint once, and Redis has lost it: starting from nothing would learn half the log.
        """
        claim = await self._store.claim(
            self._name, partition, nonce=uuid.uuid4().hex, worker=self._worker, epoch=epoch, lease_ms=self._lease_ms
        )
        if not claim.applied.done:
            return None
        record = await self._store.load_shard(self._name, partition)
        if record is not None:
            return Holding(restored(self._lineage, record), claim.token, record.next)
        if claim.partition_known:
            raise DependencyError(
                f"the checkpoint of partition {partition} in lineage {self._name!r} is gone from Redis",
                code="checkpoint_lost",
                hint="alice-rl savepoint restore, or learn the log anew under another policy.lineage",
            )
        return Holding(Shard(self._lineage), claim.token, None)

    async def write(self, partition: int, holding: Holding) -> Applied:
        """Write what changed since the last checkpoint, and renew the lease."""
        shard, state = holding.shard, holding.shard.state
        changed = {str(bucket): shard.buckets[bucket].to_bytes() for bucket in shard.changed}
        applied = await self._store.checkpoint(
            self._name,
            partition,
            token=holding.token,
            fingerprint=self._fingerprint,
            change=ShardChange(
                checkpoint_id=self._identity(holding, state),
                expected_next=holding.stored_next,
                next=state.next,
                low=state.low.offset,
                watermark_ms=state.watermark_ms,
                tail=state.tail,
                extra={_STATE: msgspec.json.encode(state)},
                buckets=changed,
                removed_buckets=tuple(str(bucket) for bucket in shard.removed),
            ),
        )
        if applied.done:
            shard.changed.clear()
            shard.removed.clear()
        return applied

    def _identity(self, holding: Holding, state: ShardState) -> str:
        """The same for a repetition of the same write, so that one whose answer was lost is recognised."""
        text = f"{holding.token}:{holding.stored_next}:{state.next}:{state.tail}"
        return hashlib.sha256(text.encode()).hexdigest()
