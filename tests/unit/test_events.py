"""The wire format: what is read, and what is rejected with which reason."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from alice_rl.errors import EventError
from alice_rl.events import EVENT_BYTES_MAX, REASONS, Decision, Outcome, Turn, decode, encode
from tests.logs import decision, outcome, turn


def changed(event: dict[str, Any], path: str, value: Any) -> bytes:
    """The event's bytes with the field at `path` replaced; `...` removes it."""
    event = msgspec.json.decode(msgspec.json.encode(event))
    *way, last = path.split(".")
    inner = event
    for step in way:
        inner = inner[step]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return msgspec.json.encode(event)


@pytest.mark.parametrize(("event", "kind"), [(decision("d"), Decision), (outcome("d"), Outcome), (turn("d"), Turn)])
def test_each_type_survives_the_wire(event: dict[str, Any], kind: type) -> None:
    """An event read from the wire is written as the same JSON again."""
    read = decode(msgspec.json.encode(event))
    assert isinstance(read, kind)
    assert msgspec.json.decode(encode(read)) == event == read.to_event()


def test_unknown_fields_are_ignored() -> None:
    """Producers may say more than we read."""
    assert decode(changed(turn("d"), "context.colour", "blue")) == decode(msgspec.json.encode(turn("d")))


def test_a_hold_out_is_part_of_the_stamp() -> None:
    """Decisions say at what share turns are held out, those of the rules and those of the policies alike."""
    for stage in ("fallback", "live"):
        event = turn("d", policy={"stage": stage, "holdout_share": 0.05})
        read = decode(msgspec.json.encode(event))
        assert isinstance(read, Turn) and read.policy.holdout_share == 0.05
        assert read.to_event()["policy"] == event["policy"]
    assert "holdout_share" not in decode(msgspec.json.encode(turn("d"))).to_event()["policy"]


REJECTED = [
    (b"", "empty"),
    (None, "empty"),
    (b"\xff\xfe\x00", "malformed_json"),
    (b'{"type":"turn"', "malformed_json"),
    (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "too_large"),
    (b'{"a":' * 9_000 + b"1" + b"}" * 9_000, "malformed_json"),
    (b'{"type":"turn","pad":"' + b"x" * (1 << 20) + b'"}', "too_large"),
    (b"[1,2]", "wrong_type"),
    (changed(turn("d"), "type", "tern"), "unknown_type"),
    (changed(turn("d"), "type", ...), "unknown_type"),
    (changed(turn("d"), "decision_id", ...), "missing_field"),
    (changed(turn("d"), "outcome.success", ...), "missing_field"),
    (changed(turn("d"), "decision_id", ""), "out_of_range"),
    (changed(turn("d"), "decision_id", "x" * 129), "out_of_range"),
    (changed(turn("d"), "context.intent", "x" * 10_000), "out_of_range"),
    (changed(turn("d"), "context.intent", 7), "wrong_type"),
    (changed(turn("d"), "ts_ms", "now"), "wrong_type"),
    (changed(turn("d"), "ts_ms", 86_400_000), "out_of_range"),
    (changed(turn("d"), "ts_ms", 10**15), "out_of_range"),
    (changed(turn("d"), "outcome.success", 1), "wrong_type"),
    (changed(turn("d"), "outcome.latency_ms", -1.0), "out_of_range"),
    (changed(turn("d"), "outcome.cost_usd", -0.1), "out_of_range"),
    (changed(turn("d"), "route.p", 0.0), "propensity_out_of_range"),
    (changed(turn("d"), "tool.p", 1.0001), "propensity_out_of_range"),
    (changed(turn("d"), "cache.p_live", -0.5), "propensity_out_of_range"),
    (changed(turn("d"), "route.available", []), "out_of_range"),
    (changed(turn("d"), "policy.stage", "shadow"), "wrong_type"),
    (changed(turn("d"), "policy.holdout_share", 1.5), "out_of_range"),
    (changed(turn("d"), "policy.holdout_share", -0.1), "out_of_range"),
    (changed(turn("d"), "policy.holdout_share", "5 %"), "wrong_type"),
    (msgspec.json.encode(turn("d")).replace(b"640.5", b"NaN"), "not_finite"),
    (msgspec.json.encode(turn("d")).replace(b"640.5", b"-Infinity"), "not_finite"),
    (msgspec.json.encode(turn("d")).replace(b"640.5", b"1e999"), "not_finite"),
]


@pytest.mark.parametrize(("value", "reason"), REJECTED)
def test_bad_records_are_rejected_with_their_reason(value: bytes | None, reason: str) -> None:
    """Whatever is wrong with a record has a reason code out of the documented list."""
    with pytest.raises(EventError) as caught:
        decode(value)
    assert caught.value.code == reason
    assert reason in REASONS


def test_size_limit_is_inclusive() -> None:
    """A record of exactly the limit is read."""
    event = msgspec.json.encode(turn("d"))
    padded = event[:-1] + b',"pad":"' + b"x" * (EVENT_BYTES_MAX - len(event) - 9) + b'"}'
    assert len(padded) == EVENT_BYTES_MAX
    assert isinstance(decode(padded), Turn)
