"""The unbroken fold of a log whose lineage was extended on the way: each stretch under the structure that it had.

What a shard holds is a function of its log and of `ShardState.grown`. This is that function; tests and `verify` compare
the live shard with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

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
    shard : Shard
        Where it begins.
    ahead : iterable of Growth
        The structures that are still to come.

    Attributes
    ----------
    shard : Shard

    Examples
    --------
    >>> refold = Refold(Lineage(), Shard(Lineage().with_numerics(3)), [Growth(100, 4)])
    >>> refold.shard.lineage.features.dim, refold.feed([]), refold.shard.next
    (71, [], 0)
    """

    def __init__(self, lineage: Lineage, shard: Shard, ahead: Iterable[Growth]) -> None:
        self.shard = shard
        self._lineage = lineage
        self._ahead = deque(ahead)

    @classmethod
    def of(cls, lineage: Lineage, state: ShardState, since: Shard | None = None) -> Refold:
        """The fold that led to a checkpoint: feed it the log up to `state.next`.

        Parameters
        ----------
        lineage : Lineage
            As it is now.
        state : ShardState
            Of the checkpoint.
        since : Shard, optional
            An earlier state of the same fold, to begin with; by default it begins where the fold began.
        """
        first, *later = state.grown or [Growth(state.start, len(lineage.features.numerics))]
        if since is None:
            shard = Shard(lineage.with_numerics(first.numerics), Mark(first.offset, ClockState()), state.source)
        else:
            shard, later = since, [growth for growth in later if growth not in since.grown]
        shard.skipped.update(state.skipped)
        return cls(lineage, shard, later)

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
