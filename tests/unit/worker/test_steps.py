"""The canary's way: every transition, and that a person always has the last word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from alice_rl.online.canary import Decision, Effect, Verdict
from alice_rl.snapshot.canary_state import CanaryState
from alice_rl.snapshot.head import Head
from worker.canary_settings import CanarySettings
from worker.quality import Estimate
from worker.steps import Action, Candidate, Seen, next_step

MINUTE_MS = 60_000
NOW = 1_767_225_600_000
LIVE, CANARY, OTHER = "aa" * 32, "bb" * 32, "cc" * 32
SETTINGS = CanarySettings()
IDLE = Head(run_id="r", seq=9, live=7, live_digest=LIVE)
CANDIDATE = Candidate(9, CANARY, 500, 400)
GOOD = Estimate(episodes=300, value=1.5, variance=0.01)


def with_canary(share: float = 0.05, **changes: Any) -> Head:
    """A head whose canary is the one of `state`."""
    return structs.replace(IDLE, **{"canary": 9, "canary_digest": CANARY, "canary_share": share} | changes)


def state(share: float = 0.05, **changes: Any) -> CanaryState:
    """A canary ten minutes old, at its share since then."""
    fields: dict[str, Any] = {
        "version": 9,
        "digest": CANARY,
        "live_version": 7,
        "live_digest": LIVE,
        "phase": "trial" if share else "shadow",
        "share": share,
        "opened_ms": NOW - 10 * MINUTE_MS,
        "share_since_ms": NOW - 10 * MINUTE_MS,
    }
    return CanaryState(**fields | changes)


def finished(**changes: Any) -> CanaryState:
    """A canary of before."""
    fields: dict[str, Any] = {"digest": OTHER, "phase": "ended", "outcome": "withdrawn", "ended_ms": NOW}
    return state(**fields | changes)


def verdict(decision: Decision, reason: str = "so it is") -> Verdict:
    """A verdict on 5,000 requests."""
    effect = Effect(0.1, 0.05, 0.15)
    return Verdict(decision, reason, 5000, 250, 240.0, effect, effect, 1.0, -1.0, 0.0)


def seen(head: Head, **changes: Any) -> Seen:
    """What one look shows."""
    return Seen(head, NOW, {0: 100})._replace(**changes)


HOLD = verdict(Decision.HOLD)
STEPS: list[tuple[str, CanaryState | None, Seen, Action, dict[str, Any]]] = [
    ("the first candidate", None, seen(IDLE, candidate=CANDIDATE), Action.OPEN, {"phase": "shadow", "share": 0.0}),
    ("nothing live", None, seen(Head(), candidate=CANDIDATE), Action.NONE, {}),
    ("no candidate", None, seen(IDLE), Action.NONE, {}),
    ("a pin", None, seen(structs.replace(IDLE, pinned=7), candidate=CANDIDATE), Action.NONE, {}),
    ("live itself", None, seen(IDLE, candidate=Candidate(7, LIVE, 500, 400)), Action.NONE, {}),
    ("learned no more", None, seen(IDLE, candidate=Candidate(9, CANARY, 400, 400)), Action.NONE, {}),
    ("refused", finished(refused=(CANARY,)), seen(IDLE, candidate=CANDIDATE), Action.NONE, {}),
    ("cooling down", finished(next_after_ms=NOW + 1), seen(IDLE, candidate=CANDIDATE), Action.NONE, {}),
    ("cooled down", finished(next_after_ms=NOW), seen(IDLE, candidate=CANDIDATE), Action.OPEN, {"version": 9}),
    ("shadow, too few turns", state(0.0), seen(with_canary(0.0)), Action.NONE, {"phase": "shadow"}),
    (
        "shadow, gates passed",
        state(0.0),
        seen(with_canary(0.0), estimates={"canary": GOOD}),
        Action.STEP,
        {"phase": "trial", "share": 0.05, "share_since_ms": NOW},
    ),
    (
        "shadow, too short",
        state(0.0, share_since_ms=NOW - MINUTE_MS + 1),
        seen(with_canary(0.0), estimates={"canary": GOOD}),
        Action.NONE,
        {"phase": "shadow", "share": 0.0},
    ),
    (
        "shadow, worth too little",
        state(0.0),
        seen(with_canary(0.0), estimates={"canary": structs.replace(GOOD, value=0.3)}),
        Action.WITHDRAW,
        {"outcome": "withdrawn", "refused": (CANARY,), "next_after_ms": NOW + 30 * MINUTE_MS},
    ),
    (
        "shadow, too vague",
        state(0.0),
        seen(with_canary(0.0), estimates={"canary": structs.replace(GOOD, variance=0.31)}),
        Action.WITHDRAW,
        {"outcome": "withdrawn"},
    ),
    (
        "shadow, false propensities",
        state(0.0),
        seen(with_canary(0.0), estimates={"canary": structs.replace(GOOD, supported=False, mean_weight=0.2)}),
        Action.WITHDRAW,
        {"outcome": "withdrawn"},
    ),
    (
        "shadow, pinned meanwhile",
        state(0.0),
        seen(with_canary(0.0, pinned=7), estimates={"canary": GOOD}),
        Action.NONE,
        {"phase": "shadow"},
    ),
    ("trial, nothing known", state(), seen(with_canary()), Action.NONE, {"share": 0.05}),
    ("trial, too few requests", state(), seen(with_canary(), verdict=HOLD, requests=1999), Action.NONE, {}),
    (
        "trial, too short",
        state(share_since_ms=NOW - 5 * MINUTE_MS + 1),
        seen(with_canary(), verdict=HOLD, requests=2000),
        Action.NONE,
        {"share": 0.05},
    ),
    (
        "trial, steps up",
        state(),
        seen(with_canary(), verdict=HOLD, requests=2000),
        Action.STEP,
        {"share": 0.25, "share_since_ms": NOW, "opened_ms": NOW - 10 * MINUTE_MS},
    ),
    (
        "trial, pinned meanwhile",
        state(),
        seen(with_canary(pinned=7), verdict=HOLD, requests=2000),
        Action.NONE,
        {"share": 0.05},
    ),
    ("trial, last share", state(0.5), seen(with_canary(0.5), verdict=HOLD, requests=9999), Action.NONE, {"share": 0.5}),
    (
        "won",
        state(),
        seen(with_canary(), verdict=verdict(Decision.PROMOTE)),
        Action.PROMOTE,
        {"phase": "ended", "outcome": "promoted", "refused": (), "next_after_ms": NOW},
    ),
    (
        "won, but pinned",
        state(),
        seen(with_canary(pinned=7), verdict=verdict(Decision.PROMOTE)),
        Action.NONE,
        {"phase": "trial"},
    ),
    (
        "lost",
        state(),
        seen(with_canary(), verdict=verdict(Decision.ROLLBACK)),
        Action.ROLL_BACK,
        {"outcome": "rolled_back", "refused": (CANARY,), "reason": "so it is", "ended_ms": NOW},
    ),
    (
        "lost while pinned",
        state(),
        seen(with_canary(pinned=7), verdict=verdict(Decision.ROLLBACK)),
        Action.ROLL_BACK,
        {"outcome": "rolled_back"},
    ),
    (
        "void",
        state(),
        seen(with_canary(), verdict=verdict(Decision.INVALID)),
        Action.VOID,
        {"outcome": "invalid", "refused": (CANARY,)},
    ),
    (
        "undecided for a day",
        state(0.5, opened_ms=NOW - 24 * 60 * MINUTE_MS - 1),
        seen(with_canary(0.5), verdict=HOLD),
        Action.WITHDRAW,
        {"outcome": "withdrawn"},
    ),
    (
        "unreadable",
        state(),
        seen(with_canary(), unreadable="its bytes are gone"),
        Action.WITHDRAW,
        {"outcome": "withdrawn", "reason": "its bytes are gone"},
    ),
    ("approval waits", state(phase="approval"), seen(with_canary(), verdict=HOLD), Action.NONE, {"phase": "approval"}),
    (
        "approval, but lost",
        state(phase="approval"),
        seen(with_canary(), verdict=verdict(Decision.ROLLBACK)),
        Action.ROLL_BACK,
        {"outcome": "rolled_back"},
    ),
    (
        "approval waits for ever",
        state(phase="approval", opened_ms=0),
        seen(with_canary(), verdict=verdict(Decision.PROMOTE)),
        Action.NONE,
        {"phase": "approval"},
    ),
    (
        "a person's shadow",
        None,
        seen(with_canary(0.0)),
        Action.ADOPT,
        {"version": 9, "phase": "shadow", "opened_ms": NOW},
    ),
    (
        "a person's canary",
        finished(next_after_ms=NOW + 1, refused=(OTHER,)),
        seen(with_canary(0.1)),
        Action.ADOPT,
        {"version": 9, "digest": CANARY, "phase": "trial", "share": 0.1, "refused": (OTHER,), "outcome": None},
    ),
    (
        "a person's share",
        state(0.05, share_since_ms=0),
        seen(with_canary(0.2)),
        Action.ADOPT,
        {"phase": "trial", "share": 0.2, "share_since_ms": NOW, "opened_ms": NOW - 10 * MINUTE_MS},
    ),
    (
        "a person makes it a shadow",
        state(),
        seen(with_canary(0.0)),
        Action.ADOPT,
        {"phase": "shadow", "share": 0.0},
    ),
    (
        "another canary",
        state(),
        seen(with_canary(canary=8, canary_digest=OTHER)),
        Action.ADOPT,
        {"version": 8, "digest": OTHER, "refused": (CANARY,), "opened_ms": NOW},
    ),
    (
        "another live version",
        state(),
        seen(with_canary(live=8, live_digest=OTHER)),
        Action.ADOPT,
        {"digest": CANARY, "live_version": 8, "live_digest": OTHER, "opened_ms": NOW},
    ),
    (
        "a person promotes it",
        state(phase="approval"),
        seen(structs.replace(IDLE, live=9, live_digest=CANARY, previous=7)),
        Action.END,
        {"phase": "ended", "outcome": "promoted", "refused": ()},
    ),
    (
        "a person takes it away",
        state(),
        seen(IDLE, candidate=CANDIDATE, verdict=HOLD),
        Action.END,
        {"phase": "ended", "outcome": "withdrawn", "refused": (CANARY,), "next_after_ms": NOW + 30 * MINUTE_MS},
    ),
]


@pytest.mark.parametrize(("before", "look", "action", "after"), [case[1:] for case in STEPS], ids=[s[0] for s in STEPS])
def test_steps(before: CanaryState | None, look: Seen, action: Action, after: dict[str, Any]) -> None:
    """From every state, what is seen leads to one action and to the state that follows it."""
    step = next_step(before, look, SETTINGS)
    assert step.action is action
    if after:
        assert step.state is not None
        assert {name: getattr(step.state, name) for name in after} == after
    else:
        assert step.state is None or before is None or step.state.phase == before.phase


def test_a_winner_waits_for_a_person_where_that_is_wished() -> None:
    """Without `prod_after_canary` it keeps its share until it is promoted by hand."""
    careful = CanarySettings(prod_after_canary=False)
    step = next_step(state(0.25), seen(with_canary(0.25), verdict=verdict(Decision.PROMOTE)), careful)
    assert step.action is Action.AWAIT
    assert step.state is not None
    assert (step.state.phase, step.state.share, step.state.outcome) == ("approval", 0.25, None)


def test_a_look_leaves_its_numbers_in_the_state() -> None:
    """Verdict, window and centre stay while nothing new is told, and so do the offsets of the verdict."""
    look = seen(with_canary(), verdict=HOLD, estimates={"canary": GOOD}, centre=0.7)
    first = next_step(state(), look, SETTINGS).state
    assert first is not None
    assert first.verdict is not None
    assert first.window is not None
    assert (first.verdict["decision"], first.verdict["policies"]["lower"]) == ("HOLD", 0.05)
    assert (first.window["canary"]["episodes"], first.offsets, first.centre) == (300, {0: 100}, 0.7)
    second = next_step(first, seen(with_canary(), offsets={0: 200}), SETTINGS).state
    assert second is not None
    assert (second.verdict, second.window, second.offsets) == (first.verdict, first.window, {0: 100})
    again = next_step(first, seen(with_canary(), offsets={0: 300}, verdict=HOLD), SETTINGS).state
    assert again is not None
    assert again.offsets == {0: 100}
    more = replace(HOLD, requests=6000)
    later = next_step(first, seen(with_canary(), offsets={0: 300}, verdict=more), SETTINGS).state
    assert later is not None
    assert (later.offsets, later.verdict and later.verdict["requests"]) == ({0: 300}, 6000)


def test_what_failed_is_remembered_for_a_while() -> None:
    """Of the digests that are not tried again the last 64 are kept, each once."""
    many = tuple(f"{n:064x}" for n in range(64))
    step = next_step(state(refused=many), seen(IDLE), SETTINGS)
    assert step.state is not None
    assert step.state.refused == (*many[1:], CANARY)


@pytest.mark.parametrize("decision", list(Decision))
def test_a_pinned_live_version_gets_no_more_canary(decision: Decision) -> None:
    """Under a pin a canary may be taken away, but neither serves more than before nor goes live."""
    for before, head in ((state(0.0), with_canary(0.0, pinned=7)), (state(), with_canary(pinned=7))):
        look = seen(head, verdict=verdict(decision), requests=10**6, estimates={"canary": GOOD})
        assert next_step(before, look, SETTINGS).action in (Action.NONE, Action.ROLL_BACK, Action.VOID)
