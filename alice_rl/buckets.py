"""What one partition has taught, by event time: sums per bucket, and which of them differ from the last checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from alice_rl.columns import Columns, add, joined
from alice_rl.lineage import Lineage
from alice_rl.online.decay import Bucket, bucket_rows, coarsen
from alice_rl.parts import Parts
from alice_rl.sums import Sums

__all__ = ["Buckets"]


class Buckets(Parts[Sums]):
    """Sums by bucket of event time.

    Parameters
    ----------
    lineage : Lineage

    Examples
    --------
    >>> Buckets(Lineage()).digests()
    {}
    """

    def __init__(self, lineage: Lineage) -> None:
        super().__init__(lineage.bucket_seconds * 1000, lambda data: Sums.from_bytes(self._lineage, data))
        self._lineage = lineage

    def learn(self, taught: Sequence[Columns], high_ms: int) -> None:
        """Add what was taught until the log's clock had reached `high_ms`, and merge what is old by then."""
        for columns in joined(taught):
            for bucket, rows in bucket_rows(columns.ts_ms, high_ms, self._span_ms).items():
                add(self._of(bucket), columns, rows)
        for fine, coarse in coarsen(self, high_ms, self._span_ms).items():
            self[coarse] = self._of(coarse) + self.pop(fine)
            self.changed.discard(fine)
            self.removed.add(fine)

    def grow(self, lineage: Lineage) -> None:
        """Go on as sums of a lineage with numerics appended; they are zero in all that was learned."""
        self._lineage = lineage
        for bucket, sums in self.items():
            sums.grow(lineage)
            self.changed.add(bucket)

    def _of(self, bucket: Bucket) -> Sums:
        self.changed.add(bucket)
        self.removed.discard(bucket)
        return self.setdefault(bucket, Sums(self._lineage))
