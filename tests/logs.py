"""Logs for tests: records as a broker hands them over, made from seeds or from short scripts."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from alice_rl.lineage import Arms, Lineage
from alice_rl.shard import Shard

__all__ = [
    "LINEAGE",
    "START_MS",
    "TOOLS",
    "LogRecord",
    "decision",
    "held_out",
    "in_trial",
    "outcome",
    "parts_of",
    "random_turn",
    "records",
    "turn",
    "turns",
]

START_MS = 1_767_225_600_000
TOOLS = ("weather.lookup", "calendar.read", "search", "none")
LINEAGE = Lineage(arms=Arms(tool=TOOLS))
_ROUTES, _TIERS = ("micro", "planner", "deep"), ("L1", "L2", "L3")
_INTENTS = ("weather", "calendar", "smalltalk", "code", "väder")


class LogRecord(NamedTuple):
    """One record of a partition."""

    offset: int
    timestamp: int
    value: bytes | None


def decision(decision_id: str, ts_ms: int = START_MS, **changes: Any) -> dict[str, Any]:
    """A decision event as a dict; `changes` replace its fields."""
    event = {
        "type": "decision",
        "decision_id": decision_id,
        "ts_ms": ts_ms,
        "session_id": "s-1",
        "context": {"intent": "weather", "lang": "sv", "guardian_state": "NORMAL", "text_len": 34, "confidence": 0.91},
        "policy": {"version": 1, "digest": "ab" * 32, "stage": "live"},
        "route": {"arm": "micro", "p": 0.5, "p_live": 0.5, "available": list(_ROUTES)},
        "tool": {"arm": "weather.lookup", "p": 0.5, "p_live": 0.5, "available": ["weather.lookup", "none"]},
        "cache": {"arm": "L2", "p": 0.5, "p_live": 0.5, "available": list(_TIERS)},
    }
    return event | changes


def in_trial(event: dict[str, Any], *, share: float, treated: bool, p_canary: float | None = 0.25) -> dict[str, Any]:
    """A decision or turn while a canary is tried; each slot's arm had `p_canary` under the canary."""
    stage = "canary" if treated else "live"
    policy = event["policy"] | {
        "stage": stage,
        "canary_version": 2,
        "canary_digest": "cd" * 32,
        "canary_share": share,
    }
    slots = {
        slot: event[slot]
        | {"p_live": event[slot]["p"], "p_canary": p_canary}
        | ({"p": p_canary} if treated and p_canary is not None else {})
        for slot in ("route", "tool", "cache")
    }
    return event | {"policy": policy} | slots


def held_out(event: dict[str, Any], *, share: float, treated: bool) -> dict[str, Any]:
    """A decision or turn while a share is held out: by the policy (`treated`), or by the rules."""
    policy = event["policy"] if treated else {"stage": "fallback"}
    return event | {"policy": policy | {"holdout_share": share}}


def outcome(decision_id: str, ts_ms: int = START_MS + 700, **changes: Any) -> dict[str, Any]:
    """An outcome event as a dict; `changes` replace its fields."""
    event = {
        "type": "outcome",
        "decision_id": decision_id,
        "ts_ms": ts_ms,
        "success": True,
        "tool_ok": True,
        "latency_ms": 640.5,
        "cost_usd": 0.0008,
        "cache_hit": False,
        "guardian_flag": False,
    }
    return event | changes


def turn(decision_id: str, ts_ms: int = START_MS, **changes: Any) -> dict[str, Any]:
    """A whole turn as a dict; `changes` replace its fields."""
    ended = {k: v for k, v in outcome(decision_id, ts_ms + 700).items() if k not in ("type", "decision_id")}
    return decision(decision_id, ts_ms) | {"type": "turn", "outcome": ended} | changes


def parts_of(shard: Shard) -> dict[str, bytes]:
    """The bytes of all parts of a shard, by name: what its checkpoints hold."""
    return {parts.name(at): part.sealed()[0] for parts in shard.parts for at, part in parts.items()}


def records(values: Iterable[dict[str, Any] | bytes | None], first: int = 0) -> list[LogRecord]:
    """Events, or raw values, as the records of one partition."""
    return [
        LogRecord(offset, START_MS, msgspec.json.encode(value) if isinstance(value, dict) else value)
        for offset, value in enumerate(values, first)
    ]


def turns(count: int, seed: int = 1, *, step_ms: int = 1000, split: bool = False) -> list[LogRecord]:
    """A log of `count` random turns, `step_ms` apart; `split` writes each as a decision and an outcome."""
    rng = random.Random(seed)
    values: list[dict[str, Any]] = []
    for i in range(count):
        values += random_turn(rng, f"{seed}-{i}", START_MS + i * step_ms, split)
    return records(values)


def random_turn(rng: random.Random, decision_id: str, ts_ms: int, split: bool) -> Sequence[dict[str, Any]]:
    """A random turn as one event, or with `split` as its decision and its outcome."""
    tools = ["search", *rng.sample(TOOLS[:2], rng.randint(0, 2)), "none"]
    context: dict[str, Any] = {
        "intent": rng.choice(_INTENTS),
        "lang": rng.choice(("sv", "en")),
        "text_len": rng.randrange(900),
    }
    if rng.random() < 0.8:
        context |= {"recent_latency_ms": rng.expovariate(0.001), "recent_cost_usd": rng.random() * 0.01}
    slots = {
        name: {"arm": rng.choice(arms), "p": 1 / len(arms), "available": list(arms)}
        for name, arms in (("route", _ROUTES), ("tool", tools), ("cache", _TIERS))
    }
    ended = {
        "success": rng.random() < 0.8,
        "latency_ms": rng.expovariate(0.001),
        "cost_usd": rng.random() * 0.01,
        "cache_hit": rng.random() < 0.3,
        "guardian_flag": rng.random() < 0.02,
    } | ({"tool_ok": rng.random() < 0.7} if slots["tool"]["arm"] != "none" else {})
    if split:
        return decision(decision_id, ts_ms, context=context, **slots), outcome(
            decision_id, ts_ms + 900, tool_ok=None
        ) | ended
    return (turn(decision_id, ts_ms, context=context, outcome={"ts_ms": ts_ms + 900, **ended}, **slots),)
