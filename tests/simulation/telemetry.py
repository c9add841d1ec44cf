"""The log of a world: what the orchestrators write to one partition, with all the disorder that the wire allows."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from tests.logs import START_MS, decision, held_out, in_trial, outcome, turn

__all__ = ["DEADLY", "Append", "telemetry"]

DEADLY = b'{"deadly": true}'
"""A record that kills whoever decodes it."""

_GARBAGE = (b"", None, b"{", b'{"type":"turn"}', b'{"type":"outcome","decision_id":"d","ts_ms":-1}', b"\xff\xfe")
_YEAR_2099_MS = 4_070_908_800_000


class Append(NamedTuple):
    """A record that is appended at `at` (seconds of the world), `gap` offsets after the one before."""

    at: float
    gap: int
    timestamp: int
    value: bytes | None


def telemetry(rng: random.Random, partition: int, events: int, seconds: float, *, deadly: bool) -> list[Append]:
    """The records of one partition in the order of their offsets."""
    values = list(_values(rng, partition, events))
    moments = sorted(rng.uniform(0.0, seconds) for _ in range(rng.randint(1, 40)))  # records come in bursts
    times = sorted(rng.choice(moments) + rng.randrange(10) * 0.03 for _ in values)
    killer = rng.randrange(len(values)) if deadly else -1
    return [
        Append(
            at,
            rng.choice((1, 1, 2, 9)) if rng.random() < 0.02 else 0,  # aborted transactions, markers, compaction
            START_MS + int(at * 1000),
            DEADLY if i == killer else value if isinstance(value, bytes | None) else msgspec.json.encode(value),
        )
        for i, (at, value) in enumerate(zip(times, values, strict=True))
    ]


def _values(rng: random.Random, partition: int, events: int) -> Iterator[dict[str, Any] | bytes | None]:
    """Turns whole and in halves, in either order, repeated, late, without their other half; and garbage."""
    now = START_MS + rng.randrange(60_000)
    waiting: list[tuple[int, Any]] = []  # (after how many more events, the event)
    for i in range(events):
        step = rng.choice((rng.randrange(900), rng.randrange(900), rng.randrange(4_000), -rng.randrange(15_000)))
        ts_ms = now + step
        now = max(now, ts_ms)
        if rng.random() < 0.01:
            now += rng.randrange(60_000)  # a silent night
        name = f"{partition}-{rng.randrange(i + 1) if rng.random() < 0.1 else i}"
        made = _events(rng, name, _YEAR_2099_MS if rng.random() < 0.01 else ts_ms)
        yield made[0]
        waiting += [(rng.choice((0, 0, 1, 3, 20)), other) for other in made[1:]]
        if rng.random() < 0.05:
            waiting.append((rng.randrange(30), made[-1]))  # said twice
        yield from [event for due, event in waiting if due <= 0]
        waiting = [(due - 1, event) for due, event in waiting if due > 0]


def _events(rng: random.Random, name: str, ts_ms: int) -> list[Any]:
    """One turn as it is written: whole, or as two halves in either order, or as something that is no event."""
    context = {"intent": rng.choice("abcd"), "text_len": rng.randrange(99), "lang": rng.choice(("sv", "en"))}
    ended = {"success": rng.random() < 0.8, "cache_hit": rng.random() < 0.3, "latency_ms": float(rng.randrange(4_000))}
    kind = rng.choice(("turn", "turn", "halves", "halves", "swapped", "decision", "outcome", "garbage"))
    tried = _tried(name)
    halves = [tried(decision(name, ts_ms, context=context)), outcome(name, ts_ms + rng.randrange(3_000), **ended)]
    match kind:
        case "garbage":
            return [rng.choice(_GARBAGE)]
        case "turn":
            whole = tried(turn(name, ts_ms, context=context))
            return [whole | {"outcome": whole["outcome"] | ended}]
        case "halves":
            return halves
        case "swapped":
            return halves[::-1]
    return [halves[kind == "outcome"]]


def _tried(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Puts a decision into a trial, or none; by its name, which leaves the world's chances as they are."""
    lot = crc32(name.encode()) % 6
    if lot < 2:
        return dict
    if lot < 4:
        return partial(in_trial, share=0.25, treated=lot == 2)
    return partial(held_out, share=0.125, treated=lot == 4)
