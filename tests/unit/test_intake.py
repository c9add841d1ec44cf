"""Records to events, and what is set aside."""

from __future__ import annotations

from typing import NamedTuple

from alice_rl.intake import Intake
from tests.logs import LINEAGE, START_MS, records, turn


class Keyed(NamedTuple):
    """A record as Kafka hands it over."""

    offset: int
    timestamp: int
    value: bytes | None
    key: bytes | None


def test_events_stand_beside_their_offsets() -> None:
    """Good records become events in their order, with the offsets that they have in the log."""
    taken = Intake(LINEAGE.arms).take(records([turn("a"), b"", turn("b")], first=7))
    assert [event.decision_id for event in taken.events] == ["a", "b"]
    assert taken.offsets == [7, 9]
    assert [one.offset for one in taken.rejected] == [8]


def test_skipped_records_are_rejected_unseen() -> None:
    """Their bytes are not looked at, good or bad; the reason says that they killed a worker."""
    taken = Intake(LINEAGE.arms, {1, 2}).take(records([turn("a"), turn("b"), b"garbage", b"garbage"]))
    assert [event.decision_id for event in taken.events] == ["a"]
    assert [(one.offset, one.reason) for one in taken.rejected] == [
        (1, "killed_worker"),
        (2, "killed_worker"),
        (3, "malformed_json"),
    ]
    assert taken.rejected[1].value == b"garbage"


def test_the_list_of_what_is_skipped_is_the_callers() -> None:
    """An offset that is put on it later is skipped from then on."""
    skipped: set[int] = set()
    intake = Intake(LINEAGE.arms, skipped)
    assert len(intake.take(records([turn("a")])).events) == 1
    skipped.add(0)
    assert intake.take(records([turn("a")])).events == []


def test_a_rejected_record_keeps_its_time_and_key() -> None:
    """Whoever mends it can put it back where it was; a line of a file has no key."""
    rejected = Intake(LINEAGE.arms).take([Keyed(3, 99, b"{", b"k"), *records([b"{"], 4)]).rejected
    assert [(one.offset, one.timestamp, one.key, one.value) for one in rejected] == [
        (3, 99, b"k", b"{"),
        (4, START_MS, None, b"{"),
    ]


def test_an_unknown_arm_is_told_with_what_there_is() -> None:
    """A near miss names its neighbour; anything else lists the arms."""
    near, far = (turn("d", route={"arm": arm, "p": 1.0, "available": [arm]}) for arm in ("micr0", "zzz"))
    one, other = Intake(LINEAGE.arms).take(records([near, far])).rejected
    assert one.detail == "route arm 'micr0' is not in route.arms (did you mean 'micro'?)"
    assert other.detail == "route arm 'zzz' is not in route.arms (configured are micro, planner, deep)"
