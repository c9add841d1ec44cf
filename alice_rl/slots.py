"""How each slot learns and explores: the config sections `route`, `tool`, `cache`, `quotas` and `guardian`.

All of it is applied when a policy is solved or a decision is drawn, so changing it is a publication, not a
replay; the arms alone are part of the lineage. The snapshot carries what decisions need, so every client
draws from the same distribution.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from alice_rl.errors import ConfigError
from alice_rl.feature_spec import CategoricalName
from alice_rl.lineage import ArmNames

__all__ = [
    "CacheSettings",
    "Exploration",
    "GuardianSettings",
    "QuotaSettings",
    "Restriction",
    "RouteRule",
    "RouteSettings",
    "ToolSettings",
    "allowed_arms",
]

RouteRule = Literal["ucb", "thompson", "igw"]

Floor = Annotated[
    float,
    Meta(gt=0, le=1, description="share of turns spread evenly over the available arms: what makes turns evidence"),
]
ArmName = Annotated[str, Meta(min_length=1, max_length=64)]


class RouteSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[route]` section: which arms may answer, and the ridge regression that chooses among them."""

    arms: Annotated[ArmNames, Meta(description="arms of the route; part of the lineage")] = ("micro", "planner", "deep")
    rule: Annotated[RouteRule, Meta(description="how scores become a distribution")] = "ucb"
    alpha: Annotated[float, Meta(ge=0, le=100, description="width of the confidence bound, reward (ucb)")] = 0.5
    young_rounds: Annotated[
        float, Meta(ge=0, le=1e9, description="turns in which a young arm's extra width halves; 0: no extra width")
    ] = 50.0
    gamma: Annotated[float, Meta(ge=0, le=1e6, description="greediness of inverse-gap weighting (igw)")] = 4.0
    lam: Annotated[float, Meta(gt=0, le=1e9, description="ridge, in turns' worth of knowing nothing")] = 1.0
    regularization: Annotated[
        Literal["fixed", "evidence"], Meta(description="keep lam, or let each arm's own turns choose its ridge")
    ] = "fixed"
    floor: Floor = 0.03


class ToolSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[tool]` section: Thompson sampling per (intent, tool)."""

    arms: Annotated[ArmNames, Meta(description="tools that may be used; part of the lineage")] = ("none",)
    alpha_prior: Annotated[float, Meta(gt=0, le=1e6, description="successes that every tool starts with")] = 1.0
    beta_prior: Annotated[float, Meta(gt=0, le=1e6, description="failures that every tool starts with")] = 1.0
    pooled_counts: Annotated[
        float, Meta(ge=0, le=1e6, description="turns that each intent borrows at the tool's overall success rate")
    ] = 6.0
    floor: Floor = 0.03


class CacheSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[cache]` section: epsilon-greedy per query class, with a decaying epsilon."""

    arms: Annotated[ArmNames, Meta(description="cache tiers; part of the lineage")] = ("L1", "L2", "L3")
    class_by: Annotated[
        tuple[CategoricalName, ...],
        Meta(min_length=1, description="context fields that make a query class; part of the lineage"),
    ] = ("intent",)
    epsilon_start: Annotated[float, Meta(ge=0, le=1, description="share explored by a class without turns")] = 0.3
    epsilon_floor: Annotated[float, Meta(gt=0, le=1, description="share explored for ever")] = 0.03
    half_after: Annotated[
        float, Meta(ge=0, le=1e9, description="turns of a class after which half of the decay is done; 0: at once")
    ] = 200.0
    pooled_counts: Annotated[
        float, Meta(ge=0, le=1e6, description="turns that each class borrows at the tier's overall mean")
    ] = 6.0

    def __post_init__(self) -> None:
        if self.epsilon_start < self.epsilon_floor:
            raise ConfigError(
                f"cache.epsilon_start = {self.epsilon_start} lies below epsilon_floor = {self.epsilon_floor}",
                hint="epsilon decays from the one to the other",
            )


class QuotaSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[quotas]` section: how much of the probability of one decision an arm may have."""

    max_share: Annotated[
        dict[ArmName, Annotated[float, Meta(ge=0, le=1)]],
        Meta(description="largest probability per arm, in whichever slot; holds while other arms are available"),
    ] = {}


class Restriction(Struct, frozen=True, forbid_unknown_fields=True):
    """The arms that a guardian state leaves, per slot; an absent slot is not restricted."""

    route: ArmNames | None = None
    tool: ArmNames | None = None
    cache: ArmNames | None = None


GuardianSettings = dict[ArmName, Restriction]
"""The `[guardian]` section: guardian state -> the arms it leaves, as in `[guardian.LOCKDOWN] route = ["micro"]`."""


def allowed_arms(guardian: GuardianSettings, state: str | None, slot: str) -> tuple[str, ...] | None:
    """The arms that a guardian state leaves in a slot, None where it leaves all.

    Examples
    --------
    >>> guardian = {"LOCKDOWN": Restriction(route=("micro",))}
    >>> allowed_arms(guardian, "LOCKDOWN", "route"), allowed_arms(guardian, "LOCKDOWN", "tool")
    (('micro',), None)
    """
    restriction = guardian.get(state) if state is not None else None
    arms: tuple[str, ...] | None = getattr(restriction, slot) if restriction is not None else None
    return arms


class Exploration(Struct, frozen=True):
    """What turns scores into distributions: the part of the three slots' settings that a snapshot carries."""

    route_rule: RouteRule = "ucb"
    route_floor: Floor = 0.03
    route_gamma: Annotated[float, Meta(ge=0)] = 4.0
    tool_floor: Floor = 0.03
    cache_epsilon_start: Annotated[float, Meta(ge=0, le=1)] = 0.3
    cache_epsilon_floor: Annotated[float, Meta(gt=0, le=1)] = 0.03
    cache_half_after: Annotated[float, Meta(ge=0)] = 200.0

    @classmethod
    def of(cls, route: RouteSettings, tool: ToolSettings, cache: CacheSettings) -> Exploration:
        """The settings as a snapshot carries them."""
        return cls(
            route_rule=route.rule,
            route_floor=route.floor,
            route_gamma=route.gamma,
            tool_floor=tool.floor,
            cache_epsilon_start=cache.epsilon_start,
            cache_epsilon_floor=cache.epsilon_floor,
            cache_half_after=cache.half_after,
        )
