"""A world drawn from its seed: how large it is, which faults it knows, and how often they come.

Each world knows only some of the faults, drawn anew (swarm testing): one in which everything fails at once never gets
to the failures that take a while to build up.
"""

from __future__ import annotations

import random
from typing import NamedTuple

__all__ = ["FAULTS", "Plan"]

FAULTS = (
    "request_lost",  # Redis never sees the command, and the client sends it again
    "answer_lost",  # Redis carries it out, and the client sends it again
    "late",  # the command arrives seconds after the client has given up on it
    "out_of_memory",
    "read_only",
    "redis_down",
    "scripts_flushed",
    "regression",  # a failover that loses what was acknowledged
    "kafka_down",
    "fetch_error",
    "ends_error",
    "commit_error",
    "consumer_stuck",  # hands out nothing for ever, without an error
    "rebalance",
    "kill",
    "terminate",
    "pause",
    "deadly_record",  # whoever reads it dies
    "partition_added",
)


class Plan(NamedTuple):
    """What a world is made of.

    Attributes
    ----------
    seed : int
    partitions, workers, events : int
        At the start, of the group, and per partition.
    chaos_seconds : float
        How long faults come; the log ends with them.
    pause_seconds : float
        Mean time between two faults that are brought on from outside.
    faults : frozenset of str
        Which ones there are.
    batch_max : int
        Records of a partition that one fetch hands out at most.
    retries_max : int
        How often the Redis client repeats a command by itself.
    fate : float
        How likely a command is lost, its answer is, or it is late: for each of them.
    """

    seed: int
    partitions: int
    workers: int
    events: int
    chaos_seconds: float
    pause_seconds: float
    faults: frozenset[str]
    batch_max: int
    retries_max: int
    fate: float

    @classmethod
    def of(cls, seed: int) -> Plan:
        """The plan of a seed."""
        rng = random.Random(f"plan {seed}")
        share = rng.choice((0.0, 0.15, 0.3, 0.5, 0.8))
        return cls(
            seed=seed,
            partitions=rng.randint(1, 4),
            workers=rng.randint(1, 5),
            events=rng.choice((60, 150, 300, 500)),
            chaos_seconds=rng.uniform(10.0, 30.0),
            pause_seconds=rng.choice((0.7, 2.0, 4.0)),
            faults=frozenset(fault for fault in FAULTS if rng.random() < share),
            batch_max=rng.choice((1, 7, 50, 1000)),
            retries_max=rng.choice((0, 1, 3)),
            fate=rng.choice((0.01, 0.03, 0.1)),
        )

    def rng(self, name: str) -> random.Random:
        """A source of chance of its own for each part, so that one part's draws do not move another's."""
        return random.Random(f"{name} {self.seed}")
