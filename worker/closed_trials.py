"""What the trials of a lineage have shown, out of its checkpoints: read again only where a pane has closed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from alice_rl.online.trial import TrialSums
from alice_rl.snapshot.shards import ShardStore
from alice_rl.trials import Trial, TrialPane, Trials, pooled
from worker.checkpoint import read_state

__all__ = ["ClosedTrials"]

_ATTEMPTS = 3  # a checkpoint may land between the reading of its state and that of its panes


class _Read(NamedTuple):
    """A pane that was read, and the digest of its bytes."""

    digest: str
    pane: TrialPane


class ClosedTrials:
    """The closed panes of all partitions.

    Parameters
    ----------
    store : ShardStore
    """

    def __init__(self, store: ShardStore) -> None:
        self._store = store
        self._read: dict[tuple[str, int], Mapping[str, _Read]] = {}  # by lineage and partition

    async def look(self, lineage: str, partitions: Iterable[int]) -> dict[Trial, TrialSums]:
        """The trials, as the checkpoints have them; a partition whose checkpoint is damaged is left out.

        Raises
        ------
        DependencyError
            Redis is away.
        """
        return pooled([read.pane.sums for p in partitions for read in (await self._panes(lineage, p)).values()])

    async def _panes(self, lineage: str, partition: int) -> Mapping[str, _Read]:
        for _ in range(_ATTEMPTS):
            record = await self._store.shard_position(lineage, partition)
            if record is None:
                return {}
            digests = {name: digest for name, digest in read_state(record).digests.items() if _is_closed(name)}
            before = self._read.get((lineage, partition), {})
            kept = {name: read for name, read in before.items() if read.digest == digests.get(name)}
            fetched = await self._store.load_buckets(lineage, partition, sorted(digests.keys() - kept))
            found = {name: hashlib.sha256(data).hexdigest() for name, data in fetched.items()}
            if kept.keys() | found.keys() == digests.keys() and all(digests[name] == found[name] for name in found):
                read = {name: _Read(found[name], TrialPane.from_bytes(data)) for name, data in fetched.items()}
                self._read[lineage, partition] = kept | read
                return self._read[lineage, partition]
        return {}


def _is_closed(name: str) -> bool:
    return name.startswith(Trials.prefix) and not Trials.is_open(name)
