"""The `[canary]` section: how a new policy comes to serve."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from alice_rl.errors import ConfigError
from alice_rl.online.canary import GateRules
from alice_rl.trial_columns import SHARE_MIN, tried

__all__ = ["CanarySettings"]

Share = Annotated[float, Meta(gt=0, lt=1)]
Level = Annotated[float, Meta(gt=0, le=0.5)]
Minutes = Annotated[float, Meta(ge=0, le=1e6)]


class CanarySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[canary]` section.

    Notes
    -----
    Minutes and hours are those of the log's clock, so that a replay of the log comes by the same steps; the pause
    between two looks alone is our own time.
    """

    mode: Annotated[
        Literal["gate", "direct"],
        Meta(description="gate: a new policy serves a share until the evidence is in; direct: it goes live at once"),
    ] = "gate"
    cold_start_episodes: Annotated[
        int,
        Meta(ge=0, le=10**12, description="until so many, every policy goes live; 0: only the very first"),
    ] = 10_000
    shares: Annotated[
        tuple[Share, ...],
        Meta(min_length=1, max_length=16, description="shares of requests that a canary serves, one after the other"),
    ] = (0.05, 0.25, 0.5)
    shadow_minutes: Annotated[
        Minutes, Meta(description="how long a canary is only logged before it serves anybody, at least")
    ] = 1.0
    step_minutes: Annotated[Minutes, Meta(description="how long a canary keeps a share, at least")] = 5.0
    step_requests: Annotated[
        int, Meta(ge=0, le=10**9, description="requests with known outcomes at a share before the next one, at least")
    ] = 2000
    stable_minutes: Annotated[Minutes, Meta(description="how long a canary runs before it may be promoted")] = 5.0
    alpha: Annotated[
        Level, Meta(description="probability of a false promotion, and of a false rollback, however often one looks")
    ] = 0.05
    margin: Annotated[
        float, Meta(ge=0, le=1e6, description="what a canary may be worse by and still be promoted, reward")
    ] = 0.0
    alpha_ratio: Annotated[Level, Meta(description="probability of a false alarm about the split of the requests")] = (
        0.001
    )
    prod_after_canary: Annotated[
        bool, Meta(description="whether a canary that has won goes live by itself, or waits for a person")
    ] = True
    cooldown_minutes: Annotated[Minutes, Meta(description="pause after a canary that failed")] = 30.0
    hold_hours_max: Annotated[
        float, Meta(gt=0, le=1e5, description="a canary that is undecided after so long is withdrawn")
    ] = 6.0
    episodes_min: Annotated[
        int, Meta(ge=1, le=100_000, description="unseen turns that a policy is estimated on before it serves anybody")
    ] = 200
    min_policy_value: Annotated[
        float | None,
        Meta(description='least estimated reward per turn of a policy that may serve; "none": no such gate'),
    ] = 0.4
    max_variance: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description='largest variance of that estimate (its standard error squared); "none": no such gate'),
    ] = 0.3
    window_minutes: Annotated[
        float, Meta(gt=0, le=1e6, description="how far back the turns lie that policies are estimated on")
    ] = 60.0
    window_episodes_max: Annotated[
        int, Meta(ge=1, le=100_000, description="how many of them a worker keeps, a sample of what it reads")
    ] = 2000
    look_seconds: Annotated[
        float, Meta(ge=0.05, le=3600, description="how often the worker that publishes looks at the canary")
    ] = 1.0

    def __post_init__(self) -> None:
        if list(self.shares) != sorted(set(self.shares)):
            raise ConfigError(f"canary.shares = {list(self.shares)} do not grow", hint="e.g. [0.05, 0.25, 0.5]")
        if bad := [share for share in self.shares if not tried(share)]:
            raise ConfigError(
                f"canary.shares names {bad[0]}: either side must serve {SHARE_MIN:.4f} of the requests to be compared",
                hint="e.g. [0.05, 0.25, 0.5]",
            )
        if self.episodes_min > self.window_episodes_max:
            raise ConfigError(
                f"canary.episodes_min = {self.episodes_min} is more than window_episodes_max = "
                f"{self.window_episodes_max} keeps",
                hint="keep more turns, or ask for fewer",
            )
        for name in ("min_policy_value", "max_variance"):
            value = getattr(self, name)
            if value is not None and not abs(value) <= 1e9:
                raise ConfigError(f"canary.{name} = {value} is not a finite number", hint='or "none" for no such gate')

    @property
    def rules(self) -> GateRules:
        """When the evidence is enough."""
        return GateRules(self.alpha, self.margin, self.alpha_ratio, self.stable_minutes)

    def next_share(self, share: float) -> float | None:
        """The first of the shares above this one.

        Examples
        --------
        >>> settings = CanarySettings()
        >>> settings.next_share(0.0), settings.next_share(0.1), settings.next_share(0.5)
        (0.05, 0.25, None)
        """
        return next((larger for larger in self.shares if larger > share), None)
