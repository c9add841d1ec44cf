"""What a demo has shown: the numbers for machines, and a table for people."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alice_rl.simulation.score import HeldOut, Ledger, Score, Standing
from worker.demo.plan import Plan
from worker.demo.session import Learned

__all__ = [
    "RECENT_SHARE",
    "holdout_facts",
    "holdout_words",
    "players_table",
    "recent_score",
    "summary",
    "summary_table",
]

RECENT_SHARE = 0.2
"""The last part of the turns, on which what was learned is measured."""


def recent_score(ledger: Ledger) -> Score:
    """The score of the last turns, and of all players on the same ones."""
    return ledger.score(int(ledger.turns * (1.0 - RECENT_SHARE)))


def summary(ledger: Ledger, learned: Learned, plan: Plan) -> dict[str, Any]:
    """The summary as JSON values; `holdout` and `drift` only when there was one."""
    recent, everything = recent_score(ledger), ledger.score()
    served, rules = recent.served, recent.rules
    told = {
        "turns": ledger.turns,
        "events": learned.events,
        "seconds": round(learned.seconds, 2),
        "snapshots": learned.snapshots,
        "rejected": learned.rejected,
        "reward": {
            "learned": round(served.reward, 4),
            "rules": round(rules.reward, 4),
            "uniform": round(recent.uniform.reward, 4),
            "oracle": round(recent.oracle.reward, 4),
        },
        "route_precision": _both(served.route_precision, rules.route_precision),
        "tool_precision": _both(served.tool_precision, rules.tool_precision),
        "latency_p95_ms": _both(served.latency_p95_ms, rules.latency_p95_ms, 1),
        "cache_hit_rate": _both(served.cache_hit_rate, rules.cache_hit_rate),
        "mean_weight": round(everything.mean_weight, 4),
        "versions_seen_by_client": everything.versions,
        **holdout_facts(everything.holdout),
    }
    return told | ({"drift": _drift(ledger, plan.drift_at)} if plan.drift_at is not None else {})


def holdout_facts(holdout: HeldOut | None) -> dict[str, dict[str, float | None]]:
    """The hold-out as JSON values under `holdout`; nothing without one."""
    if holdout is None:
        return {}
    return {"holdout": {name: None if isnan(v) else round(v, 4) for name, v in holdout._asdict().items()}}


def holdout_words(holdout: HeldOut) -> str:
    """The hold-out in a line."""
    words = f"Held out: {holdout.turns:,} turns ({holdout.share:.1%}) by the rules"
    words += f", reward {holdout.reward:.3f}" if holdout.turns else ""
    return words + ("." if isnan(holdout.policy_reward) else f"; the policies' {holdout.policy_reward:.3f}.")


def _both(learned: float, rules: float, digits: int = 4) -> dict[str, float]:
    return {"learned": round(learned, digits), "rules": round(rules, digits)}


def _drift_windows(turns: int, at: int) -> dict[str, tuple[int, int]]:
    """Turns before the drift, right after it, and at the end: each a tenth of the run at the most."""
    span = max(1, min(turns // 10, at, turns - at))
    return {"before": (at - span, at), "after": (at, at + span), "end": (turns - span, turns)}


def _drift(ledger: Ledger, at: int) -> dict[str, Any]:
    scores = {name: ledger.score(*window) for name, window in _drift_windows(ledger.turns, at).items()}
    rewards = {name: _both(s.served.reward, s.rules.reward) for name, s in scores.items()}
    return {"at_turn": at} | {
        name: both | {"oracle": round(scores[name].oracle.reward, 4)} for name, both in rewards.items()
    }


_ROWS: tuple[tuple[str, Callable[[Standing], str]], ...] = (
    ("reward per turn", lambda standing: f"{standing.reward:.3f}"),
    ("right route", lambda standing: f"{standing.route_precision:.1%}"),
    ("right tool", lambda standing: f"{standing.tool_precision:.1%}"),
    ("right cache tier", lambda standing: f"{standing.cache_precision:.1%}"),
    ("latency p95", lambda standing: f"{standing.latency_p95_ms:,.0f} ms"),
    ("answered from cache", lambda standing: f"{standing.cache_hit_rate:.1%}"),
)


def players_table(score: Score, served: str, title: str) -> Table:
    """The players side by side; `served` is what the served policy is called."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("")
    for name, style in ((served, "bold green"), ("rules", ""), ("uniform", ""), ("oracle", "")):
        table.add_column(name, justify="right", style=style)
    for label, fact in _ROWS:
        table.add_row(label, *(fact(player) for player in (score.served, score.rules, score.uniform, score.oracle)))
    return table


def summary_table(ledger: Ledger, learned: Learned, plan: Plan) -> RenderableType:
    """The summary for people."""
    recent, everything = recent_score(ledger), ledger.score()
    table = players_table(recent, "learned", f"The last {recent.turns:,} of {ledger.turns:,} turns")
    weight = f"{everything.mean_weight:.3f} ± {everything.weight_error:.3f}"
    lines = [
        f"{learned.events:,} events learned in {learned.seconds:.1f} s, {learned.rejected} rejected; "
        f"{learned.snapshots} snapshots, {everything.versions} of them served, each at once: "
        'canary.mode is "direct" here, without a gate.',
        f"Mean importance weight of chance against the logged probabilities: {weight} (honest ones have 1).",
    ]
    if everything.holdout is not None:
        lines.append(holdout_words(everything.holdout))
    if plan.drift_at is not None:
        drift = _drift(ledger, plan.drift_at)
        parts = [
            f"{name} {drift[name]['learned']:.2f} of {drift[name]['oracle']:.2f}" for name in ("before", "after", "end")
        ]
        lines.append(f"The world changed at turn {plan.drift_at:,}. Reward against the oracle's: {', '.join(parts)}.")
    return Group(table, *(Text(f"  {line}") for line in lines))
