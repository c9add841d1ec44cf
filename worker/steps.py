"""The canary's way, as a pure function: how it stands and what was seen, to what is to be done next.

    (none) --open--> shadow --gates--> trial at 5 % --> 25 % --> 50 % --> live, or approval: a person promotes
                        |                 |
                        +-----------------+--> rolled back, void, withdrawn --> cool-down

A person may promote, roll back and pin underneath at any time. What the head says is what a person wants: the machine
takes it over or ends, and never puts back what it finds changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
from msgspec import structs

from alice_rl.online.canary import Decision, Verdict
from alice_rl.snapshot.canary_state import CanaryState
from alice_rl.snapshot.head import Head
from worker.canary_settings import CanarySettings
from worker.quality import Estimate, Passage, quality

__all__ = ["Action", "Candidate", "Seen", "Step", "ended", "may_open", "next_step", "plain"]

_MINUTE_MS = 60_000
_REFUSED_MAX = 64


class Action(StrEnum):
    """What is to be done. The first five move the head; the others are only remembered."""

    OPEN = "open"
    STEP = "step"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    VOID = "void"
    WITHDRAW = "withdraw"
    AWAIT = "await"
    ADOPT = "adopt"
    END = "end"
    NONE = "none"


class Candidate(NamedTuple):
    """The newest policy, and how much it and the live one have learned from."""

    version: int
    digest: str
    episodes: int
    live_episodes: int


class Seen(NamedTuple):
    """What was seen at one look.

    Attributes
    ----------
    head : Head
    clock_ms : int
        The log's clock, ms since the epoch.
    offsets : mapping of int to int
        As-of offsets.
    verdict : Verdict or None
        On the head's canary against its live policy.
    requests : int
        Requests with known outcomes at the canary's share.
    estimates : mapping of str to Estimate
        What the window says, by `canary`, `live` and `rules`.
    candidate : Candidate or None
        The newest policy, where one may be opened.
    unreadable : str
        Why the canary's snapshot cannot be read; empty when it can.
    centre : float
        m0 of the canary's reward.
    """

    head: Head
    clock_ms: int
    offsets: Mapping[int, int]
    verdict: Verdict | None = None
    requests: int = 0
    estimates: Mapping[str, Estimate] = {}
    candidate: Candidate | None = None
    unreadable: str = ""
    centre: float = 0.0


class Step(NamedTuple):
    """What is to be done, and how the canary stands once it is done."""

    action: Action
    state: CanaryState | None


def may_open(state: CanaryState | None, head: Head, clock_ms: int) -> bool:
    """Whether a canary may be opened, if there is something to open it from."""
    idle = state is None or (state.phase == "ended" and clock_ms >= state.next_after_ms)
    return idle and head.live is not None and head.canary is None and head.pinned is None


def next_step(state: CanaryState | None, seen: Seen, settings: CanarySettings) -> Step:
    """What is to be done next."""
    head = seen.head
    if head.live is None:
        return Step(Action.NONE, state)
    if state is None or state.phase == "ended":
        if head.canary is not None:
            return Step(Action.ADOPT, _adopted(state, seen, "it was there"))
        return _open(state, seen)
    if head.canary_digest != state.digest or head.canary is None:
        return _left(state, seen, settings)
    if head.live_digest != state.live_digest:
        return Step(Action.ADOPT, _adopted(state, seen, f"version {head.live} is live now: the comparison begins anew"))
    if head.canary_share != state.share:
        moved = f"its share was set from {state.share:.1%} to {head.canary_share:.1%}"
        return Step(Action.ADOPT, _at_share(state, seen, head.canary_share, moved))
    return _under_way(_looked(state, seen), seen, settings)


def _open(state: CanaryState | None, seen: Seen) -> Step:
    head, candidate = seen.head, seen.candidate
    refused = () if state is None else state.refused
    if candidate is None or not may_open(state, head, seen.clock_ms):
        return Step(Action.NONE, state)
    if candidate.digest == head.live_digest or candidate.digest in refused:
        return Step(Action.NONE, state)
    if candidate.episodes <= candidate.live_episodes:
        return Step(Action.NONE, state)
    reason = f"learned from {candidate.episodes:,} turns, live from {candidate.live_episodes:,}; nobody is served yet"
    opened = CanaryState(
        version=candidate.version,
        digest=candidate.digest,
        live_version=head.live or 0,
        live_digest=head.live_digest,
        phase="shadow",
        share=0.0,
        opened_ms=seen.clock_ms,
        share_since_ms=seen.clock_ms,
        offsets=dict(seen.offsets),
        reason=reason,
        refused=refused,
    )
    return Step(Action.OPEN, opened)


def _adopted(state: CanaryState | None, seen: Seen, reason: str) -> CanaryState:
    """The canary that the head names, as one that begins now."""
    head = seen.head
    begun = CanaryState(
        version=head.canary or 0,
        digest=head.canary_digest,
        live_version=head.live or 0,
        live_digest=head.live_digest,
        phase="shadow",
        share=head.canary_share,
        opened_ms=seen.clock_ms,
        share_since_ms=seen.clock_ms,
        refused=() if state is None else state.refused,
    )
    return _at_share(_looked(begun, seen), seen, head.canary_share, reason)


def _at_share(state: CanaryState, seen: Seen, share: float, reason: str) -> CanaryState:
    phase = "trial" if share > 0.0 else "shadow"
    return structs.replace(state, phase=phase, share=share, share_since_ms=seen.clock_ms, reason=reason)


def _looked(state: CanaryState, seen: Seen) -> CanaryState:
    """The state with what this look tells; the offsets are those at which the evidence was first what it is."""
    window = {name: msgspec.to_builtins(estimate) for name, estimate in seen.estimates.items()} or state.window
    if seen.verdict is None:
        return structs.replace(state, centre=seen.centre, window=window)
    verdict = plain(seen.verdict)
    if state.verdict is not None and _evidence(verdict) == _evidence(state.verdict):
        return structs.replace(state, window=window)
    return structs.replace(state, offsets=dict(seen.offsets), centre=seen.centre, verdict=verdict, window=window)


def _evidence(verdict: Mapping[str, Any]) -> tuple[Any, ...]:
    return verdict["decision"], verdict["requests"], verdict["canary_requests"]


def plain(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON values, under the names of its fields."""
    values: dict[str, Any] = msgspec.to_builtins(verdict, enc_hook=float)
    return values


