"""What a demo plays, and the settings that suit it: short intervals, the world's arms and rules, a fitting memory."""

from __future__ import annotations

from typing import NamedTuple

from alice_rl.simulation.world import ROUTES, RULES, TIERS, TOOLS

__all__ = ["Plan", "flags_of"]

_TURNS_PER_SECOND = 20.0
# With a drift, simulated time passes slowly enough for the log's buckets to tell before from after.
_TURNS_PER_SECOND_DRIFTING = 4.0
_HALF_LIVES = 7.5  # in a drifting run


class Plan(NamedTuple):
    """What is played.

    Attributes
    ----------
    turns, seed : int
    drift_at : int or None
        The first turn of the changed world.
    """

    turns: int
    seed: int
    drift_at: int | None = None

    @property
    def turns_per_second(self) -> float:
        """Rate of turns in simulated time."""
        return _TURNS_PER_SECOND if self.drift_at is None else _TURNS_PER_SECOND_DRIFTING


def flags_of(plan: Plan) -> dict[str, object]:
    """The settings of a plan by dotted key.

    Notes
    -----
    Without a drift nothing needs to be forgotten: the usual half-life of a week is longer than any demo. With one, a
    turn counts half after a fraction of the run, in event time, so that the policy recovers and little is lost in
    calm times.

    Examples
    --------
    >>> round(flags_of(Plan(30_000, 7, drift_at=15_000))["decay.half_life_hours"], 3)
    0.278
    """
    flags: dict[str, object] = {
        "route.arms": ROUTES,
        "tool.arms": TOOLS,
        "cache.arms": TIERS,
        "rules.route": RULES["route_default"],
        "rules.route_by_intent": RULES["route"],
        "rules.tool": RULES["tool_default"],
        "rules.tool_by_intent": RULES["tool"],
        "rules.cache": RULES["cache"],
        "kafka.fetch_wait_ms": 20,
        "worker.checkpoint_interval_seconds": 0.2,
        "worker.publish_interval_seconds": 0.2,
        # To be seen within minutes; a canary takes the traffic of a deployment.
        "canary.mode": "direct",
        "canary.cold_start_episodes": plan.turns,
        "log.format": "json",
    }
    if plan.drift_at is not None:
        flags["decay.bucket_seconds"] = 60
        flags["decay.half_life_hours"] = plan.turns / _HALF_LIVES / plan.turns_per_second / 3600
    return flags
