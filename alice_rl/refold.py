"""The unbroken fold of a log whose lineage was extended on the way: each stretch under the structure that it had.

What a shard holds is a function of its log and of `ShardState.grown`. This is that function; tests and `verify` compare
the live shard with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from alice_rl.clock import ClockState
from alice_rl.intake import Record, Rejected
from alice_rl.lineage import Lineage
from alice_rl.shard import Shard
from alice_rl.shard_state import Growth, Mark, ShardState

__all__ = ["Refold"]


class Refold:
    """A fold that grows where another one grew.

    Parameters
    ----------
    lineage : Lineage
        As it is now.
    grown : sequence of Growth
        The structures, the first from where reading begins.
    source : str
        The file that is folded; empty for a partition of the topic.

    Attributes
    ----------
    shard : Shard

    Examples
    --------
    >>> refold = Refold(Lineage(), [Growth(0, 3), Growth(100, 4)])
    >>> refold.shard.lineage.features.dim, refold.feed([]), refold.shard.next
    (71, [], 0)
    """

    def __init__(self, lineage: Lineage, grown: Sequence[Growth], source: str = "") -> None:
        first, *ahead = grown
        self._lineage = lineage
        self._ahead = deque(ahead)
        self.shard = Shard(lineage.with_numerics(first.numerics), Mark(first.offset, ClockState()), source)

    @classmethod
    def of(cls, lineage: Lineage, state: ShardState) -> Refold:
        """The fold that led to a checkpoint, from its beginning: feed it the log up to `state.next`."""
        refold = cls(lineage, state.grown or [Growth(state.start, len(lineage.features.numerics))], state.source)
        refold.shard.skipped.update(state.skipped)
        return refold

    def feed(self, records: Sequence[Record]) -> list[Rejected]:
        """Fold the next records of the log; those that cannot be learned, as `Shard.feed` tells them."""
        rejected: list[Rejected] = []
        while self._ahead:
            growth = self._ahead[0]
            before = [record for record in records if record.offset < growth.offset]
            rejected += self.shard.feed(before)
            records = records[len(before) :]
            if not records and self.shard.next < growth.offset:
                return rejected
            self.shard.grow(self._lineage.with_numerics(growth.numerics))
            self._ahead.popleft()
        return rejected + self.shard.feed(records)
