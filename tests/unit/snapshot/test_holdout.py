"""The hold-out: a share of decisions that the rules take, drawn apart from everything else that is drawn."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from alice_rl.events import Decision, PolicyStamp
from alice_rl.intake import Intake
from alice_rl.lineage import SLOTS, Arms
from alice_rl.slots import Restriction
from alice_rl.snapshot import PolicyClient, RulesSettings
from tests.logs import LogRecord
from tests.snapshots import TOOLS, make_snapshot

CONTEXT = {"intent": "weather", "lang": "sv", "guardian_state": "NORMAL", "text_len": 34, "confidence": 0.91}
RULES = RulesSettings(route_by_intent={"weather": "micro"}, tool="web.search", cache="L2")
IDS = [f"d-{i}" for i in range(8000)]
SHARE = 0.2


def client_of(share: float = SHARE, *, canary_share: float | None = None, **manifest: Any) -> PolicyClient:
    """A client whose live policy holds `share` out, perhaps with a canary beside it."""
    canary = None if canary_share is None else make_snapshot(2)
    live = make_snapshot(1, holdout_share=share, **manifest)
    return PolicyClient.from_snapshot(live, canary=canary, canary_share=canary_share or 0.0, rules=RULES)


def decided(client: PolicyClient) -> list[Decision]:
    return [client.decide(CONTEXT, decision_id=name, ts_ms=1_767_225_600_123) for name in IDS]


def is_held_out(decision: Decision) -> bool:
    return decision.policy.stage == "fallback"


def stages_evenly_mixed(flags: np.ndarray, others: np.ndarray) -> bool:
    """Whether two flags of the same decisions are as good as uncorrelated."""
    return bool(abs(np.corrcoef(flags, others)[0, 1]) < 5.0 / len(flags) ** 0.5)


@pytest.mark.parametrize("share", [0.01, SHARE, 0.5])
def test_its_share_is_kept(share: float) -> None:
    """As many decisions as the share says are held out, and are counted."""
    client = client_of(share)
    held = sum(map(is_held_out, decided(client)))
    n = len(IDS)
    assert abs(held / n - share) < 5 * (share * (1 - share) / n) ** 0.5
    stats = client.stats()
    assert (stats["holdout_share"], stats["held_out_total"], stats["decisions_total"]) == (share, held, n)
    assert stats["fallbacks"] == {}  # nothing is wrong


def test_a_held_out_turn_is_the_rules() -> None:
    """The rules choose among what is offered, without a probability, under a stamp that says why."""
    client = client_of()
    decision = next(filter(is_held_out, decided(client)))
    assert decision.policy == PolicyStamp("fallback", holdout_share=SHARE)
    assert [getattr(decision, slot).arm for slot in SLOTS] == ["micro", "web.search", "L2"]
    assert decision.to_event()["route"] == {"arm": "micro", "available": ["micro", "planner", "deep"]}
    offered = client.decide(CONTEXT, ["none", "new.tool"], routes=["deep"], decision_id=decision.decision_id)
    assert is_held_out(offered)
    assert offered.to_event()["tool"] == {"arm": "none", "available": ["none"]}
    assert offered.to_event()["route"] == {"arm": "deep", "available": ["deep"]}


def test_a_held_out_turn_keeps_to_the_guardian() -> None:
    """What a guardian's state forbids, the rules of a hold-out do not serve either."""
    client = client_of(guardian={"LOCKDOWN": Restriction(route=("deep",))})
    name = next(filter(is_held_out, decided(client))).decision_id
    locked = client.decide(CONTEXT | {"guardian_state": "LOCKDOWN"}, decision_id=name)
    assert is_held_out(locked)
    assert locked.to_event()["route"] == {"arm": "deep", "available": ["deep"]}


@pytest.mark.parametrize("canary_share", [None, 0.25])
def test_what_is_not_held_out_is_decided_as_without(canary_share: float | None) -> None:
    """The same ids draw the same arms with the same probabilities, and the same side of a canary's split."""
    with_holdout, without = (decided(client_of(share, canary_share=canary_share)) for share in (SHARE, 0.0))
    assert not any(map(is_held_out, without))
    for decision, plain in zip(with_holdout, without, strict=True):
        if not is_held_out(decision):
            # The manifest says what is held out, so the digest is another one.
            stamp = msgspec.structs.replace(plain.policy, digest=decision.policy.digest, holdout_share=SHARE)
            assert decision == msgspec.structs.replace(plain, policy=stamp)


def test_without_a_hold_out_nothing_tells_of_one() -> None:
    """No stamp has the field, and the draws are those of the ids alone."""
    decision = client_of(0.0).decide(CONTEXT, decision_id="d-1")
    assert set(decision.to_event()["policy"]) == {"stage", "version", "digest"}


def test_it_is_independent_of_the_canarys_split_and_of_the_arms() -> None:
    """Whether a turn is held out tells nothing about what would have served it otherwise."""
    held = np.array([is_held_out(d) for d in decided(client_of(canary_share=0.25))])
    otherwise = decided(client_of(0.0, canary_share=0.25))
    assert stages_evenly_mixed(held, np.array([d.policy.stage == "canary" for d in otherwise]))
    for slot in SLOTS:
        arms = np.array([getattr(d, slot).arm for d in otherwise])
        for arm in np.unique(arms):
            assert stages_evenly_mixed(held, arms == arm)


def test_other_fallbacks_are_no_part_of_it() -> None:
    """A turn that no policy could decide is on neither side: not before the first one, nor without an intent."""
    client = client_of()
    for name in IDS[:100]:
        assert client.decide({"lang": "sv"}, decision_id=name).policy == PolicyStamp("fallback")
    unloaded = PolicyClient(rules=RULES)
    assert unloaded.decide(CONTEXT).policy == PolicyStamp("fallback")
    assert client.stats()["held_out_total"] == unloaded.stats()["held_out_total"] == 0
    assert unloaded.stats()["holdout_share"] == 0.0


def test_the_live_policy_says_what_is_held_out() -> None:
    """A canary's own share has no say while it is one."""
    live, canary = make_snapshot(1), make_snapshot(2, holdout_share=0.5)
    client = PolicyClient.from_snapshot(live, canary=canary, canary_share=0.5)
    assert not any(map(is_held_out, decided(client)))


@pytest.mark.parametrize("offered", [["nope"], [], "nope", 5, [None, 5], ["\ud800"], ["n" * 500], object()])
@pytest.mark.parametrize("context", [CONTEXT, {"intent": "weather", "text_len": float("nan"), "confidence": 7}])
def test_whatever_is_offered_the_worker_learns_from_it(offered: object, context: dict[str, object]) -> None:
    """Held out or not, no offer makes the client raise, and every decision is accepted on the wire."""
    client = client_of(0.5)
    values = [
        msgspec.json.encode(client.decide(context, offered, decision_id=name).to_event())  # type: ignore[arg-type]
        for name in IDS[:50]
    ]
    taken = Intake(Arms(tool=TOOLS)).take([LogRecord(at, 0, value) for at, value in enumerate(values)])
    assert not taken.rejected
    assert {event.policy.stage for event in taken.events} == {"live", "fallback"}  # type: ignore[union-attr]
