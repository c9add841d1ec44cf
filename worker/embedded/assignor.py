"""The partition assignor for groups on the embedded broker: round-robin that lets the followers go first.

A group's leader sends everybody's share with its SyncGroup request. librdkafka's mock cluster calls the group
settled at that moment, and answers a follower whose own SyncGroup comes later with INVALID_REQUEST, which is
fatal to aiokafka. A real broker keeps the share until the follower asks. So the leader waits a little: only
it runs `assign`.
"""

from __future__ import annotations

import time
from typing import Any

from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

__all__ = ["EmbeddedAssignor"]

FOLLOWERS_FIRST_SECONDS = 0.3  # a follower needs some milliseconds, more when the machine is busy


class EmbeddedAssignor(RoundRobinPartitionAssignor):  # type: ignore[misc]  # aiokafka ships no types
    """Round-robin for consumers of `EmbeddedBroker`.

    Notes
    -----
    Pass it as ``partition_assignment_strategy=[EmbeddedAssignor]``; every member of the group must. A leader
    alone in its group waits for nobody.
    """

    @classmethod
    def assign(cls, cluster: Any, members: Any) -> Any:
        """Shares of all members, after a pause when there are followers."""
        if len(members) > 1:
            # Blocking on purpose: the leader has nothing to do before it has answered, and aiokafka calls
            # this inline.
            time.sleep(FOLLOWERS_FIRST_SECONDS)
        return super().assign(cluster, members)
