"""Where two policies decide differently: their exact distributions side by side, for decisions that were really taken.

Nothing is drawn: both policies are asked for the probability of each available arm, for the same context. What they
differ by on a turn is the total variation distance, half the sum of the differences: the least share of turns on which
two drawn arms would differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from msgspec import Struct

from alice_rl.events import Decision, Turn
from alice_rl.features import query_class
from alice_rl.lineage import SLOTS
from alice_rl.snapshot.format import Snapshot
from alice_rl.snapshot.manifest import Manifest
from alice_rl.snapshot.policy import Policy
from worker.cli.policy_card import ChosenArm

__all__ = ["GroupDifference", "SlotDifference", "compare", "decide_alike", "distance"]

_DECIDES = ("features", "arms", "intents", "classes", "cache_class", "exploration", "max_share", "guardian")

Distribution = dict[str, float]


class GroupDifference(Struct, frozen=True, kw_only=True):
    """What two policies differ by on the turns of one intent or query class.

    Attributes
    ----------
    name : str
    turns : int
    differing : int
        Turns whose likeliest arm differs.
    distance_mean : float
        Total variation distance, in [0, 1].
    a, b : ChosenArm or None
        Under each policy the likeliest arm over these turns and its mean probability; None where it knows none of the
        available arms.
    """

    name: str
    turns: int
    differing: int
    distance_mean: float
    a: ChosenArm | None
    b: ChosenArm | None


class SlotDifference(Struct, frozen=True, kw_only=True):
    """What two policies differ by in one slot; numbers as in `GroupDifference`, and the groups that differ.

    `groups_by` names what makes a group, `groups` begin with the one that accounts for most of the difference.
    """

    slot: str
    turns: int
    differing: int
    differing_share: float
    distance_mean: float
    distance_max: float
    groups_by: str
    groups: list[GroupDifference]


@dataclass
class _Sums:
    turns: int = 0
    differing: int = 0
    distance: float = 0.0
    largest: float = 0.0
    a: Distribution = field(default_factory=dict)
    b: Distribution = field(default_factory=dict)

    def add(self, a: Distribution, b: Distribution, apart: float, differs: bool) -> None:
        self.turns += 1
        self.differing += differs
        self.distance += apart
        self.largest = max(self.largest, apart)
        for total, one in ((self.a, a), (self.b, b)):
            for arm, p in one.items():
                total[arm] = total.get(arm, 0.0) + p


def distance(a: Distribution, b: Distribution) -> float:
    """Total variation distance; 1 where one of them has no arm to give.

    Examples
    --------
    >>> distance({"micro": 0.9, "deep": 0.1}, {"micro": 0.4, "deep": 0.6})
    0.5
    >>> distance({"micro": 1.0}, {})
    1.0
    """
    if not a or not b:
        return float(a != b)
    return min(sum(abs(a.get(arm, 0.0) - b.get(arm, 0.0)) for arm in a.keys() | b.keys()) / 2, 1.0)


def decide_alike(a: Snapshot, b: Snapshot) -> bool:
    """Whether two policies give every decision the same distribution, because they hold the same numbers."""
    if any(getattr(a.manifest, name) != getattr(b.manifest, name) for name in _DECIDES):
        return False
    theirs = b.tensors()
    return all(np.array_equal(mine, theirs[name]) for name, mine in a.tensors().items())


def compare(a: Snapshot, b: Snapshot, decisions: Iterable[Decision | Turn]) -> list[SlotDifference]:
    """What two policies differ by on some decisions, slot by slot.

    Parameters
    ----------
    a, b : Snapshot
    decisions : iterable of Decision or Turn
        Contexts and available arms; what was chosen does not matter.
    """
    policies = Policy(a), Policy(b)
    groups: dict[str, dict[str, _Sums]] = {slot: {} for slot in SLOTS}
    by = _groups_by(a.manifest, b.manifest)
    for decision in decisions:
        for slot in SLOTS:
            choice = getattr(decision, slot)
            if choice is None:
                continue
            one, other = (policy.distribution(slot, decision.context, choice.available) for policy in policies)
            if one or other:
                name = query_class(decision.context, by[slot])
                differs = _likeliest(one) != _likeliest(other)
                groups[slot].setdefault(name, _Sums()).add(one, other, distance(one, other), differs)
    return [_slot_difference(slot, ", ".join(by[slot]), groups[slot]) for slot in SLOTS]


def _groups_by(a: Manifest, b: Manifest) -> dict[str, tuple[str, ...]]:
    """By slot the context's fields that make a group: intents, and classes where both policies have the same."""
    intent: tuple[str, ...] = ("intent",)
    return {"route": intent, "tool": intent, "cache": a.cache_class if a.cache_class == b.cache_class else intent}


def _slot_difference(slot: str, groups_by: str, groups: dict[str, _Sums]) -> SlotDifference:
    turns = sum(sums.turns for sums in groups.values())
    differing = sum(sums.differing for sums in groups.values())
    apart = sorted(
        ((name, sums) for name, sums in groups.items() if sums.distance > 0.0),
        key=lambda group: (-group[1].distance, group[0]),
    )
    return SlotDifference(
        slot=slot,
        turns=turns,
        differing=differing,
        differing_share=differing / max(turns, 1),
        distance_mean=sum(sums.distance for sums in groups.values()) / max(turns, 1),
        distance_max=max((sums.largest for sums in groups.values()), default=0.0),
        groups_by=groups_by,
        groups=[_group_difference(name, sums) for name, sums in apart],
    )


def _group_difference(name: str, sums: _Sums) -> GroupDifference:
    chosen = [
        ChosenArm(arm, total[arm] / sums.turns) if (arm := _likeliest(total)) is not None else None
        for total in (sums.a, sums.b)
    ]
    return GroupDifference(
        name=name,
        turns=sums.turns,
        differing=sums.differing,
        distance_mean=sums.distance / sums.turns,
        a=chosen[0],
        b=chosen[1],
    )


def _likeliest(distribution: Distribution) -> str | None:
    return max(distribution, key=distribution.__getitem__, default=None)
