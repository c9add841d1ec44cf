"""What the other workers have taught, out of their checkpoints: read again only where they moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

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


class _Seen(NamedTuple):
    """What was read of a partition, and the digests of its buckets as they are stored."""

    digests: Mapping[str, str]
    taught: Taught


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
    is known to belong to the state that was read before, or to have been damaged. While a lineage is being extended, a
    partition may still be stored in its older structure; what is read of it is padded.
    """

    def __init__(self, store: ShardStore, lineage: Lineage, name: str) -> None:
        self._store = store
        self._lineage = lineage
        self._name = name
        self._seen: dict[int, _Seen] = {}

    def forget(self, kept: frozenset[int]) -> None:
        """Drop what was read of all partitions but these."""
        self._seen = {partition: seen for partition, seen in self._seen.items() if partition in kept}

    async def read(self, partition: int) -> Taught | None:
        """What the checkpoint of a partition has taught; None when there is none, or it is damaged (logged).

        Raises
        ------
        ConfigError
            The lineage was extended, and this is the configuration of before.
        """
        bad: list[str] = []
        for _ in range(_ATTEMPTS):
            record = await self._store.shard_position(self._name, partition)
            if record is None:
                return None
            state, before = read_state(record), self._seen.get(partition)
            older = state.structure(self._lineage)
            if before is not None and before.digests == state.digests:
                buckets: Mapping[Bucket, Sums] = before.taught.buckets
                summed = before.taught.digest
            else:
                kept = {} if before is None else _unchanged(before, state.digests)
                fetched = await self._store.load_buckets(self._name, partition, sorted(state.digests.keys() - kept))
                bad = [name for name in damaged(fetched, state) if name not in kept]
                if bad:
                    continue
                read = {name: self._padded(older, data) for name, data in fetched.items()}
                buckets = {Bucket.parse(name): sums for name, sums in (kept | read).items()}
                summed = digest(state.digests if older == self._lineage else _digests(buckets))
            taught = Taught(state.next, state.watermark_ms, summed, buckets, state.counts.get("episodes", 0))
            self._seen[partition] = _Seen(state.digests, taught)
            return taught
        logger.error("checkpoint.damaged", partition=partition, lineage=self._name, bucket=bad[0])
        return None

    def _padded(self, older: Lineage, data: bytes) -> Sums:
        sums = Sums.from_bytes(older, data)
        if older != self._lineage:
            sums.grow(self._lineage)
        return sums


def _digests(buckets: Mapping[Bucket, Sums]) -> dict[str, str]:
    return {str(bucket): sums.digest() for bucket, sums in buckets.items()}


def _unchanged(before: _Seen, digests: Mapping[str, str]) -> dict[str, Sums]:
    """The buckets that are stored as they were when they were read."""
    known = {str(bucket): sums for bucket, sums in before.taught.buckets.items()}
    return {name: known[name] for name, value in digests.items() if before.digests.get(name) == value}
