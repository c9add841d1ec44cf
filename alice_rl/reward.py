"""Outcome to reward components `y` and their weights: `r = w . y`.

The components are kept apart as integers; the weights meet them only when a policy is solved, so new weights are a new
publication, not a replay. Latency and cost are clipped at configured bounds, so that the reward's range is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Protocol

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from alice_rl.errors import ConfigError

__all__ = [
    "COMPONENTS",
    "PRESETS",
    "STEPS",
    "OutcomeLike",
    "RewardBounds",
    "RewardSettings",
    "components",
    "reward",
    "reward_range",
]

COMPONENTS = ("success", "tool_ok", "latency_ms", "cost_usd", "cache_hit", "guardian_flag")
"""The reward components `y`, in the order of the columns of `B` and `Y`; m = 6."""

STEPS = np.array([1.0, 1.0, 4.0, 1e5, 1.0, 1.0])
"""Fixed-point steps per natural unit: latency in quarters of a millisecond, cost in hundred-thousandths of a dollar."""


PRESETS: Mapping[str, tuple[float, ...]] = {
    "balanced": (2.0, 1.0, -0.001, -0.5, 0.4, -0.7),
    "speed": (2.0, 1.0, -0.003, -0.5, 0.8, -0.7),
    "cost": (2.0, 1.0, -0.001, -5.0, 0.8, -0.7),
    "quality": (4.0, 2.0, -0.0003, -0.1, 0.1, -1.4),
}
"""Weights by name, in the order of `COMPONENTS`."""


class OutcomeLike(Protocol):
    """What became of a turn."""

    @property
    def success(self) -> bool: ...
    @property
    def tool_ok(self) -> bool | None: ...
    @property
    def latency_ms(self) -> float: ...
    @property
    def cost_usd(self) -> float: ...
    @property
    def cache_hit(self) -> bool: ...
    @property
    def guardian_flag(self) -> bool: ...


class RewardBounds(Struct, frozen=True, forbid_unknown_fields=True):
    """Where latency and cost are clipped: structure of the reward, so part of the lineage."""

    latency_ms_max: float = 30_000.0
    cost_usd_max: float = 1.0


class RewardSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[reward]` section: a preset, single weights that override it, and the bounds.

    Examples
    --------
    >>> RewardSettings().weights.tolist()
    [2.0, 1.0, -0.001, -0.5, 0.4, -0.7]
    >>> float(RewardSettings(preset="speed", latency_ms=-0.002).weights[2])
    -0.002
    """

    preset: Annotated[Literal["balanced", "speed", "cost", "quality"], Meta(description="weights to start from")] = (
        "balanced"
    )
    success: Annotated[float | None, Meta(description="weight of a completed task; unset: the preset's")] = None
    tool_ok: Annotated[float | None, Meta(description="weight of a tool that did its job")] = None
    latency_ms: Annotated[float | None, Meta(description="weight of a millisecond (negative)")] = None
    cost_usd: Annotated[float | None, Meta(description="weight of a dollar (negative)")] = None
    cache_hit: Annotated[float | None, Meta(description="weight of a cache hit")] = None
    guardian_flag: Annotated[float | None, Meta(description="weight of a guardian's objection (negative)")] = None
    latency_ms_max: Annotated[
        float, Meta(gt=0, le=30_000, description="latency is clipped here; part of the lineage")
    ] = 30_000.0
    cost_usd_max: Annotated[float, Meta(gt=0, le=1, description="cost is clipped here; part of the lineage")] = 1.0

    def __post_init__(self) -> None:
        for name in COMPONENTS:
            weight = getattr(self, name)
            if weight is not None and not abs(weight) <= 1e6:
                raise ConfigError(f"reward.{name} = {weight} is not a finite weight", hint="use a number within +-1e6")

    @property
    def bounds(self) -> RewardBounds:
        """The bounds alone, which the lineage holds."""
        return RewardBounds(self.latency_ms_max, self.cost_usd_max)

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """Reward weights `w` per natural unit, ndarray, shape (m,)."""
        chosen = [getattr(self, name) for name in COMPONENTS]
        return np.array([p if c is None else c for c, p in zip(chosen, PRESETS[self.preset], strict=True)])


def components(outcomes: Sequence[OutcomeLike], bounds: RewardBounds) -> npt.NDArray[np.int64]:
    """Reward components as fixed-point integers, ndarray, shape (N, m).

    Notes
    -----
    An absent `tool_ok` means that no tool was used: the component is 0, it is not a failure.
    """
    y = np.empty((len(COMPONENTS), len(outcomes)))
    # A list per column, not a tuple per row: numpy reads flat lists of numbers several times faster.
    y[0] = [o.success for o in outcomes]
    y[1] = [o.tool_ok is True for o in outcomes]
    y[2] = [o.latency_ms for o in outcomes]
    y[3] = [o.cost_usd for o in outcomes]
    y[4] = [o.cache_hit for o in outcomes]
    y[5] = [o.guardian_flag for o in outcomes]
    np.minimum(y[2], bounds.latency_ms_max, out=y[2])
    np.minimum(y[3], bounds.cost_usd_max, out=y[3])
    fixed_point: npt.NDArray[np.int64] = np.rint(y.T * STEPS).astype(np.int64)
    return fixed_point


def reward(outcome: OutcomeLike, settings: RewardSettings) -> float:
    """Reward of one turn, `w . y`, exactly as the fold sees it.

    Examples
    --------
    >>> from alice_rl.events import Outcome
    >>> turn = Outcome("d", 0, True, 640.5, 0.0008, cache_hit=False, guardian_flag=False, tool_ok=True)
    >>> round(reward(turn, RewardSettings()), 4)
    2.3591
    """
    return float(components([outcome], settings.bounds)[0] / STEPS @ settings.weights)


def reward_range(weights: npt.NDArray[np.float64], bounds: RewardBounds) -> tuple[float, float]:
    """The least and the most that a turn can bring, for weights per natural unit, ndarray, shape (m,).

    Examples
    --------
    >>> least, most = reward_range(RewardSettings().weights, RewardBounds())
    >>> round(least, 6), round(most, 6)
    (-31.2, 3.4)
    """
    largest = {"latency_ms": bounds.latency_ms_max, "cost_usd": bounds.cost_usd_max}
    most = np.array([largest.get(name, 1.0) for name in COMPONENTS])
    extremes = weights * np.rint(most * STEPS) / STEPS  # rounded as `components` rounds
    return float(np.minimum(extremes, 0.0).sum()), float(np.maximum(extremes, 0.0).sum())
