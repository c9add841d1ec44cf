"""Telemetry on the wire: bytes to typed, frozen events, or a rejection with a reason.

    bytes -> Decision | Outcome | Turn       (JSON objects told apart by their field "type")

A record is decoded and validated in one pass, in C. What is wrong with a bad one is said with the path inside the
record and a stable reason code; it never becomes an exception above `decode`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from alice_rl.errors import EventError

__all__ = [
    "EVENT_BYTES_MAX",
    "REASONS",
    "Context",
    "Decision",
    "Event",
    "EventDecoder",
    "Outcome",
    "PolicyStamp",
    "SlotChoice",
    "Turn",
    "TurnOutcome",
    "decode",
    "decoder",
    "encode",
]

EVENT_BYTES_MAX = 65_536
"""A record larger than this is rejected before it is parsed."""

REASONS = {
    "empty": "the record has no value",
    "too_large": f"the record is larger than {EVENT_BYTES_MAX} bytes",
    "malformed_json": "the bytes are not one JSON object in UTF-8",
    "unknown_type": 'the field "type" is not decision, outcome or turn',
    "missing_field": "a required field is absent",
    "wrong_type": "a field has another type than the wire format says",
    "out_of_range": "a number or a time is outside its range, or a text is too long",
    "not_finite": "a number is NaN, infinite or too large for a double",
    "propensity_missing": "a policy's decision does not say with what probability it was drawn",
    "propensity_out_of_range": "a probability is outside (0, 1]",
    "unknown_arm": "an arm is not in the lineage's configuration",
    "arm_unavailable": "the chosen arm is not among those that were available",
    "killed_worker": "it killed the worker that folded it, more than once, and is passed over since",
}
"""Reason codes of rejected records: what each one means."""

_MS_2000 = 946_684_800_000
_MS_2100 = 4_102_444_800_000

Identity = Annotated[str, Meta(min_length=1, max_length=128)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
Label = Annotated[str, Meta(max_length=64)]
Hex = Annotated[str, Meta(max_length=64)]
Millis = Annotated[int, Meta(ge=_MS_2000, lt=_MS_2100)]
Amount = Annotated[float, Meta(ge=0.0)]
Unit = Annotated[float, Meta(ge=0.0, le=1.0)]
Propensity = Annotated[float, Meta(gt=0.0, le=1.0)]
Arms = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=256)]


class Context(Struct, frozen=True, gc=False, omit_defaults=True):
    """What is known before a turn is decided. `recent_*` are the session's past, never this turn's own outcome."""

    intent: Label
    lang: Label | None = None
    guardian_state: Label | None = None
    text_len: Amount | None = None
    confidence: Unit | None = None
    recent_latency_ms: Amount | None = None
    recent_cost_usd: Amount | None = None


class PolicyStamp(Struct, frozen=True, gc=False, omit_defaults=True):
    """Which policy decided: `fallback` is the rules, which explore nothing and log no probability."""

    stage: Literal["live", "canary", "fallback"]
    version: int | None = None
    digest: Hex | None = None
    canary_version: int | None = None
    canary_digest: Hex | None = None
    canary_share: Unit | None = None
    holdout_share: Unit | None = None


class SlotChoice(Struct, frozen=True, gc=False, omit_defaults=True):
    """The arm drawn in one slot, from which arms, and with what probability: served, under live, under the canary."""

    arm: Name
    available: Arms
    p: Propensity | None = None
    p_live: Unit | None = None
    p_canary: Unit | None = None


def _wire(event: Struct) -> dict[str, Any]:
    """An event as the dict of JSON values that goes on the wire."""
    values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(event))
    return values


class _Decided(Struct, frozen=True, gc=False, omit_defaults=True):
    decision_id: Identity
    ts_ms: Millis
    context: Context
    policy: PolicyStamp
    session_id: Label | None = None
    route: SlotChoice | None = None
    tool: SlotChoice | None = None
    cache: SlotChoice | None = None

    def to_event(self) -> dict[str, Any]:
        """The event as it goes on the wire, a dict of JSON values."""
        return _wire(self)


class Decision(_Decided, frozen=True, gc=False, tag_field="type", tag="decision", omit_defaults=True):
    """What was decided for a turn. A slot that the turn did not use is absent."""


class TurnOutcome(Struct, frozen=True, gc=False, omit_defaults=True):
    """What became of a turn. `tool_ok` is absent when no tool was used: that is not a failure."""

    ts_ms: Millis
    success: bool
    latency_ms: Amount
    cost_usd: Amount
    cache_hit: bool
    guardian_flag: bool
    tool_ok: bool | None = None


class Outcome(Struct, frozen=True, gc=False, tag_field="type", tag="outcome", omit_defaults=True):
    """What became of the turn `decision_id`."""

    decision_id: Identity
    ts_ms: Millis
    success: bool
    latency_ms: Amount
    cost_usd: Amount
    cache_hit: bool
    guardian_flag: bool
    tool_ok: bool | None = None

    def to_event(self) -> dict[str, Any]:
        """The event as it goes on the wire, a dict of JSON values."""
        return _wire(self)


class Turn(_Decided, frozen=True, gc=False, kw_only=True, tag_field="type", tag="turn", omit_defaults=True):
    """A decision with its outcome, in one record."""

    outcome: TurnOutcome


Event = Decision | Outcome | Turn

EventDecoder = msgspec.json.Decoder[Event]
_any_arms: EventDecoder = msgspec.json.Decoder(Event)
encode = msgspec.json.Encoder().encode
"""Bytes of an event, as they go on the wire."""


def decoder(arms: Mapping[str, Sequence[str]]) -> EventDecoder:
    """A decoder of events whose slots know their arms: any other name is refused while decoding.

    Parameters
    ----------
    arms : mapping of str to sequence of str
        The arms of `route`, `tool` and `cache`.

    Notes
    -----
    Besides the check, this spares most of a record's allocations: a known name is not made anew but handed out.
    """
    slots = [(slot, _choice_of(names) | None, None) for slot, names in arms.items()]
    options: dict[str, Any] = {"frozen": True, "gc": False, "tag_field": "type"}
    decision = msgspec.defstruct("Decision", slots, bases=(Decision,), tag="decision", **options)
    turn = msgspec.defstruct("Turn", slots, bases=(Turn,), tag="turn", kw_only=True, **options)
    return msgspec.json.Decoder(decision | Outcome | turn)


def _choice_of(names: Sequence[str]) -> Any:
    """`SlotChoice` with arms out of `names` alone."""
    arm: Any = Literal[tuple(names)]
    available = Annotated[tuple[arm, ...], Meta(min_length=1, max_length=256)]
    narrowed = [("arm", arm), ("available", available)]
    kinds = {"p": Propensity | None, "p_live": Unit | None, "p_canary": Unit | None}
    shared = [(name, kind, None) for name, kind in kinds.items()]
    return msgspec.defstruct(
        "SlotChoice",
        [*narrowed, *shared],
        namespace={"__module__": __name__},
        frozen=True,
        gc=False,
        omit_defaults=True,
    )


def decode(value: bytes | None, by: EventDecoder = _any_arms) -> Event:
    """The event in one record's value.

    Parameters
    ----------
    value : bytes or None
    by : EventDecoder, optional
        One that knows the arms; without, any names are arms.

    Raises
    ------
    EventError
        The record cannot be an event; `code` is one of `REASONS`, the message names the path inside the record.

    Examples
    --------
    >>> decode(b'{"type":"outcome","decision_id":"d-1","ts_ms":1767225600901,"success":true,'
    ...        b'"latency_ms":640.5,"cost_usd":0.0008,"cache_hit":false,"guardian_flag":false}').latency_ms
    640.5
    >>> decode(b'{"type":"outcome","decision_id":"d-1"}')
    Traceback (most recent call last):
    alice_rl.errors.EventError: Object missing required field `ts_ms`
    """
    if not value:
        raise EventError(REASONS["empty"], code="empty")
    if len(value) > EVENT_BYTES_MAX:
        raise EventError(f"{len(value)} bytes, at most {EVENT_BYTES_MAX} are read", code="too_large")
    try:
        return by.decode(value)
    except msgspec.ValidationError as error:
        raise EventError(str(error), code=_reason(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EventError(str(error), code="not_finite" if _NOT_FINITE.search(value) else "malformed_json") from None


_NOT_FINITE = re.compile(rb"[:\[,]\s*-?(NaN|Infinity)\b")
_BY_MESSAGE = (
    (re.compile(r"Number out of range"), "not_finite"),
    (re.compile(r"missing required field `type`|`\$\.type`"), "unknown_type"),
    (re.compile(r"missing required field"), "missing_field"),
    (re.compile(r"Invalid enum value .* - at `\$\.(route|tool|cache)\."), "unknown_arm"),
    (re.compile(r"`\$\.(route|tool|cache)\.p(_live|_canary)?`"), "propensity_out_of_range"),
    (re.compile(r"[<>]=?|of length"), "out_of_range"),
)


def _reason(message: str) -> str:
    """The reason code of a validation message: msgspec tells its errors apart by their text alone."""
    if "Expected" in message and ", got" in message:
        return "wrong_type"
    return next((code for pattern, code in _BY_MESSAGE if pattern.search(message)), "wrong_type")
