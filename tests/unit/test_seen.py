"""Records that are only looked at: what is seen of one is what reading it in full would have said."""

from __future__ import annotations

import msgspec
import pytest

from alice_rl.events import Decision, Outcome, Turn, decode
from alice_rl.seen import SeenDecision, SeenOutcome, SeenTurn, see
from tests.logs import decision, outcome, turn

KINDS: dict[type, type] = {SeenDecision: Decision, SeenOutcome: Outcome, SeenTurn: Turn}


def plain(event: dict[str, object]) -> bytes:
    return msgspec.json.encode(event)


ODD = {
    "turn": plain(turn("d")),
    "decision": plain(decision("d")),
    "outcome": plain(outcome("d")),
    "an id of another alphabet": plain(turn("väder-\U0001f326")),
    "an escaped id": plain(outcome("d-1")).replace(b'"d-1"', rb'"\u0064\ud83c\udf26\n-1"'),
    "a repeated id": plain(outcome("d"))[:-1] + b',"decision_id":"e","ts_ms":1767225600999}',
    "a repeated type": plain(outcome("d"))[:-1] + b',"type":"outcome"}',
    "an escaped type": plain(outcome("d")).replace(b'"outcome"', rb'"\u006futcome"'),
    "an escaped name": plain(outcome("d")).replace(b'"ts_ms"', rb'"ts\u005fms"'),
    "its type last": plain({k: v for k, v in outcome("d").items() if k != "type"})[:-1] + b',"type":"outcome"}',
    "an unknown field of a stand-in's": plain(outcome("d", value=[1, {"value": None}])),
    "a nested id": plain(outcome("d", context={"decision_id": "e", "ts_ms": 1, "type": "turn"})),
    "an unknown number beyond any double": plain(outcome("d"))[:-1] + b',"more":' + b"9" * 400 + b"}",
    "an unknown text that is not UTF-8": plain(outcome("d"))[:-1] + b',"more":"\xff"}',
    "spaces": msgspec.json.format(plain(turn("d")), indent=8),
}
"""Values that are accepted, by what is odd about them."""


@pytest.mark.parametrize("value", ODD.values(), ids=ODD.keys())
def test_what_was_accepted_is_seen_as_the_same(value: bytes) -> None:
    """Kind, id and time are those of the full event, however oddly they are written."""
    event, seen = decode(value), see(value)
    assert seen is not None
    assert KINDS[type(seen)] is type(event)
    assert (seen.decision_id, seen.ts_ms) == (event.decision_id, event.ts_ms)


def test_halves_keep_their_bytes() -> None:
    """From what a half has kept, it can be read in full; a whole turn keeps nothing."""
    for half, kind in ((decision("d"), Decision), (outcome("d"), Outcome)):
        seen = see(plain(half))
        assert isinstance(seen, SeenDecision | SeenOutcome)
        assert isinstance(decode(seen.value), kind)
    assert not hasattr(see(plain(turn("d"))), "value")


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b'"turn"', b'{"type":"turn"}', b"\xff", b"[" * 100_000])
def test_what_cannot_be_an_event_is_not_seen(value: bytes | None) -> None:
    """Bytes that are no event are no reason to stop."""
    assert see(value) is None
