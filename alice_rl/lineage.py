"""What a lineage of learning is defined by: change any of it, and the sums mean something else.

Two workers may add to the same sums only when their lineages have the same fingerprint. Reward weights, exploration,
half-life and everything else that is applied when a policy is solved are not part of it: they change by publishing,
without a replay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from alice_rl.episodes import JoinSettings
from alice_rl.errors import ConfigError
from alice_rl.feature_spec import CategoricalName, FeatureSettings
from alice_rl.reward import RewardBounds

__all__ = ["SLOTS", "Arms", "Lineage", "differing"]

SLOTS = ("route", "tool", "cache")
"""The decisions of a turn, in the order in which they are drawn."""

ArmNames = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...], Meta(min_length=1, max_length=256)]


class Arms(Struct, frozen=True, forbid_unknown_fields=True):
    """The arms of each slot, in the order of the sums. New arms are a new lineage."""

    route: ArmNames = ("micro", "planner", "deep")
    tool: ArmNames = ("none",)
    cache: ArmNames = ("L1", "L2", "L3")

    def __post_init__(self) -> None:
        for slot in SLOTS:
            arms = getattr(self, slot)
            if len(set(arms)) != len(arms):
                raise ConfigError(f"{slot}.arms names an arm twice", hint=f"they are {', '.join(arms)}")


class Lineage(Struct, frozen=True, forbid_unknown_fields=True):
    """The structure of what is learned.

    Examples
    --------
    >>> Lineage().fingerprint == Lineage(arms=Arms(tool=("search", "none"))).fingerprint
    False
    """

    features: FeatureSettings = FeatureSettings()
    arms: Arms = Arms()
    bounds: RewardBounds = RewardBounds()
    join: JoinSettings = JoinSettings()
    bucket_seconds: int = 3600
    """Span of the finest event-time bucket."""
    cache_class: tuple[CategoricalName, ...] = ("intent",)
    """Context fields that make a query class."""
    names_max: int = 4096
    """Intents, and query classes, that get rows of their own; the rest share one."""
    hits_teach_all: bool = False
    """Whether a turn that the cache answered teaches the route and the tool, which it never ran."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical lineage, hexadecimal."""
        return hashlib.sha256(b"alice-rl lineage 1\n" + self.to_json()).hexdigest()

    def to_json(self) -> bytes:
        """The canonical form: JSON with sorted keys."""
        return msgspec.json.encode(self, order="sorted")


def differing(declared: bytes, own: bytes) -> list[str]:
    """The parts in which two lineages differ, from their canonical forms.

    Examples
    --------
    >>> differing(Lineage().to_json(), Lineage(arms=Arms(tool=("search",)), bucket_seconds=60).to_json())
    ["arms.tool is ['search'], declared was ['none']", 'bucket_seconds is 60, declared was 3600']
    """
    before, now = (dict(_parts(msgspec.json.decode(form))) for form in (declared, own))
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return [f"{name} is {now.get(name)!r}, declared was {before.get(name)!r}" for name in names]


def _parts(value: Any, name: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _parts(part, f"{name}.{key}" if name else key)
    else:
        yield name, value
