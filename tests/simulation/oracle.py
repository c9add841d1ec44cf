"""What must come out: the undisturbed fold over each partition's log, cut at any offset."""

from __future__ import annotations

import bisect

from alice_rl.lineage import Lineage
from alice_rl.shard import Shard
from tests.logs import LogRecord
from tests.simulation.telemetry import DEADLY

__all__ = ["Oracle"]


class Oracle:
    """The fold of one partition, by the side of the world. Its records may still be appended to.

    Parameters
    ----------
    lineage : Lineage
    log : list of LogRecord
        The partition's own, as it grows.
    """

    def __init__(self, lineage: Lineage, log: list[LogRecord]) -> None:
        self._lineage = lineage
        self._log = log
        self._shard = self._fresh()
        self._digests: dict[int, str] = {0: self._shard.digest()}

    @property
    def end(self) -> int:
        """The offset after the last record."""
        return self._log[-1].offset + 1 if self._log else 0

    def digest(self, next_offset: int) -> str | None:
        """The digest of the sums at `next_offset`; None when no fold of this log ever stands there."""
        if next_offset not in self._digests:
            known = bisect.bisect_left(self._log, next_offset, key=lambda record: record.offset)
            if not known or self._log[known - 1].offset + 1 != next_offset:
                return None
            self._digests[next_offset] = self._at(next_offset).digest()
        return self._digests[next_offset]

    def folded(self) -> Shard:
        """The shard after the whole log."""
        return self._at(self.end)

    def _at(self, next_offset: int) -> Shard:
        if self._shard.next > next_offset:
            self._shard = self._fresh()  # Redis went back
        first = bisect.bisect_left(self._log, self._shard.next, key=lambda record: record.offset)
        last = bisect.bisect_left(self._log, next_offset, key=lambda record: record.offset)
        self._shard.skipped.update(record.offset for record in self._log[first:last] if record.value == DEADLY)
        self._shard.feed(self._log[first:last])
        return self._shard

    def _fresh(self) -> Shard:
        return Shard(self._lineage)
