"""The client: decisions that the worker accepts in any case, policies that are adopted when they differ."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from alice_rl.errors import DependencyError
from alice_rl.events import Decision, SlotChoice
from alice_rl.intake import Intake
from alice_rl.lineage import SLOTS, Arms
from alice_rl.online.exploration import uniforms
from alice_rl.slots import Restriction
from alice_rl.snapshot import Policy, PolicyClient, Rules, RulesSettings, Snapshot, digest, pack
from alice_rl.snapshot.head import Head
from tests.logs import LogRecord
from tests.snapshots import TOOLS, make_snapshot

CONTEXT = {"intent": "weather", "lang": "sv", "guardian_state": "NORMAL", "text_len": 34, "confidence": 0.91}
ARMS = Arms(tool=TOOLS)


class FakeReader:
    """A Redis of one head: versions by number, an outage at will, hints that end the wait."""

    def __init__(self) -> None:
        self.head = Head()
        self.blobs: dict[int, bytes] = {}
        self.away = False
        self.reads = 0
        self.closed = False
        self.hint = threading.Event()

    def publish(self, snapshot: Snapshot, key: bytes | None = None, **head: Any) -> str:
        """Store a snapshot and make it live; the digest."""
        data = pack(snapshot, key)
        version = snapshot.manifest.version
        self.blobs[version] = data
        given: dict[str, Any] = {"run_id": "r", "seq": version, "live": version, "live_digest": digest(data)}
        self.head = Head(**(given | head))
        return digest(data)

    def read_head(self) -> Head:
        self.reads += 1
        if self.away:
            raise DependencyError("Redis is away")
        return self.head

    def get_snapshot(self, version: int) -> bytes | None:
        return self.blobs.get(version)

    def wait_for_hint(self, timeout_seconds: float) -> bool:
        hinted = self.hint.wait(timeout_seconds)
        self.hint.clear()
        return hinted

    def close(self) -> None:
        self.closed = True


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for a condition."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "the condition did not come about"
        time.sleep(0.005)


def serves(client: PolicyClient, wanted: str) -> bool:
    """Whether the client decides by the snapshot of this digest."""
    return client.digest == wanted


def accepted(decision: Decision, arms: Arms = ARMS) -> bool:
    """Whether the worker learns from the decision as it goes on the wire."""
    value = msgspec.json.encode(decision.to_event())
    taken = Intake(arms).take([LogRecord(0, 0, value)])
    assert not taken.rejected, taken.rejected
    return [event.to_event() for event in taken.events] == [decision.to_event()]


def choices(decision: Decision) -> list[SlotChoice]:
    found = [getattr(decision, slot) for slot in SLOTS]
    assert all(found)
    return found


def assert_drawn_as_logged(drawn: list[SlotChoice]) -> None:
    """Chi-square of the frequencies of arms against their logged probability, at 1e-6."""
    p = {choice.arm: choice.p or 0.0 for choice in drawn}
    assert sum(p.values()) == pytest.approx(1.0)
    counts, n = Counter(choice.arm for choice in drawn), len(drawn)
    chi_square = sum((counts[arm] - n * p[arm]) ** 2 / (n * p[arm]) for arm in p)
    # The quantile by Wilson and Hilferty's cube.
    degrees = len(p) - 1
    assert chi_square < degrees * (1 - 2 / (9 * degrees) + 4.75 * (2 / (9 * degrees)) ** 0.5) ** 3


def test_a_decision_is_a_complete_event() -> None:
    """Three slots with their probabilities, the policy's stamp, a UUID of version 7 and the clock's time."""
    snapshot = make_snapshot()
    client = PolicyClient.from_snapshot(snapshot)
    decision = client.decide(CONTEXT, ["weather.lookup", "none"], session_id="s-1")
    assert accepted(decision)
    event = decision.to_event()
    assert event["policy"] == {"stage": "live", "version": 1, "digest": digest(pack(snapshot))}
    assert event["context"] == CONTEXT
    assert event["tool"]["available"] == ["weather.lookup", "none"]
    assert set(event["route"]) == {"arm", "available", "p", "p_live"}
    assert uuid.UUID(decision.decision_id).version == 7
    assert abs(decision.ts_ms - time.time() * 1000) < 60_000
    assert decision.session_id == "s-1"


def test_the_id_decides() -> None:
    """The same id draws the same arms, with the uniforms that anybody can work out from it."""
    client = PolicyClient.from_snapshot(make_snapshot())
    first, second = (client.decide(CONTEXT, decision_id="d-1", ts_ms=1_767_225_600_123) for _ in range(2))
    assert first == second
    for choice, u, slot in zip(choices(first), uniforms("d-1", b"alice")[1:], SLOTS, strict=True):
        pi = client._serving.live.policy.distribution(slot, first.context)  # type: ignore[union-attr]
        assert choice.arm == next(arm for arm, top in zip(pi, np.cumsum(list(pi.values())), strict=True) if u < top)
        assert choice.p == pi[choice.arm]


def test_frequencies_match_the_logged_probabilities() -> None:
    """Over many ids, arms are drawn as often as their logged probability says ."""
    client = PolicyClient.from_snapshot(make_snapshot())
    n = 20_000
    decisions = [client.decide(CONTEXT, decision_id=f"d-{i}", ts_ms=1_767_225_600_123) for i in range(n)]
    for slot in SLOTS:
        assert_drawn_as_logged([getattr(decision, slot) for decision in decisions])


def test_a_canary_splits_by_its_own_hash() -> None:
    """The canary serves its share, independently of the arms; both probabilities are exact in every decision."""
    live, canary = make_snapshot(1), make_snapshot(2)
    client = PolicyClient.from_snapshot(live, canary=canary, canary_share=0.25)
    alone = [PolicyClient.from_snapshot(snapshot) for snapshot in (live, canary)]
    n = 8000
    decisions = [client.decide(CONTEXT, decision_id=f"d-{i}") for i in range(n)]
    served = [d for d in decisions if d.policy.stage == "canary"]
    assert abs(len(served) / n - 0.25) < 5 * (0.25 * 0.75 / n) ** 0.5
    for decision in decisions[:500]:
        assert accepted(decision)
        stamp = decision.policy
        assert (stamp.version, stamp.canary_version, stamp.canary_share) == (1, 2, 0.25)
        for slot, choice in zip(SLOTS, choices(decision), strict=True):
            both = [
                c._serving.live.policy.distribution(slot, decision.context)[choice.arm]  # type: ignore[union-attr]
                for c in alone
            ]
            assert [choice.p_live, choice.p_canary] == both
            assert choice.p == both[stamp.stage == "canary"]
    for stage in ("live", "canary"):
        for slot in SLOTS:
            assert_drawn_as_logged([getattr(d, slot) for d in decisions if d.policy.stage == stage])


def test_a_shadow_is_logged_and_never_serves() -> None:
    """With share 0 the canary's probabilities are there, and every decision is live."""
    client = PolicyClient.from_snapshot(make_snapshot(1), canary=make_snapshot(2), canary_share=0.0)
    for i in range(200):
        decision = client.decide(CONTEXT, decision_id=f"d-{i}")
        assert decision.policy.stage == "live"
        assert all(choice.p_canary is not None for choice in choices(decision))


