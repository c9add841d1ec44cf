"""Brokers in memory: a log per partition, and the coordinator of the one group. Its members are `client.Client`s.

The group is more careless than Kafka's: its members hear of a rebalance each in its own time, so that for a while two
of them believe that they hold a partition, or nobody does.
"""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from tests.logs import LogRecord
from tests.simulation.clock import VirtualLoop
from tests.simulation.plan import Plan
from tests.simulation.telemetry import Append
from tests.simulation.trace import Trace

if TYPE_CHECKING:
    from tests.simulation.client import Client

__all__ = ["HEARTBEAT_SECONDS", "SESSION_SECONDS", "Broker"]

SESSION_SECONDS = 2.0
HEARTBEAT_SECONDS = 0.5


class Broker:
    """All brokers, and the coordinator of the one group.

    Attributes
    ----------
    logs : list of list of LogRecord
        By partition.
    ends : list of int
        The offset after the last record, or after what is no record.
    away : bool
    errors : set of str
        What fails at the moment: `fetch_error`, `ends_error`, `commit_error`.
    members : list of Client
    """

    def __init__(self, loop: VirtualLoop, plan: Plan, trace: Trace) -> None:
        self.logs: list[list[LogRecord]] = [[] for _ in range(plan.partitions)]
        self.ends = [0] * plan.partitions
        self.committed: dict[int, int] = {}
        self.away = False
        self.errors: set[str] = set()
        self.members: list[Client] = []
        self.rng = plan.rng("kafka")
        self.batch_max = plan.batch_max
        self._generation = 0
        self._loop = loop
        self._trace = trace

    def append(self, partition: int, what: Append) -> None:
        """Write one record."""
        offset = self.ends[partition] + what.gap
        self.logs[partition].append(LogRecord(offset, what.timestamp, what.value))
        self.ends[partition] = offset + 1

    def pass_by(self, partition: int, count: int) -> None:
        """Offsets at the end that are no records: a transaction's marker."""
        self.ends[partition] += count

    def add_partition(self) -> int:
        """The topic is given one more."""
        self.logs.append([])
        self.ends.append(0)
        self.rebalance()
        return len(self.logs) - 1

    def read(self, partition: int, offset: int, count: int) -> list[LogRecord]:
        """The next records from an offset on."""
        log = self.logs[partition]
        at = bisect.bisect_left(log, offset, key=lambda record: record.offset)
        return log[at : at + count]

    def join(self, client: Client) -> None:
        """A member comes, or comes back."""
        if client not in self.members:
            self.members.append(client)
        self.rebalance()

    def leave(self, client: Client) -> None:
        """A member goes."""
        if client in self.members:
            self.members.remove(client)
            self.rebalance()

    async def watch(self) -> None:
        """Expel the members that are silent for longer than the session timeout, for ever."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for member in list(self.members):
                since = member.process.silent_since
                if since is not None and self._loop.time() - since > SESSION_SECONDS:
                    self._trace.note("sim.expelled", member=member.process.name)
                    self.leave(member)
                    member.process.tell(member.expelled)

    def rebalance(self) -> None:
        """Deal the partitions out anew, soon."""
        self._generation += 1
        self.later(self.rng.uniform(0.0, 0.3), self._deal, self._generation)

    def later(self, seconds: float, callback: Callable[..., object], *args: Any) -> None:
        """Have something happen outside of all processes."""
        self._loop.call_later(seconds, callback, *args, context=Context())

    def _deal(self, generation: int) -> None:
        if generation != self._generation or not self.members:
            return
        members, shares = list(self.members), list(range(len(self.logs)))
        if self.rng.random() < 0.5:
            self.rng.shuffle(members)
        dealt = {id(member): frozenset(shares[i :: len(members)]) for i, member in enumerate(members)}
        self._trace.note(
            "sim.dealt", generation=generation, to=[(m.process.name, sorted(dealt[id(m)])) for m in members]
        )
        for member in members:
            hears = self.rng.uniform(0.0, HEARTBEAT_SECONDS)
            self.later(hears, member.process.tell, member.revoke)
            self.later(hears + self.rng.uniform(0.0, 1.0), self._hand_over, member, generation, dealt[id(member)])

    def _hand_over(self, member: Client, generation: int, share: frozenset[int]) -> None:
        if generation == self._generation:  # else another round is under way
            member.process.tell(member.assign, share)
