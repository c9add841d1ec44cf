"""What serves at one moment: the live policy, perhaps a canary, and the stamps that say so in every decision."""

from __future__ import annotations

from time import monotonic
from typing import NamedTuple

from alice_rl.events import Context, PolicyStamp, SlotChoice
from alice_rl.online.exploration import draw
from alice_rl.snapshot.menu import Spread
from alice_rl.snapshot.policy import Policy

__all__ = ["Loaded", "Serving"]


class Loaded(NamedTuple):
    """A policy with what the head calls it."""

    policy: Policy
    version: int
    digest: str


class Serving:
    """An immutable set-up, swapped as a whole: a decision reads it once and sees one state.

    Parameters
    ----------
    live : Loaded
    canary : Loaded, optional
    canary_share : float
        Share of decisions that the canary serves; 0 with a canary is its shadow, which is logged but never serves.
    """

    __slots__ = ("adopted_at", "canary", "canary_share", "canary_stamp", "live", "live_stamp")

    def __init__(self, live: Loaded, canary: Loaded | None = None, canary_share: float = 0.0) -> None:
        self.live = live
        self.canary = canary
        self.canary_share = canary_share if canary is not None else 0.0
        self.adopted_at = monotonic()
        if canary is None:
            self.live_stamp = self.canary_stamp = PolicyStamp("live", live.version, live.digest)
            return
        versions = (live.version, live.digest, canary.version, canary.digest, self.canary_share)
        self.live_stamp = PolicyStamp("live", *versions)
        self.canary_stamp = PolicyStamp("canary", *versions)

    @property
    def identity(self) -> tuple[str, str | None, float]:
        """What tells one set-up from another."""
        return (self.live.digest, self.canary.digest if self.canary else None, self.canary_share)


def split_choice(
    slot: str, context: Context, mine: Spread, other: Policy, offered: tuple[str, ...] | None, u: float, canary: bool
) -> SlotChoice:
    """The drawn arm with its probability under both policies; `mine` serves, and `canary` says whether that is the canary's."""
    k = draw(mine.pi, u)
    arm, p = mine.menu.arms[k], mine.pi[k]
    menu = other.menus[slot].get(offered, context.guardian_state)
    p_other = 0.0 if menu is None else other.spread(slot, context, menu).p(arm)
    p_live, p_canary = (p_other, p) if canary else (p, p_other)
    return SlotChoice(arm, mine.menu.arms, p, p_live, p_canary)