def test_without_a_policy_the_rules_decide() -> None:
    """Before the first snapshot: no probability, no digest, and a reason."""
    client = PolicyClient(rules=RulesSettings(route_by_intent={"weather": "micro"}), arms=ARMS)
    decision = client.decide(CONTEXT, ["weather.lookup", "none"])
    assert accepted(decision)
    assert decision.policy.stage == "fallback"
    assert [choice.arm for choice in choices(decision)] == ["micro", "none", "L1"]
    assert "p" not in decision.to_event()["route"]
    assert decision.policy.digest is None
    assert (client.version, client.digest, client.age_seconds, client.wait_ready(0)) == (None, None, None, False)
    assert client.stats()["fallbacks"] == {"not_loaded": 1}
    # Without configured arms, what is offered is believed.
    assert PolicyClient(rules=Rules()).decide(CONTEXT, ["x", "y"]).to_event()["tool"] == {
        "arm": "x",
        "available": ["x", "y"],
    }


@pytest.mark.parametrize("client", [PolicyClient(arms=ARMS), PolicyClient.from_snapshot(make_snapshot())])
@pytest.mark.parametrize(
    "context",
    [
        None,
        5,
        "weather",
        [("intent", "weather")],
        {},
        {"intent": 5},
        {"intent": "\ud800", "lang": "\udfff"},
        {"intent": "x" * 10_000},
        {"intent": "weather", "text_len": float("nan"), "confidence": float("inf")},
        {"intent": "weather", "text_len": -5, "confidence": 7, "recent_cost_usd": "much"},
        {"intent": "weather", "lang": 5, "guardian_state": ["LOCKDOWN"], "deep": {"a": {}}},
        {1: 2},
    ],
)
def test_a_bad_context_is_survived(client: PolicyClient, context: Any) -> None:
    """Whatever comes in, the decision is one that the worker accepts, and something is counted."""
    before = client.stats()["fallbacks_total"]
    assert accepted(client.decide(context))
    assert client.stats()["fallbacks_total"] > before


