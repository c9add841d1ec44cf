"""What the audit says of canaries: requests that are known again, the numbers behind each step, and who ended one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct, structs

from alice_rl.snapshot.canary_state import CanaryState
from alice_rl.snapshot.manifest import Manifest
from alice_rl.snapshot.records import HistoryEntry
from worker.steps import Action

__all__ = ["detail_of", "explained", "request_of"]

_DIGEST_LENGTH = 16


class _Detail(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the audit keeps of a step beside the words."""

    ts_ms: int
    offsets: dict[int, int]
    live_digest: str = ""
    outcome: str | None = None
    share: float = 0.0
    weights: dict[str, float] = {}
    centre: float = 0.0
    verdict: dict[str, Any] | None = None
    window: dict[str, Any] | None = None


def request_of(action: Action, state: CanaryState) -> str:
    """The id of a request: the same for whoever repeats it, another one for another trial of the same policy."""
    share = f"-{state.share:g}" if action in (Action.OPEN, Action.STEP) else ""
    return f"canary-{state.digest[:_DIGEST_LENGTH]}-{state.opened_ms}-{action.value}{share}"


def detail_of(state: CanaryState, clock_ms: int, canary: Manifest | None) -> str:
    """The numbers behind a step, as JSON: the log's clock, as-of offsets, verdict, window, and the reward's weights."""
    detail = _Detail(
        ts_ms=clock_ms,
        offsets=state.offsets,
        live_digest=state.live_digest,
        outcome=state.outcome,
        share=state.share,
        weights={} if canary is None else canary.weights,
        centre=state.centre,
        verdict=state.verdict,
        window=state.window,
    )
    return msgspec.json.encode(detail).decode()


def explained(state: CanaryState, audit: Iterable[HistoryEntry]) -> CanaryState:
    """A canary that ended between two looks, as the audit says who ended it: a person, or a worker that died.

    Parameters
    ----------
    state : CanaryState
    audit : iterable of HistoryEntry
        The newest first.
    """
    version = str(state.version)
    for entry in audit:
        fields = entry.fields
        ends = entry.kind == "rollback" or (entry.kind == "promote" and fields.get("version") == version)
        if not ends or fields.get("canary") == version:
            continue
        outcome, why = _outcome_in(fields.get("detail", "")), fields.get("why", "")
        if outcome is not None:
            return structs.replace(state, outcome=outcome, reason=why)
        return structs.replace(state, reason=f"{state.reason} by {fields.get('who') or 'somebody'}{_said(why)}")
    return state


def _said(why: str) -> str:
    return f": {why}" if why else ""


def _outcome_in(detail: str) -> Any:
    """What a worker says that became of the canary; None where a person did it."""
    told = msgspec.json.decode(detail) if detail else {}
    return told.get("outcome") if isinstance(told, dict) else None
