"""What serves at one moment: the live policy, perhaps a canary, and the stamps that say so in every decision."""

from __future__ import annotations

from time import monotonic
from typing import NamedTuple

from alice_rl.events import PolicyStamp
from alice_rl.snapshot.format import Snapshot, digest, pack
from alice_rl.snapshot.policy import Policy

__all__ = ["Loaded", "Serving"]


class Loaded(NamedTuple):
    """A policy with what the head calls it; `loaded_at` is a monotonic time in seconds."""

    policy: Policy
    version: int
    digest: str
    loaded_at: float

    @classmethod
    def of(cls, snapshot: Snapshot) -> Loaded:
        """A snapshot that did not come from Redis."""
        return cls(Policy(snapshot), snapshot.manifest.version, digest(pack(snapshot)), monotonic())


class Side(NamedTuple):
    """Who serves a decision: a policy, its stamp, and the policy on the other side of the split, if there is one."""

    policy: Policy
    stamp: PolicyStamp
    other: Policy | None
    is_canary: bool


class Serving:
    """An immutable set-up, swapped as a whole: a decision reads it once and sees one state.

    Parameters
    ----------
    live : Loaded
    canary : Loaded, optional
    canary_share : float in [0, 1]
        Share of decisions that the canary serves; 0 with a canary is its shadow, which is logged but never
        serves.

    Attributes
    ----------
    holdout_share : float in [0, 1]
        Share of decisions that the rules take whatever serves, as the live policy's manifest says.
    live_side, canary_side : Side
    held_out : PolicyStamp
        The stamp of a decision that was held out.
    """

    __slots__ = ("canary", "canary_share", "canary_side", "held_out", "holdout_share", "live", "live_side")

    def __init__(self, live: Loaded, canary: Loaded | None = None, canary_share: float = 0.0) -> None:
        self.live = live
        self.canary = canary
        self.canary_share = canary_share if canary is not None and 0.0 <= canary_share <= 1.0 else 0.0
        self.holdout_share = live.policy.manifest.holdout_share
        share = self.holdout_share or None
        self.held_out = PolicyStamp("fallback", holdout_share=share)
        if canary is None:
            stamp = PolicyStamp("live", live.version, live.digest, holdout_share=share)
            self.live_side = self.canary_side = Side(live.policy, stamp, None, False)
            return
        versions = (live.version, live.digest, canary.version, canary.digest, self.canary_share, share)
        self.live_side = Side(live.policy, PolicyStamp("live", *versions), canary.policy, False)
        self.canary_side = Side(canary.policy, PolicyStamp("canary", *versions), live.policy, True)

    @property
    def identity(self) -> tuple[str, str | None, float]:
        """What tells one set-up from another."""
        return (self.live.digest, self.canary.digest if self.canary else None, self.canary_share)

    def warm(self, old: Serving) -> None:
        """Prepare in the new policies what the old live one was asked for lately."""
        for loaded in (self.live, self.canary):
            if loaded is not None and loaded.policy is not old.live.policy:
                loaded.policy.warm(old.live.policy)
