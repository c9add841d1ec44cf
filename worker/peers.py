"""What the other workers have taught, out of their checkpoints: read again only where they moved."""

from __future__ import annotations

from collections.abc import Mapping

from alice_rl.lineage import Lineage
from alice_rl.log import get_logger
from alice_rl.online.decay import Bucket
from alice_rl.snapshot.shards import ShardStore
from alice_rl.sums import Sums, digest
from worker.checkpoint import damaged, read_state
from worker.solver import Taught

__all__ = ["Peers"]

logger = get_logger(__name__)

_ATTEMPTS = 3  # a checkpoint may land between the reading of its state and that of its buckets


class Peers:
    """The checkpoints of partitions that somebody else holds.

    Parameters
    ----------
    store : ShardStore
    lineage : Lineage
    name : str
        The lineage's name.

    Notes
    -----
    A checkpoint names the digest of every bucket. So only buckets with a new digest are fetched, and what was fetched
    is known to belong to the state that was read before, or to have been damaged.
    """

    def __init__(self, store: ShardStore, lineage: Lineage, name: str) -> None:
        self._store = store
        self._lineage = lineage
        self._name = name
        self._seen: dict[int, Taught] = {}

    def forget(self, kept: frozenset[int]) -> None:
        """Drop what was read of all partitions but these."""
        self._seen = {partition: taught for partition, taught in self._seen.items() if partition in kept}

    async def read(self, partition: int) -> Taught | None:
        """What the checkpoint of a partition has taught; None when there is none, or it is damaged (logged)."""
        bad: list[str] = []
        for _ in range(_ATTEMPTS):
            record = await self._store.shard_position(self._name, partition)
            if record is None:
                return None
            state, before = read_state(record), self._seen.get(partition)
            if before is not None and before.digest == digest(state.digests):
                buckets: Mapping[Bucket, Sums] = before.buckets
            else:
                known = {} if before is None else {str(b): s for b, s in before.buckets.items()}
                kept = {name: known[name] for name, value in state.digests.items() if _same(known.get(name), value)}
                fetched = await self._store.load_buckets(self._name, partition, sorted(state.digests.keys() - kept))
                bad = [name for name in damaged(fetched, state) if name not in kept]
                if bad:
                    continue
                read = {name: Sums.from_bytes(self._lineage, data) for name, data in fetched.items()}
                buckets = {Bucket.parse(name): sums for name, sums in (kept | read).items()}
            taught = Taught(
                state.next, state.watermark_ms, digest(state.digests), buckets, state.counts.get("episodes", 0)
            )
            self._seen[partition] = taught
            return taught
        logger.error("checkpoint.damaged", partition=partition, lineage=self._name, bucket=bad[0])
        return None


def _same(sums: Sums | None, value: str) -> bool:
    return sums is not None and sums.digest() == value
