"""What the gate is doing, out of Redis and the settings alone: no worker is asked."""

from __future__ import annotations

from math import exp
from typing import Any, Literal

from msgspec import Struct

from alice_rl.online.canary import GateRules, Verdict
from alice_rl.snapshot.canary_state import CanaryState
from alice_rl.snapshot.head import Head
from worker.cli.canary_record import Outcome, verdict_of
from worker.cli.canary_words import evidence, share_words
from worker.cli.output import number_words
from worker.cli.status_view import time_words

__all__ = ["Evidence", "GateSeen", "Last", "Looked", "Terms", "seen"]


class Terms(Struct, frozen=True, kw_only=True):
    """What the settings ask of a canary.

    Attributes
    ----------
    direct : bool
        Whether every policy goes live at once.
    rules : GateRules
    shares : tuple of float
        The steps, ascending.
    approval : bool
        Whether a person has the last word.
    cold_start_episodes : int
        Until so many have been learned, policies go live without a trial.
    """

    direct: bool
    rules: GateRules
    shares: tuple[float, ...]
    approval: bool
    cold_start_episodes: int


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


def seen(policy: str, looked: Looked, terms: Terms) -> GateSeen:
    """The gate as it stands."""
    head, state = looked.head, looked.state
    running = state if state is not None and state.phase != "ended" and state.version == head.canary else None
    verdict = None if running is None or running.verdict is None else verdict_of(running.verdict)
    cooling = state is not None and (looked.log_ms or 0) < state.next_after_ms
    return GateSeen(
        policy=policy,
        mode="direct" if terms.direct else "gate",
        phase="none" if head.canary is None else "by_hand" if running is None else _phase(running),
        why=running.reason if running else _none_words(looked, terms),
        next=next_words(looked, terms),
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
        evidence=None if verdict is None else _evidence(verdict, terms.rules),
        window=state.window if state else None,
        next_after_ms=state.next_after_ms if state is not None and cooling else None,
        last=None if running or state is None else _last(state),
    )
