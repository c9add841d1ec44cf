"""What the gate is doing, out of Redis and the settings alone: no worker is asked."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from alice_rl.online.canary import GateRules, Verdict
from alice_rl.snapshot.canary_state import CanaryState
from alice_rl.snapshot.head import Head
from worker.canary_settings import CanarySettings
from worker.cli.canary_record import Outcome, verdict_of
from worker.cli.canary_words import evidence, share_words
from worker.cli.output import number_words
from worker.cli.status_view import time_words

_MINUTE_MS = 60_000

__all__ = ["Evidence", "GateSeen", "Last", "Looked", "next_words", "seen"]


class Looked(Struct, frozen=True, kw_only=True):
    """What was read.

    Attributes
    ----------
    head : Head
    state : CanaryState, optional
    log_ms : int, optional
        The log's clock, ms since the epoch; None before the first checkpoint.
    episodes : int
        How many have been learned.
    """

    head: Head
    state: CanaryState | None
    log_ms: int | None
    episodes: int


class Evidence(Struct, frozen=True):
    """E-values, and what each has to reach."""

    promote: float
    rollback: float
    ratio: float
    enough: float
    enough_ratio: float


class Last(Struct, frozen=True, kw_only=True):
    """The canary before."""

    version: int
    outcome: Outcome | None
    ended_ms: int | None
    reason: str


class GateSeen(Struct, frozen=True, kw_only=True):
    """The gate at a glance.

    Attributes
    ----------
    policy : str
    mode : str
        `gate`, or `direct`: every policy goes live at once.
    phase : str
        `none`, `shadow`, `trial`, `approval`; `by_hand`: somebody opened a canary that the gate does not know.
    why, next : str
        Why it stands where it stands, and what may come next and when.
    log_ms : int, optional
        The log's clock, ms since the epoch, as all times here.
    live, canary, newest, pinned : int, optional
        Versions.
    live_digest, canary_digest : str
    share : float
    opened_ms, share_since_ms : int, optional
    verdict : Verdict, optional
    evidence : Evidence, optional
    window : dict, optional
        The quality gates' last numbers.
    next_after_ms : int, optional
        Before that no canary is opened.
    last : Last, optional
    """

    policy: str
    mode: Literal["gate", "direct"]
    phase: Literal["none", "shadow", "trial", "approval", "by_hand"]
    why: str
    next: str
    log_ms: int | None
    live: int | None
    live_digest: str
    canary: int | None
    canary_digest: str
    newest: int | None
    pinned: int | None
    share: float
    opened_ms: int | None = None
    share_since_ms: int | None = None
    verdict: Verdict | None = None
    evidence: Evidence | None = None
    window: dict[str, Any] | None = None
    next_after_ms: int | None = None
    last: Last | None = None


def seen(policy: str, looked: Looked, settings: CanarySettings) -> GateSeen:
    """The gate as it stands."""
    head, state = looked.head, looked.state
    running = state if state is not None and state.phase != "ended" and state.version == head.canary else None
    verdict = None if running is None or running.verdict is None else verdict_of(running.verdict)
    cooling = state is not None and (looked.log_ms or 0) < state.next_after_ms
    return GateSeen(
        policy=policy,
        mode=settings.mode,
        phase="none" if head.canary is None else "by_hand" if running is None else _phase(running),
        why=running.reason if running else _none_words(looked, settings),
        next=next_words(looked, settings),
        log_ms=looked.log_ms,
        live=head.live,
        live_digest=head.live_digest,
        canary=head.canary,
        canary_digest=head.canary_digest,
        newest=head.seq or None,
        pinned=head.pinned,
        share=head.canary_share,
        opened_ms=running.opened_ms if running else None,
        share_since_ms=running.share_since_ms if running else None,
        verdict=verdict,
        evidence=None if verdict is None else _evidence(verdict, settings.rules),
        window=state.window if state else None,
        next_after_ms=state.next_after_ms if state is not None and cooling else None,
        last=None if running or state is None else _last(state),
    )


def _phase(state: CanaryState) -> Literal["none", "shadow", "trial", "approval"]:
    return "none" if state.phase == "ended" else state.phase


def _evidence(verdict: Verdict, rules: GateRules) -> Evidence:
    return Evidence(
        evidence(verdict.log_e_promote),
        evidence(verdict.log_e_rollback),
        evidence(verdict.log_e_ratio),
        1 / rules.alpha,
        1 / rules.alpha_ratio,
    )


def _last(state: CanaryState) -> Last:
    return Last(version=state.version, outcome=state.outcome, ended_ms=state.ended_ms, reason=state.reason)


def _none_words(looked: Looked, settings: CanarySettings) -> str:
    """Why there is no canary; or what is to be said of one that the gate does not know."""
    head, state = looked.head, looked.state
    if head.canary is not None:
        return "Somebody made it the canary by hand, and no worker has looked at it since."
    if head.live is None:
        return "Nothing is live yet, so there is nothing to compare with: the first policy goes live at once."
    if head.pinned is not None:
        return f"Version {head.pinned} is pinned: nothing else goes live while it is."
    if settings.mode == "direct":
        return 'canary.mode is "direct": every policy goes live at once, and none is compared.'
    if looked.episodes <= settings.cold_start_episodes:
        return (
            f"Cold start: {number_words(looked.episodes)} of {number_words(settings.cold_start_episodes)} episodes "
            "(canary.cold_start_episodes) have been learned, and until then every policy goes live at once."
        )
    if state is not None and (looked.log_ms or 0) < state.next_after_ms:
        return f"Cooling down: version {state.version} {_outcome_words(state)} at {time_words(state.ended_ms)}."
    if head.seq == head.live:
        return f"Nothing is newer than version {head.live}, which is live."
    return f"Version {head.seq} is the newest candidate, and has not been opened as a canary yet."


def _outcome_words(state: CanaryState) -> str:
    words = {"rolled_back": "was rolled back", "invalid": "had a void trial"}
    return words.get(state.outcome or "", f"was {state.outcome or 'ended'}")


def next_words(looked: Looked, settings: CanarySettings) -> str:
    """What comes next, and when it may."""
    head, state = looked.head, looked.state
    if head.canary is not None:
        if state is None or state.version != head.canary or state.phase == "ended":
            return "A worker takes it over at its next look, and judges it from then on."
        if head.pinned is not None and state.phase != "approval":
            return f"Version {head.pinned} is pinned: it serves no more than now until alice-rl policy unpin."
        return _running_words(state, settings)
    if head.pinned is not None:
        return "alice-rl policy unpin lets the gate go on."
    if settings.mode == "direct" or head.live is None or looked.episodes <= settings.cold_start_episodes:
        return "The next policy goes live at once."
    if state is not None and (looked.log_ms or 0) < state.next_after_ms:
        return f"The next canary may be opened from {time_words(state.next_after_ms)} on."
    return "The newest candidate that passes the quality gates becomes the next canary."


def _running_words(state: CanaryState, settings: CanarySettings) -> str:
    if state.phase == "approval":
        return "A person decides: alice-rl policy promote --stage prod, or alice-rl policy rollback --stage canary."
    if state.phase == "shadow":
        first_ms = state.opened_ms + round(settings.shadow_minutes * _MINUTE_MS)
        return (
            f"It serves {share_words(settings.shares[0])} from {time_words(first_ms)} on at the earliest, once it "
            "passes the quality gates."
        )
    larger = settings.next_share(state.share)
    words = [
        "It is promoted or rolled back as soon as the evidence is enough, not before "
        f"{time_words(state.opened_ms + round(settings.stable_minutes * _MINUTE_MS))} if promoted."
    ]
    if larger is not None:
        since_ms = state.share_since_ms + round(settings.step_minutes * _MINUTE_MS)
        words.append(
            f"Undecided, it serves {share_words(larger)} from {time_words(since_ms)} on at the earliest, after "
            f"{number_words(settings.step_requests)} requests at {share_words(state.share)}."
        )
    limit_ms = state.opened_ms + round(settings.hold_hours_max * 60 * _MINUTE_MS)
    return " ".join([*words, f"Still undecided at {time_words(limit_ms)}, it is withdrawn."])
