"""What one decision may choose from in a slot, and how likely each of it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alice_rl.events import SlotChoice
from alice_rl.online.exploration import capped
from alice_rl.slots import GuardianSettings, allowed_arms

__all__ = ["Menu", "Menus", "Spread"]

_MENUS_MAX = 4096

Offer = tuple[str, ...] | None


class Menu:
    """The arms available to a decision, in the order of the configuration.

    Attributes
    ----------
    arms : tuple of str
    index : tuple of int
        Their positions among all arms of the slot.
    everything : bool
        Whether these are all arms of the slot.
    unmet : bool
        Whether the guardian allows none of what was offered, so that its restriction was passed over.
    winners : list of Spread or None
        Where a rule only tells a winner, the distribution for each of them.
    """

    __slots__ = ("arms", "caps", "everything", "index", "unmet", "winners")

    def __init__(
        self, arms: Sequence[str], index: Sequence[int], total: int, max_share: Mapping[str, float], unmet: bool
    ) -> None:
        self.arms = tuple(arms)
        self.index = tuple(index)
        self.everything = len(self.index) == total
        self.unmet = unmet
        caps = [max_share.get(arm, 1.0) for arm in arms]
        self.caps = caps if min(caps) < 1.0 else None
        self.winners: list[Spread | None] = [None] * len(self.arms)

    def spread(self, pi: Sequence[float]) -> Spread:
        """The distribution `pi` under the quotas."""
        return Spread(self, pi if self.caps is None else capped(pi, self.caps))


class Spread:
    """A distribution over a menu, and the choice to log for each of its arms.

    Attributes
    ----------
    menu : Menu
    pi : tuple of float
        Sums to 1; exact, and what is logged.
    choices : tuple of SlotChoice
        Without a canary.
    """

    __slots__ = ("choices", "menu", "pi")

    def __init__(self, menu: Menu, pi: Sequence[float]) -> None:
        self.menu = menu
        self.pi = tuple([min(p, 1.0) for p in pi])  # a rounding error above 1 is no probability
        arms = menu.arms
        self.choices = tuple([SlotChoice(arm, arms, p or None, p) for arm, p in zip(arms, self.pi, strict=True)])

    def p(self, arm: str) -> float:
        """The probability of an arm; 0 when it is not on the menu."""
        return self.pi[self.menu.arms.index(arm)] if arm in self.menu.arms else 0.0


class Menus:
    """The menus of one slot, by what was offered and by the guardian's state.

    Parameters
    ----------
    slot : str
    arms : sequence of str
        All arms of the slot.
    max_share : mapping of str to float
    guardian : dict of str to Restriction
    """

    def __init__(
        self, slot: str, arms: Sequence[str], max_share: Mapping[str, float], guardian: GuardianSettings
    ) -> None:
        self._slot = slot
        self._arms = tuple(arms)
        self._max_share = max_share
        self._guardian = guardian
        self._menus: dict[tuple[Offer, str | None], Menu | None] = {}
        self._distinct: dict[tuple[int, ...], Menu] = {}
        self.everything = self._made(None, None)

    def get(self, offered: Offer, state: str | None) -> Menu | None:
        """The menu for what was offered (None: everything); None when no arm of it is known.

        Notes
        -----
        Repeats and unknown names are passed over. A guardian state that allows none of what is left is passed
        over too, for somebody has to answer; `unmet` says so.
        """
        if state not in self._guardian:
            if offered is None:
                return self.everything
            state = None
        key = (offered, state)
        try:
            return self._menus[key]
        except KeyError:
            menu = self._made(offered, state)
            if len(self._menus) >= _MENUS_MAX:
                self._menus, self._distinct = {}, {}
            self._menus[key] = menu
            return menu

    def _made(self, offered: Offer, state: str | None) -> Menu | None:
        known = [arm for arm in self._arms if offered is None or arm in offered]
        if not known:
            return None
        allowed = allowed_arms(self._guardian, state, self._slot)
        left = [arm for arm in known if allowed is None or arm in allowed]
        arms = left or known
        index = tuple(self._arms.index(arm) for arm in arms)
        # Callers name the same arms in many orders, and what was worked out for one is good for all.
        shared = (*index, -1) if not left else index
        return self._distinct.setdefault(shared, Menu(arms, index, len(self._arms), self._max_share, unmet=not left))
