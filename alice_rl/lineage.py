"""What a lineage of learning is defined by: change any of it, and the sums mean something else.

Two workers may add to the same sums only when their lineages have the same fingerprint. Numerics may be appended to the
features of a running lineage (`lineage_change`); anything else is another lineage. Reward weights, exploration,
half-life and everything else that is applied when a policy is solved are not part of it: they change by publishing,
without a replay.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, structs

from alice_rl.episodes import JoinSettings
from alice_rl.errors import ConfigError
from alice_rl.feature_spec import CategoricalName, FeatureSettings
from alice_rl.reward import RewardBounds

__all__ = ["SLOTS", "Arms", "Lineage"]

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

    def with_numerics(self, count: int) -> Lineage:
        """The structure that this one was when it had so many numerics.

        Raises
        ------
        ConfigError
            It does not have so many yet: the lineage was extended.

        Examples
        --------
        >>> Lineage().with_numerics(3).features.dim, Lineage().features.dim
        (71, 73)
        """
        numerics = self.features.numerics
        if count > len(numerics):
            raise ConfigError(
                f"the checkpoint has {count} numeric features, this configuration {len(numerics)}: "
                "the lineage was extended",
                code="lineage_extended",
                hint="restart this worker with the new configuration",
            )
        return structs.replace(self, features=structs.replace(self.features, numerics=numerics[:count]))

    def to_json(self) -> bytes:
        """The canonical form: JSON with sorted keys."""
        return msgspec.json.encode(self, order="sorted")
