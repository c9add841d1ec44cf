"""The plan: which fault strikes whom and when. A function of the seed alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Literal, NamedTuple

__all__ = ["DECK", "KAFKA_RESTARTS_MAX", "SESSION_SECONDS", "SPANS", "WORKERS", "Fault", "Kind", "plan"]

Kind = Literal[
    "kill_worker",
    "stop_worker",
    "freeze_worker",
    "extra_worker",
    "crash_redis",
    "freeze_redis",
    "fill_redis",
    "flush_scripts",
    "kill_connections",
    "restart_kafka",
]

WORKERS = ("worker-1", "worker-2", "worker-3")
EXTRA_WORKER = "worker-4"
SESSION_SECONDS = 2.0
"""The group gives the partitions of a silent worker away after this."""

DECK: dict[Kind, int] = {
    "kill_worker": 3,
    "stop_worker": 2,
    "freeze_worker": 2,
    "extra_worker": 1,
    "crash_redis": 2,
    "freeze_redis": 1,
    "fill_redis": 1,
    "flush_scripts": 1,
    "kill_connections": 1,
    "restart_kafka": 1,
}
"""How often each kind comes in one round; rounds are shuffled and dealt to the end, so that no kind is forgotten."""

KAFKA_RESTARTS_MAX = 2

SPANS: dict[Kind, tuple[float, float]] = {
    "kill_worker": (0.1, 4.0),
    "stop_worker": (0.0, 2.0),
    "freeze_worker": (1.3 * SESSION_SECONDS, 3.5 * SESSION_SECONDS),  # it wakes up when others have its partitions
    "extra_worker": (4.0, 10.0),
    "crash_redis": (0.0, 2.0),
    "freeze_redis": (0.5, 5.0),
    "fill_redis": (1.0, 5.0),
    "flush_scripts": (0.0, 0.0),
    "kill_connections": (0.0, 0.0),
    "restart_kafka": (0.0, 1.0),
}
"""Shortest and longest time until a fault is mended, in seconds."""

_REST_SECONDS = 0.5  # between the end of one fault and the next on the same target


class Fault(NamedTuple):
    """Something that is done to `target`, `at` seconds after the start, and mended `seconds` later."""

    at: float
    kind: Kind
    target: str
    seconds: float


def plan(seed: int, seconds: float, pause_seconds: float = 2.5) -> list[Fault]:
    """The faults of a run of so many seconds, in their order.

    Parameters
    ----------
    seed : int
    seconds : float
        All faults are mended by then.
    pause_seconds : float
        Mean of the random pauses between the beginnings of two faults.

    Notes
    -----
    Faults on different targets overlap; on one target they do not, so that each is mended by whoever caused it.

    Examples
    --------
    >>> plan(7, 60) == plan(7, 60)
    True
    """
    rng = random.Random(f"plan {seed}")
    free_at: dict[str, float] = {}
    faults: list[Fault] = []
    at = 0.0
    for kind in _dealt(rng):
        at += pause_seconds * min(3.0, rng.expovariate(1.0))
        target = _target(rng, kind, free_at)
        at = max(at, free_at.get(target, 0.0))
        lasting = rng.uniform(*SPANS[kind])
        if at + lasting >= seconds:
            return faults
        faults.append(Fault(round(at, 3), kind, target, round(lasting, 3)))
        free_at[target] = at + lasting + _REST_SECONDS
    raise AssertionError("unreachable: the deck never ends")


def _dealt(rng: random.Random) -> Iterator[Kind]:
    """The kinds, round after round; Kafka restarts are rare."""
    for dealt in range(1_000_000):
        deck = [kind for kind, count in DECK.items() for _ in range(count)]
        if dealt >= KAFKA_RESTARTS_MAX:
            deck.remove("restart_kafka")
        rng.shuffle(deck)
        yield from deck


def _target(rng: random.Random, kind: Kind, free_at: dict[str, float]) -> str:
    """Whom a fault strikes: of the workers, one of the two that were left in peace for longest."""
    if kind == "extra_worker":
        return EXTRA_WORKER
    if kind.endswith("_worker"):
        return rng.choice(sorted(WORKERS, key=lambda name: (free_at.get(name, 0.0), name))[:2])
    return "kafka" if kind == "restart_kafka" else "redis"