def test_an_unusable_context_falls_back_as_a_whole() -> None:
    """Without an intent there is nothing to decide by; the reason is told."""
    client = PolicyClient.from_snapshot(make_snapshot())
    decision = client.decide({"lang": "sv"})
    assert decision.policy.stage == "fallback"
    assert client.stats()["last_fallback"] == "context_unusable"


@pytest.mark.parametrize("offered", [["nope"], [], "nope", 5, [None, 5], ["\ud800"], ["n" * 500], object()])
def test_unknown_arms_let_the_rules_decide_the_slot(offered: Any) -> None:
    """Where nothing known is offered the rules choose that slot's arm: the only one there was, with certainty."""
    client = PolicyClient.from_snapshot(make_snapshot())
    decision = client.decide(CONTEXT, offered, routes=["nope"], caches=["nope"])
    assert accepted(decision)
    assert [(c.arm, c.p, c.available) for c in choices(decision)] == [
        ("planner", 1.0, ("planner",)),
        ("none", 1.0, ("none",)),
        ("L1", 1.0, ("L1",)),
    ]
    assert client.stats()["fallbacks"] == {"arms_unknown": 3}


def test_unknown_names_beside_known_ones_are_passed_over() -> None:
    """A tool that is not configured yet does not keep the others from being used."""
    client = PolicyClient.from_snapshot(make_snapshot())
    decision = client.decide(CONTEXT, ["new.tool", "none", "web.search"], routes=("deep", "micro"))
    assert accepted(decision)
    assert decision.tool is not None
    assert decision.tool.available == ("web.search", "none")
    assert client.stats()["fallbacks"] == {}


@pytest.mark.parametrize(
    "given",
    [
        {"decision_id": ""},
        {"decision_id": "x" * 129},
        {"decision_id": 5},
        {"decision_id": "\ud800"},
        {"session_id": "x" * 65},
        {"session_id": 5},
        {"session_id": "\ud800"},
        {"ts_ms": 5},
        {"ts_ms": 1e12},
        {"ts_ms": "now"},
        {"ts_ms": 10**5000},
    ],
)
def test_bad_identities_and_times_are_replaced(given: dict[str, Any]) -> None:
    """An id, a session or a time that the wire does not take is replaced or dropped, and counted."""
    client = PolicyClient.from_snapshot(make_snapshot())
    assert accepted(client.decide(CONTEXT, **given))
    assert client.stats()["fallbacks_total"] == 1


def test_a_guardian_that_leaves_nothing_is_counted() -> None:
    """A restriction that cannot be kept is passed over, and told; the rules keep to restrictions, too."""
    client = PolicyClient.from_snapshot(make_snapshot(guardian={"LOCKDOWN": Restriction(route=("micro",))}))
    locked = CONTEXT | {"guardian_state": "LOCKDOWN"}
    decision = client.decide(locked, routes=["deep"])
    assert (decision.route, client.stats()["fallbacks"]) == (
        SlotChoice("deep", ("deep",), 1.0, 1.0),
        {"guardian_unmet": 1},
    )
    assert client.decide(locked, routes=["nope"]).to_event()["route"]["arm"] == "micro"


def test_the_rules_keep_to_the_guardian() -> None:
    """Without a policy, and without an intent, a guardian's state still restricts the arms."""
    guardian = {"LOCKDOWN": Restriction(route=("micro",), tool=("none",))}
    locked = {"guardian_state": "LOCKDOWN"}
    for client in (
        PolicyClient.from_snapshot(make_snapshot(guardian=guardian)),
        PolicyClient(guardian=guardian),
        PolicyClient(guardian=guardian, arms=ARMS),
    ):
        for offered in (None, ["web.search", "none"]):
            decision = client.decide(locked, offered)
            assert accepted(decision)
            assert [choice.arm for choice in choices(decision)] == ["micro", "none", "L1"]
            assert decision.context.guardian_state == "LOCKDOWN"
            assert decision.route == SlotChoice("micro", ("micro",))
        assert accepted(client.decide(locked, routes=["deep"]))


