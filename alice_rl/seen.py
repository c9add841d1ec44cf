"""Stand-ins for events that were folded before: what rebuilding a joiner needs of them, and no more.

A restart re-reads the join window only to know which ids it holds, and when. So a record is looked at for its type, id
and time; everything else is skipped over, unparsed, which is several times faster than reading it. A half that is still
open when the window has been rebuilt is then read in full from the bytes that its stand-in has kept.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
from msgspec import Struct

__all__ = ["SeenDecision", "SeenOutcome", "SeenTurn", "see"]


class SeenTurn(Struct, frozen=True, gc=False, tag_field="type", tag="turn"):
    """A whole turn: complete by itself, so that nothing of it is kept."""

    outcome: ClassVar[None] = None

    decision_id: str
    ts_ms: int


class SeenDecision(Struct, frozen=True, gc=False):
    """A decision, with the bytes to read it from should its outcome be missing still."""

    decision_id: str
    ts_ms: int
    value: bytes


class SeenOutcome(Struct, frozen=True, gc=False):
    """An outcome, with the bytes to read it from should its decision be missing still."""

    decision_id: str
    ts_ms: int
    value: bytes


class _Decision(Struct, frozen=True, gc=False, tag_field="type", tag="decision"):
    decision_id: str
    ts_ms: int


class _Outcome(Struct, frozen=True, gc=False, tag_field="type", tag="outcome"):
    decision_id: str
    ts_ms: int


_decode = msgspec.json.Decoder(_Decision | _Outcome | SeenTurn).decode


def see(value: bytes | None) -> SeenDecision | SeenOutcome | SeenTurn | None:
    """The stand-in of a record that was accepted before; None for bytes that cannot have been.

    Examples
    --------
    >>> see(b'{"type":"turn","decision_id":"d-1","ts_ms":1767225600123,"context":{"intent":"weather"}}')
    SeenTurn(decision_id='d-1', ts_ms=1767225600123)
    """
    try:
        event = _decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(event, SeenTurn):
        return event
    stand_in = SeenDecision if isinstance(event, _Decision) else SeenOutcome
    return stand_in(event.decision_id, event.ts_ms, value or b"")
