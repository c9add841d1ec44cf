"""Records to events: decode each, check what it says against the lineage's arms, and set aside what cannot be learned.

Nothing that a producer can write stops the fold. A rejected record is returned with its offset, its bytes, and a
reason code out of `alice_rl.events.REASONS`; the records beside it are learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple, Protocol

from alice_rl.errors import EventError
from alice_rl.events import Decision, Event, Outcome, SlotChoice, Turn, decode
from alice_rl.lineage import SLOTS, Arms

__all__ = ["Intake", "Record", "Rejected", "Taken"]

_CHOICES_MAX = 16_384


class Record(Protocol):
    """One record of the log, as a Kafka client or a file reader hands it over."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


class Rejected(NamedTuple):
    """A record that was set aside: where it stands, why, in words, and its bytes."""

    offset: int
    reason: str
    detail: str
    value: bytes | None


class Taken(NamedTuple):
    """The events of a batch with their offsets, and the records that were rejected."""

    events: list[Event]
    offsets: list[int]
    rejected: list[Rejected]


class Intake:
    """Decodes and validates the records of a batch.

    Parameters
    ----------
    arms : Arms
        The arms that the lineage knows.
    """

    def __init__(self, arms: Arms) -> None:
        self._arms = {slot: getattr(arms, slot) for slot in SLOTS}
        # Choices that passed before: an assistant offers few distinct sets of arms, so that a check is one look-up.
        self._route: set[tuple[str, tuple[str, ...]]] = set()
        self._tool: set[tuple[str, tuple[str, ...]]] = set()
        self._cache: set[tuple[str, tuple[str, ...]]] = set()

    def take(self, records: Sequence[Record]) -> Taken:
        """Events of the good records; the bad ones with their reasons."""
        taken = Taken([], [], [])
        events, offsets = taken.events, taken.offsets
        for record in records:
            try:
                event = decode(record.value)
                if not isinstance(event, Outcome):
                    self._check(event)
            except EventError as error:
                taken.rejected.append(Rejected(record.offset, error.code, str(error), record.value))
            else:
                events.append(event)
                offsets.append(record.offset)
        return taken

    def _check(self, decision: Decision | Turn) -> None:
        drawn = decision.policy.stage != "fallback"
        if (slot := decision.route) is not None:
            if (slot.arm, slot.available) not in self._route:
                self._learn_choice("route", slot, self._route)
            if slot.p is None and drawn:
                raise _no_propensity("route", decision)
        if (slot := decision.tool) is not None:
            if (slot.arm, slot.available) not in self._tool:
                self._learn_choice("tool", slot, self._tool)
            if slot.p is None and drawn:
                raise _no_propensity("tool", decision)
        if (slot := decision.cache) is not None:
            if (slot.arm, slot.available) not in self._cache:
                self._learn_choice("cache", slot, self._cache)
            if slot.p is None and drawn:
                raise _no_propensity("cache", decision)

    def _learn_choice(self, name: str, slot: SlotChoice, known: set[tuple[str, tuple[str, ...]]]) -> None:
        for arm in (slot.arm, *slot.available):
            if arm not in self._arms[name]:
                close = get_close_matches(arm, self._arms[name], n=1)
                raise EventError(
                    f"{name} arm {arm!r} is not in {name}.arms",
                    code="unknown_arm",
                    hint=f"did you mean {close[0]!r}?" if close else f"configured are {', '.join(self._arms[name])}",
                )
        if slot.arm not in slot.available:
            raise EventError(f"{name} arm {slot.arm!r} is not in its own 'available'", code="arm_unavailable")
        if len(known) >= _CHOICES_MAX:
            known.clear()
        known.add((slot.arm, slot.available))


def _no_propensity(slot: str, decision: Decision | Turn) -> EventError:
    return EventError(
        f"the {slot} was drawn by a {decision.policy.stage} policy, but has no p",
        code="propensity_missing",
        hint="log the probability that decide() returned; it cannot be made up afterwards",
    )
