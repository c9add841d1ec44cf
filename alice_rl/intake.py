"""Records to events: decode each, check what it says against the lineage's arms, and set aside what cannot be learned.

Nothing that a producer can write stops the fold. A rejected record is returned with its offset, its bytes, and a
reason code out of `alice_rl.events.REASONS`; the records beside it are learned.

Records that were folded before, and are read again by a restart, are only looked at (`Rereading`): which of them were
rejected is known from the checkpoint.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left
from collections.abc import Sequence, Set
from difflib import get_close_matches
from operator import attrgetter
from typing import NamedTuple, Protocol, Self, cast, runtime_checkable

from alice_rl.errors import EventError
from alice_rl.events import REASONS, Decision, Event, Outcome, Turn, decode, decoder
from alice_rl.lineage import SLOTS, Arms
from alice_rl.seen import see

__all__ = ["Intake", "KeyedRecord", "Record", "Rejected", "Rereading", "Taken", "fingerprint", "index_of"]

_OFFSET = attrgetter("offset")
_UNKNOWN_ARM = re.compile(r"Invalid enum value '(.*)' - at `\$\.(\w+)\.")


class Record(Protocol):
    """One record of the log, as a Kafka client or a file reader hands it over."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


@runtime_checkable
class KeyedRecord(Record, Protocol):
    """A record that also says what it was keyed by; those of a file do not."""

    @property
    def key(self) -> bytes | None: ...


def fingerprint(record: Record) -> str:
    """What tells a record from another one at the same offset: offset, time and CRC-32, as text."""
    return f"{record.offset}:{record.timestamp}:{zlib.crc32(record.value or b''):08x}"


def index_of(records: Sequence[Record], offset: int, start: int = 0) -> int:
    """Where among records the first stands that is at an offset or after it; the search begins at `start`."""
    return bisect_left(records, offset, start, key=_OFFSET)


class Rejected(NamedTuple):
    """A record that was set aside: where it stands, why, in words, and its bytes, time (ms) and key."""

    offset: int
    reason: str
    detail: str
    value: bytes | None
    timestamp: int | None = None
    key: bytes | None = None

    @classmethod
    def of(cls, record: Record, reason: str, detail: str) -> Self:
        """A record with the reason why it is set aside."""
        key = record.key if isinstance(record, KeyedRecord) else None
        return cls(record.offset, reason, detail, record.value, record.timestamp, key)


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
    skipped : set of int, optional
        Offsets of records that are rejected unseen: they killed the worker that looked at them.
    """

    def __init__(self, arms: Arms, skipped: Set[int] = frozenset()) -> None:
        self._skipped = skipped
        self._arms = {slot: getattr(arms, slot) for slot in SLOTS}
        self._decoder = decoder(self._arms)

    def take(self, records: Sequence[Record]) -> Taken:
        """Events of the good records; the bad ones with their reasons."""
        taken, by = Taken([], [], []), self._decoder
        events, offsets = taken.events, taken.offsets
        for record in records:
            try:
                if record.offset in self._skipped:
                    raise EventError(REASONS["killed_worker"], code="killed_worker")
                event = decode(record.value, by)
                if not isinstance(event, Outcome):
                    _check(event)
            except EventError as error:
                taken.rejected.append(Rejected.of(record, error.code, self._detail(error)))
            else:
                events.append(event)
                offsets.append(record.offset)
        return taken

    def read(self, value: bytes) -> Event | None:
        """The event of a record that was accepted before; None should it not be acceptable any more."""
        try:
            return decode(value, self._decoder)
        except EventError:
            return None

    def _detail(self, error: EventError) -> str:
        """What is wrong, in words; an unknown arm with the nearest known one."""
        found = _UNKNOWN_ARM.search(error.message) if error.code == "unknown_arm" else None
        if found is None:
            return str(error)
        arm, slot = found.groups()
        close = get_close_matches(arm, self._arms[slot], n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"configured are {', '.join(self._arms[slot])}"
        return f"{slot} arm {arm!r} is not in {slot}.arms ({hint})"


class Rereading:
    """Looks at the records of a batch that were folded before.

    Parameters
    ----------
    rejected : set of int
        Offsets of the records that were rejected then.
    skipped : set of int
        Offsets of records that are passed over unseen, as in `Intake`.
    """

    def __init__(self, rejected: Set[int], skipped: Set[int]) -> None:
        self._rejected = rejected
        self._skipped = skipped

    def take(self, records: Sequence[Record]) -> Taken:
        """Stand-ins for the events of the records that were accepted; the joiner knows them from events."""
        taken, rejected, skipped = Taken([], [], []), self._rejected, self._skipped
        for record in records:
            offset = record.offset
            if offset not in rejected and offset not in skipped and (event := see(record.value)) is not None:
                taken.events.append(cast(Event, event))
                taken.offsets.append(offset)
        return taken


def _check(decision: Decision | Turn) -> None:
    """Refuse a choice out of arms that it was not among, and one that was drawn with a probability it does not tell."""
    drawn = decision.policy.stage != "fallback"
    for slot in (decision.route, decision.tool, decision.cache):
        if slot is not None:
            if slot.arm not in slot.available:
                raise EventError(f"arm {slot.arm!r} is not in its own 'available'", code="arm_unavailable")
            if slot.p is None and drawn:
                raise EventError(
                    f"arm {slot.arm!r} was drawn by a {decision.policy.stage} policy, but has no p",
                    code="propensity_missing",
                    hint="log the probability that decide() returned; it cannot be made up afterwards",
                )