def test_reasons_are_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand fallbacks of one kind are counted each, and logged once."""
    client = PolicyClient()
    with caplog.at_level("WARNING", logger="alice_rl"):
        for _ in range(1000):
            client.decide(CONTEXT)
    assert client.stats()["fallbacks"] == {"not_loaded": 1000}
    assert sum("decision.fell_back" in record.getMessage() for record in caplog.records) == 1


def test_what_differs_is_adopted() -> None:
    """A new digest is served, also when the sequence number has gone back as after a failover of Redis."""
    reader = FakeReader()
    with PolicyClient(reader, poll_seconds=0.01) as client:
        assert not client.wait_ready(0.05)
        first = reader.publish(make_snapshot(5))
        assert client.wait_ready(10)
        assert (client.version, client.digest) == (5, first)
        second = reader.publish(make_snapshot(3))
        until(lambda: client.version == 3)
        assert client.digest == second
        assert client.age_seconds is not None
    assert reader.closed


def test_a_hint_ends_the_wait() -> None:
    """With polls far apart, a hint makes the client look at once."""
    reader = FakeReader()
    reader.publish(make_snapshot(1))
    with PolicyClient(reader, poll_seconds=60.0) as client:
        assert client.wait_ready(10)
        reader.publish(make_snapshot(2))
        reader.hint.set()
        until(lambda: client.version == 2)


def test_a_canary_comes_and_goes_with_the_head() -> None:
    """The canary, its share and its withdrawal are adopted like the live policy; one that is refused is left out."""
    reader = FakeReader()
    canary = pack(make_snapshot(2))
    with PolicyClient(reader, poll_seconds=0.01) as client:
        reader.blobs[2] = canary
        reader.publish(make_snapshot(1), canary=2, canary_digest=digest(canary), canary_share=1.0)
        assert client.wait_ready(10)
        assert client.decide(CONTEXT).policy.stage == "canary"
        reader.publish(make_snapshot(1))
        until(lambda: client.stats()["canary_version"] is None)
        assert client.decide(CONTEXT).policy.canary_version is None
        reader.publish(make_snapshot(1), canary=2, canary_digest="0" * 64, canary_share=1.0, seq=9)
        until(lambda: client.stats()["snapshots_refused_total"] > 0)
        assert client.decide(CONTEXT).policy.stage == "live"


def test_a_canary_is_withdrawn_even_beside_a_refused_policy() -> None:
    """When the head's live policy is refused, the old one stays; whether there is a canary is the head's to say."""
    reader = FakeReader()
    canary = pack(make_snapshot(2))
    reader.blobs[2] = canary
    named: dict[str, Any] = {"canary": 2, "canary_digest": digest(canary), "canary_share": 1.0}
    with PolicyClient(reader, poll_seconds=0.01) as client:
        reader.publish(make_snapshot(1), **named)
        assert client.wait_ready(10)
        assert client.decide(CONTEXT).policy.stage == "canary"
        reader.head = Head(run_id="r", seq=3, live=3, live_digest="0" * 64)
        until(lambda: client.stats()["canary_version"] is None)
        assert client.decide(CONTEXT).policy.version == 1


def test_an_adoption_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that could not be prepared is not taken for one that serves."""
    reader = FakeReader()
    reader.publish(make_snapshot(1))
    failures = iter([True, True])
    real = Policy.warm

    def warm(self: Policy, old: Policy) -> None:
        if next(failures, False):
            raise RuntimeError("no")
        real(self, old)

    monkeypatch.setattr(Policy, "warm", warm)
    with PolicyClient(reader, poll_seconds=0.01) as client:
        assert client.wait_ready(10)
        reader.publish(make_snapshot(2))
        until(lambda: client.version == 2)
        assert next(failures, None) is None


