"""The rules: what is decided while no policy can, and on the turns that are held out.

Deterministic, so they explore nothing and log no probability.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from alice_rl.events import Context, SlotChoice
from alice_rl.lineage import SLOTS, Arms
from alice_rl.slots import ArmName, GuardianSettings, allowed_arms
from alice_rl.snapshot.inputs import believed_names, offered_names
from alice_rl.snapshot.manifest import HOLDOUT_SHARE_MAX

__all__ = ["Rules", "RulesSettings"]

Text = Annotated[str, Meta(max_length=64)]


class RulesSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[rules]` section: arms by intent, the arm of every other intent, and how often the rules decide for ever."""

    route: Annotated[ArmName, Meta(description="route of an intent that is not listed")] = "planner"
    route_by_intent: Annotated[dict[Text, ArmName], Meta(description="route per intent")] = {}
    tool: Annotated[ArmName, Meta(description="tool of an intent that is not listed")] = "none"
    tool_by_intent: Annotated[dict[Text, ArmName], Meta(description="tool per intent")] = {}
    cache: Annotated[ArmName, Meta(description="cache tier that is consulted")] = "L1"
    holdout_share: Annotated[
        float,
        Meta(
            ge=0,
            le=HOLDOUT_SHARE_MAX,
            description="share of decisions that the rules take for ever, so that the lift is measured; 0: none",
        ),
    ] = 0.0


class Rules:
    """Chooses an arm per slot from the intent alone.

    Parameters
    ----------
    settings : RulesSettings, optional

    Examples
    --------
    >>> rules = Rules(RulesSettings(route_by_intent={"weather": "micro"}))
    >>> rules.route("weather", ["micro", "deep"]), rules.route("code", ["micro", "deep"])
    ('micro', 'micro')
    >>> rules.tool("weather", ["none"]), rules.cache([])
    ('none', 'L1')
    """

    def __init__(self, settings: RulesSettings | None = None) -> None:
        self.settings = settings if settings is not None else RulesSettings()

    def route(self, intent: str, available: Sequence[str]) -> str:
        """The intent's route; where it is not available the default one, else the first available."""
        return _chosen(self.settings.route_by_intent.get(intent), self.settings.route, available)

    def tool(self, intent: str, available: Sequence[str]) -> str:
        """The intent's tool; where it is not available the default one, else the first available."""
        return _chosen(self.settings.tool_by_intent.get(intent), self.settings.tool, available)

    def cache(self, available: Sequence[str]) -> str:
        """The configured tier; where it is not available the first that is."""
        return _chosen(None, self.settings.cache, available)

    def choose(self, slot: str, intent: str, available: Sequence[str]) -> str:
        """The arm of one slot. An empty `available` restricts nothing."""
        if slot == "cache":
            return self.cache(available)
        return self.route(intent, available) if slot == "route" else self.tool(intent, available)

    def turn(
        self,
        context: Context,
        offers: Sequence[Iterable[str] | None],
        arms: Arms | None,
        guardian: GuardianSettings,
    ) -> list[SlotChoice]:
        """All three slots of a turn.

        Parameters
        ----------
        context : Context
        offers : sequence of iterable of str or None
            What each slot is offered, in the order of `SLOTS`.
        arms : Arms, optional
            The configured arms; without them, what is offered is believed.
        guardian : dict of str to Restriction
        """
        return [
            self.choice(
                slot,
                context,
                believed_names(offered_names(offer), None if arms is None else getattr(arms, slot)),
                allowed_arms(guardian, context.guardian_state, slot),
            )
            for slot, offer in zip(SLOTS, offers, strict=True)
        ]

    def choice(
        self, slot: str, context: Context, available: tuple[str, ...], allowed: tuple[str, ...] | None
    ) -> SlotChoice:
        """One slot of a fallback decision, from the arms that a guardian's state leaves (None: all); no probability."""
        if allowed is not None:
            available = tuple([arm for arm in available or allowed if arm in allowed]) or available
        arm = self.choose(slot, context.intent, available)
        return SlotChoice(arm, available or (arm,))


def _chosen(by_intent: str | None, default: str, available: Sequence[str]) -> str:
    for arm in (by_intent, default):
        if arm is not None and (not available or arm in available):
            return arm
    return available[0]
