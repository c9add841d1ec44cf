"""Whose value is asked for: the probability with which somebody would have served what was served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from alice_rl.events import Decision, SlotChoice, Turn
from alice_rl.lineage import SLOTS
from alice_rl.snapshot.policy import Policy
from alice_rl.snapshot.rules import Rules

__all__ = ["PolicyTarget", "RulesTarget", "ServedTarget", "Target", "served_probability"]

Decided = Decision | Turn


class Target(Protocol):
    """Who would have served."""

    def probability(self, decision: Decided) -> float:
        """Of all that was served, jointly over the slots that the turn used."""
        ...

    def routes(self, decision: Decided) -> Mapping[str, float]:
        """The distribution over the route's arms; empty where the turn has no route."""
        ...


class PolicyTarget:
    """A policy, asked for the same contexts and the same arms on offer."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def probability(self, decision: Decided) -> float:
        """See `Target`."""
        product = 1.0
        for slot in SLOTS:
            choice: SlotChoice | None = getattr(decision, slot)
            if choice is not None:
                product *= self._policy.distribution(slot, decision.context, choice.available).get(choice.arm, 0.0)
        return product

    def routes(self, decision: Decided) -> Mapping[str, float]:
        """See `Target`."""
        route = decision.route
        return {} if route is None else self._policy.distribution("route", decision.context, route.available)


class RulesTarget:
    """The rules, which leave nothing to chance."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def probability(self, decision: Decided) -> float:
        """See `Target`."""
        choices = [(slot, getattr(decision, slot)) for slot in SLOTS]
        return float(all(choice is None or self._arm(slot, decision, choice) == choice.arm for slot, choice in choices))

    def routes(self, decision: Decided) -> Mapping[str, float]:
        """See `Target`."""
        return {} if decision.route is None else {self._arm("route", decision, decision.route): 1.0}

    def _arm(self, slot: str, decision: Decided, choice: SlotChoice) -> str:
        return self._rules.choose(slot, decision.context.intent, choice.available)


class ServedTarget:
    """Whoever has served: all weights are 1, and the value is the mean reward."""

    def probability(self, decision: Decided) -> float:
        """See `Target`."""
        return served_probability(decision) or 0.0

    def routes(self, decision: Decided) -> Mapping[str, float]:
        """See `Target`."""
        return {} if decision.route is None else {decision.route.arm: 1.0}


def served_probability(decision: Decided) -> float | None:
    """The probability of what was served, jointly over the slots; None where it is not told."""
    product = 1.0
    for choice in (decision.route, decision.tool, decision.cache):
        if choice is not None:
            if choice.p is None:
                return None
            product *= choice.p
    return None if decision.policy.stage == "fallback" or product <= 0.0 else product