@pytest.mark.parametrize("damage", ["flipped", "missing", "digest", "unsigned", "garbage"])
def test_a_bad_snapshot_is_refused_and_the_last_good_one_kept(damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """Damage of every kind is refused, logged once and counted; what served goes on; a good one is adopted."""
    reader = FakeReader()
    reader.publish(make_snapshot(1), b"key")
    with (
        caplog.at_level("WARNING", logger="alice_rl"),
        PolicyClient(reader, signing_key="key", poll_seconds=0.01) as client,
    ):
        assert client.wait_ready(10)
        blob = bytearray(pack(make_snapshot(2), None if damage == "unsigned" else b"key"))
        blob[len(blob) // 2] ^= damage == "flipped"
        data = b"garbage" if damage == "garbage" else bytes(blob)
        if damage != "missing":
            reader.blobs[2] = data
        named = "0" * 64 if damage == "digest" else digest(data)
        reader.head = Head(run_id="r", seq=2, live=2, live_digest=named)
        until(lambda: client.stats()["snapshots_refused_total"] > 0)
        looked = reader.reads
        until(lambda: reader.reads > looked + 5)
        assert client.version == 1
        assert client.decide(CONTEXT).policy.stage == "live"
        reader.publish(make_snapshot(3), b"key")
        until(lambda: client.version == 3)
    refusals = [record.getMessage() for record in caplog.records if "snapshot.refused" in record.getMessage()]
    reasons = {"flipped": "corrupt", "digest": "corrupt", "garbage": "corrupt"}
    assert len(refusals) == 1
    assert f"reason={reasons.get(damage, damage)}" in refusals[0]


def test_while_redis_is_away_attempts_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """The breaker opens once, decisions go on, and the client recovers by itself."""
    reader = FakeReader()
    reader.publish(make_snapshot(1))
    with caplog.at_level("INFO", logger="alice_rl"), PolicyClient(reader, poll_seconds=0.02) as client:
        assert client.wait_ready(10)
        reader.away = True
        until(lambda: client.stats()["breaker"] != "closed")
        assert client.decide(CONTEXT).policy.stage == "live"
        reader.publish(make_snapshot(2))
        reader.away = False
        until(lambda: client.version == 2)
    lines = [record.getMessage().split()[0] for record in caplog.records]
    assert [line for line in lines if line.startswith("breaker.")] == ["breaker.opened", "breaker.closed"]


def test_a_bug_in_the_refresher_does_not_end_it() -> None:
    """An error nobody expected counts as a failure: the thread lives on and adopts what comes next."""
    reader = FakeReader()
    reader.head = None  # type: ignore[assignment]
    with PolicyClient(reader, poll_seconds=0.01) as client:
        until(lambda: reader.reads >= 2)
        reader.publish(make_snapshot(1))
        assert client.wait_ready(10)


def test_a_wiped_redis_changes_nothing() -> None:
    """An empty head is no reason to forget the last good policy."""
    reader = FakeReader()
    reader.publish(make_snapshot(1))
    with PolicyClient(reader, poll_seconds=0.01) as client:
        assert client.wait_ready(10)
        reader.head = Head()
        looked = reader.reads
        until(lambda: reader.reads > looked + 2)
        assert client.version == 1


def test_decisions_of_many_threads_are_consistent_while_policies_change() -> None:
    """Under concurrent adoption every decision carries one policy's stamp and that policy's probabilities."""
    snapshots = {seed: make_snapshot(seed) for seed in (1, 2, 3)}
    expected = {
        digest(pack(snapshot)): PolicyClient.from_snapshot(snapshot)._serving.live.policy  # type: ignore[union-attr]
        for snapshot in snapshots.values()
    }
    reader = FakeReader()
    reader.publish(snapshots[1])
    decisions: list[list[Decision]] = [[], [], [], []]
    with PolicyClient(reader, poll_seconds=0.001) as client:
        assert client.wait_ready(10)
        done = threading.Event()

        def decide(mine: list[Decision]) -> None:
            while not done.is_set():
                mine.append(client.decide(CONTEXT | {"text_len": len(mine) % 50}))

        threads = [threading.Thread(target=decide, args=(mine,)) for mine in decisions]
        for thread in threads:
            thread.start()
        for turn in range(12):
            digest_now = reader.publish(snapshots[1 + turn % 3])
            until(partial(serves, client, digest_now))
        done.set()
        for thread in threads:
            thread.join()
        total = sum(map(len, decisions))
        assert client.stats()["decisions_total"] == total
    for decision in [d for mine in decisions for d in mine[:: max(1, total // 400)]]:
        policy = expected[decision.policy.digest or ""]
        for slot in SLOTS:
            choice = getattr(decision, slot)
            assert choice.p == policy.distribution(slot, decision.context)[choice.arm]


def test_closing_is_quick_and_may_be_repeated() -> None:
    """`close` does not wait for the next poll, and a closed client goes on deciding."""
    reader = FakeReader()
    reader.publish(make_snapshot(1))
    client = PolicyClient(reader, poll_seconds=60.0)
    assert client.wait_ready(10)
    started = time.monotonic()
    client.close()
    client.close()
    assert time.monotonic() - started < 5.0
    assert client.stats()["refreshing"] is False
    assert accepted(client.decide(CONTEXT))


def test_importing_the_client_loads_nothing_of_the_worker() -> None:
    """An orchestrator that imports the client pays for none of the worker's libraries."""
    program = (
        "import alice_rl.snapshot, sys;"
        "print({'aiokafka', 'river', 'scipy', 'typer', 'rich', 'worker'} & set(sys.modules))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True, env={"PYTHONPATH": "."}
    )
    assert done.stdout.strip() == "set()"
