"""What the other workers have taught, out of their checkpoints: read again only where they moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from alice_rl.lineage import Lineage
from alice_rl.log import get_logger
from alice_rl.online.decay import Bucket
from alice_rl.shard_state import ShardState
from alice_rl.snapshot.shards import ShardStore
from alice_rl.sums import Sums, digest
from alice_rl.trials import TrialPane, Trials, pooled
from worker.checkpoint import damaged, read_state
from worker.solver import Taught

__all__ = ["Peers"]

logger = get_logger(__name__)

_ATTEMPTS = 3  # a checkpoint may land between the reading of its state and that of its buckets


class _Seen(NamedTuple):
    """What was read of a partition: the digests as they are stored, its parts by name, and what they have taught."""

    digests: Mapping[str, str]
    parts: Mapping[str, Sums | TrialPane]
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
    A checkpoint names the digest of every part. So only parts with a new digest are fetched, and what was fetched is
    known to belong to the state that was read before, or to have been damaged. Panes of trials that are still open
    count for nothing yet, and are left where they are. While a lineage is being extended, a partition may still be
    stored in its older structure; what is read of it is padded.
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
                taught = before.taught._replace(next=state.next, watermark_ms=state.watermark_ms)
                self._seen[partition] = before._replace(taught=taught)
                return taught
            kept = {} if before is None else _unchanged(before, state.digests)
            missing = {name for name in state.digests if not Trials.is_open(name)} - kept.keys()
            fetched = await self._store.load_buckets(self._name, partition, sorted(missing))
            bad = [name for name in damaged(fetched, state) if name in missing]
            if not bad:
                parts = kept | {name: self._read(older, name, data) for name, data in fetched.items()}
                self._seen[partition] = _Seen(state.digests, parts, self._taught(state, older, parts))
                return self._seen[partition].taught
        logger.error("checkpoint.damaged", partition=partition, lineage=self._name, bucket=bad[0])
        return None

    def _read(self, older: Lineage, name: str, data: bytes) -> Sums | TrialPane:
        if name.startswith(Trials.prefix):
            return TrialPane.from_bytes(data)
        sums = Sums.from_bytes(older, data)
        if older != self._lineage:
            sums.grow(self._lineage)
        return sums

    def _taught(self, state: ShardState, older: Lineage, parts: Mapping[str, Sums | TrialPane]) -> Taught:
        buckets = {Bucket.parse(name): part for name, part in parts.items() if isinstance(part, Sums)}
        digests = dict(state.digests)
        if older != self._lineage:
            digests.update((str(bucket), sums.digest()) for bucket, sums in buckets.items())
        closed = pooled([part.sums for part in parts.values() if isinstance(part, TrialPane)])
        return Taught(state.next, state.watermark_ms, digest(digests), buckets, state.counts.get("episodes", 0), closed)


def _unchanged(before: _Seen, digests: Mapping[str, str]) -> dict[str, Sums | TrialPane]:
    """The parts that are stored as they were when they were read."""
    known = before.parts.items()
    return {name: part for name, part in known if name in digests and before.digests.get(name) == digests[name]}
