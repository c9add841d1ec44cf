"""What a drift costs by policies of different half-lives, and how long they take to come back."""

from __future__ import annotations

from typing import NamedTuple

from alice_rl.simulation.score import Ledger
from tests.drift_demo.loop import Plan

__all__ = ["Recovery", "recovery_of"]

_REGAINED = 0.8  # of what the drift took, when one speaks of recovery


class Recovery(NamedTuple):
    """Expected reward per turn around a drift, and how long it took to come back.

    Attributes
    ----------
    before, after, end : float
        By the policies: right before the drift, right after it, and at the end.
    best_before, best_after, best_end : float
        By the oracle, on the same turns.
    turns : int or None
        After the drift, until four fifths of what it took were regained; None: not by the end.
    """

    before: float
    after: float
    end: float
    best_before: float
    best_after: float
    best_end: float
    turns: int | None


def recovery_of(ledger: Ledger, plan: Plan) -> Recovery:
    """How a run fared; stretches are a twentieth of the turns long."""
    span = plan.turns // 20
    before = _values(ledger, plan.drift_at - 2 * span, plan.drift_at)
    after = _values(ledger, plan.drift_at, plan.drift_at + span)
    end = _values(ledger, plan.turns - span, plan.turns)
    calm, hurt = before.best - before.served, after.best - after.served
    goal = hurt - _REGAINED * (hurt - calm)
    return Recovery(
        *(before.served, after.served, end.served),
        *(before.best, after.best, end.best),
        _turns(ledger, plan, span, goal),
    )


class _Values(NamedTuple):
    """Mean expected rewards of a stretch of turns."""

    served: float
    best: float


def _values(ledger: Ledger, first: int, last: int) -> _Values:
    score = ledger.score(first, last)
    return _Values(score.served.value, score.oracle.value)


def _turns(ledger: Ledger, plan: Plan, span: int, goal: float) -> int | None:
    """How long after the drift the newest `span` turns first were no further from the best than `goal`."""
    for last in range(plan.drift_at + span, plan.turns + 1, plan.publish_turns):
        served, best = _values(ledger, last - span, last)
        if best - served <= goal:
            return last - plan.drift_at
    return None