def _left(state: CanaryState, seen: Seen, settings: CanarySettings) -> Step:
    """Somebody else ended it: promoted it, removed it, or put another canary in its place."""
    head = seen.head
    if head.live_digest == state.digest:
        return Step(Action.END, ended(state, seen.clock_ms, "promoted", f"version {state.version} was made live"))
    if head.canary is not None:
        return Step(Action.ADOPT, _adopted(_refusing(state), seen, f"it was put in the place of {state.version}"))
    return Step(Action.END, ended(state, seen.clock_ms, "withdrawn", "it was taken away", settings))


def ended(
    state: CanaryState, clock_ms: int, outcome: Any, reason: str, settings: CanarySettings | None = None
) -> CanaryState:
    """The canary as it ended; with settings, its policy is not tried again, and a pause follows."""
    pause_ms = 0 if settings is None else round(settings.cooldown_minutes * _MINUTE_MS)
    kept = state if settings is None else _refusing(state)
    return structs.replace(
        kept, phase="ended", outcome=outcome, reason=reason, ended_ms=clock_ms, next_after_ms=clock_ms + pause_ms
    )


def _refusing(state: CanaryState) -> CanaryState:
    others = tuple(digest for digest in state.refused if digest != state.digest)
    return structs.replace(state, refused=(*others, state.digest)[-_REFUSED_MAX:])


def _under_way(state: CanaryState, seen: Seen, settings: CanarySettings) -> Step:
    """The next step of a canary that stands as the machine left it."""
    verdict, now_ms = seen.verdict, seen.clock_ms
    if seen.unreadable:
        return Step(Action.WITHDRAW, ended(state, now_ms, "withdrawn", seen.unreadable, settings))
    if verdict is not None and verdict.decision is Decision.INVALID:
        return Step(Action.VOID, ended(state, now_ms, "invalid", verdict.reason, settings))
    if verdict is not None and verdict.decision is Decision.ROLLBACK:
        return Step(Action.ROLL_BACK, ended(state, now_ms, "rolled_back", verdict.reason, settings))
    if state.phase == "approval":
        return Step(Action.NONE, state)
    if verdict is not None and verdict.decision is Decision.PROMOTE:
        return _won(state, verdict, seen, settings)
    if now_ms - state.opened_ms > settings.hold_hours_max * 60 * _MINUTE_MS:
        reason = f"undecided after canary.hold_hours_max = {settings.hold_hours_max:g} hours"
        return Step(Action.WITHDRAW, ended(state, now_ms, "withdrawn", reason, settings))
    return _shadow(state, seen, settings) if state.phase == "shadow" else _trial(state, seen, settings)


def _won(state: CanaryState, verdict: Verdict, seen: Seen, settings: CanarySettings) -> Step:
    if seen.head.pinned is not None:
        return Step(Action.NONE, structs.replace(state, reason=_pinned(seen.head, verdict.reason)))
    if not settings.prod_after_canary:
        return Step(Action.AWAIT, structs.replace(state, phase="approval", reason=verdict.reason))
    return Step(Action.PROMOTE, ended(state, seen.clock_ms, "promoted", verdict.reason))


def _shadow(state: CanaryState, seen: Seen, settings: CanarySettings) -> Step:
    passage, reason = quality(seen.estimates.get("canary"), settings)
    if passage is Passage.FAILED:
        return Step(Action.WITHDRAW, ended(state, seen.clock_ms, "withdrawn", reason, settings))
    if passage is Passage.PASSED and seen.clock_ms < state.share_since_ms + settings.shadow_minutes * _MINUTE_MS:
        reason += "; canary.shadow_minutes are not over"
    elif passage is Passage.PASSED:
        return _serve_more(state, seen, settings.shares[0], reason)
    return Step(Action.NONE, structs.replace(state, reason=reason))


def _trial(state: CanaryState, seen: Seen, settings: CanarySettings) -> Step:
    reason = "nothing is known yet of what it served" if seen.verdict is None else seen.verdict.reason
    share = settings.next_share(state.share)
    if share is None:
        return Step(Action.NONE, structs.replace(state, reason=reason))
    if seen.requests < settings.step_requests:
        reason += f"; {seen.requests:,} of canary.step_requests = {settings.step_requests:,} at this share"
    elif seen.clock_ms < state.share_since_ms + settings.step_minutes * _MINUTE_MS:
        reason += "; canary.step_minutes are not over"
    else:
        return _serve_more(state, seen, share, reason)
    return Step(Action.NONE, structs.replace(state, reason=reason))


def _serve_more(state: CanaryState, seen: Seen, share: float, reason: str) -> Step:
    if seen.head.pinned is not None:
        return Step(Action.NONE, structs.replace(state, reason=_pinned(seen.head, reason)))
    return Step(Action.STEP, _at_share(state, seen, share, reason))


def _pinned(head: Head, reason: str) -> str:
    return f"{reason}; version {head.pinned} is pinned, so it serves no more than now"
