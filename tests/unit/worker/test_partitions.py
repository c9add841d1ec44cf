"""What a worker does with records while its assignment moves."""

from __future__ import annotations

from typing import Any

from alice_rl.shard import Shard
from tests.logs import LINEAGE, turns
from worker.checkpoint import Holding
from worker.partitions import Partitions
from worker.settings import Settings


class _Moved:
    """A consumer whose assignment has moved since the worker last settled."""

    epoch = 1


async def test_nothing_is_folded_before_all_is_settled() -> None:
    """Until the seek, records may come from where the group has committed: folding them would leave a hole."""
    unused: Any = None
    consumer: Any = _Moved()
    partitions = Partitions(Settings(), consumer, unused, unused)
    partitions.holdings[0] = Holding(Shard(LINEAGE), token=1, stored_next=None)
    await partitions.fold({0: turns(9)[5:]})
    assert partitions.holdings[0].shard.next == 0
