"""What a run ends with: one JSON object, and for a failure how to run it again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from time import monotonic

from msgspec import Struct

from tests.chaos.judge import Published

__all__ = ["ChaosReport", "RollingReport", "longest_gap_seconds", "progress"]


class ChaosReport(Struct, kw_only=True):
    """The last line of `python -m tests.chaos`.

    `restarts` counts the processes after the first of each worker, `rebalances` the times that a worker took partitions
    over, `fenced` the partitions that one held for too long, `exits` the ends of workers
    that nobody asked for, and `crashes` those among them that are bugs. `verify_equal` is what `alice-rl verify` says
    of it all, `verify_after_one_byte` where it says that they part once a byte of a shard was changed by hand.
    """

    seed: int
    minutes: float
    events: int
    restarts: int
    rebalances: int
    redis_restarts: int
    kafka_restarts: int
    equal: bool
    lost: int
    double: int
    longest_stall_seconds: float
    snapshots_checked: int
    verify_equal: bool
    verify_after_one_byte: str
    rejected: int
    fenced: int
    exits: int
    crashes: int
    faults: dict[str, int]

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, nothing counted twice, no worker failed, and users can prove that themselves."""
        exact = self.equal and not self.lost and not self.double and not self.crashes
        return exact and self.verify_equal and bool(self.verify_after_one_byte)


class RollingReport(Struct, kw_only=True):
    """The last line of `python -m tests.chaos --rolling`."""

    seed: int
    events: int
    equal: bool
    lost: int
    double: int
    longest_snapshot_gap_seconds: float
    longest_stall_seconds: float
    snapshots: int
    exits: int
    crashes: int

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, nothing counted twice, and no worker failed."""
        return self.equal and not self.lost and not self.double and not self.crashes


def longest_gap_seconds(snapshots: list[Published]) -> float:
    """The longest time between two snapshots that were published one after the other."""
    return max((later.at_ms - earlier.at_ms for earlier, later in pairwise(snapshots)), default=0) / 1000


def progress(status: Callable[[], str]) -> Callable[[str], None]:
    """A printer of progress lines on stderr: seconds since now, what happens, and what `status` says then."""
    started = monotonic()

    def say(what: str) -> None:
        print(f"{monotonic() - started:7.1f} s  {what:<48} {status()}", file=sys.stderr, flush=True)

    return say
