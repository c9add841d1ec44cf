"""The gatekeeper on a store in memory: it does what the evidence says, once, whoever dies and whoever interferes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alice_rl.errors import DependencyError
from alice_rl.online.canary import Decision
from alice_rl.snapshot import keys
from alice_rl.snapshot.records import Pin, Stage
from alice_rl.snapshot.store import Store
from tests.unit.worker.canary_steps import GOOD, Gate
from tests.unit.worker.steps import Logged


@pytest.fixture
def gate(store: Store, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """An empty store, and the gate's evidence in the test's hands."""
    return Gate(store, monkeypatch)


async def audit(store: Store) -> list[tuple[str, str, str]]:
    """Kind, stage and version of what was done with canaries, oldest first."""
    entries = [entry for entry in await store.history() if entry.kind != "publish"]
    named = [(e.kind, e.fields["stage"], e.fields.get("version") or e.fields["from"]) for e in entries]
    return named[::-1]


async def test_a_candidate_goes_all_the_way(gate: Gate, store: Store, logged: Logged) -> None:
    """Shadow, a share, a larger one, live: each with its line in the log, its numbers in the audit, and its point."""
    await gate.publish(candidate=False)
    assert await gate.look() is None
    await gate.publish()
    opened = await gate.look()
    assert opened is not None
    assert (opened.version, opened.phase, opened.live_version) == (2, "shadow", 1)
    assert (await store.read_head()).canary == 2
    gate.windows.estimates = {"canary": GOOD}
    await gate.look(minutes=0.5)
    assert (await store.read_head()).canary_share == 0.0
    await gate.look(minutes=0.5)
    assert (await store.read_head()).canary_share == 0.05
    gate.requests = 2500
    await gate.look(minutes=6)
    assert (await store.read_head()).canary_share == 0.25
    gate.decision = Decision.PROMOTE
    state = await gate.look(minutes=1)
    head = await store.read_head()
    assert (head.live, head.canary, head.previous) == (2, None, 1)
    assert state == await store.read_canary()
    assert state is not None
    assert (state.phase, state.outcome, state.reason) == ("ended", "promoted", "promote on 2500 requests")
    done = ["canary.opened", "canary.stepped", "canary.stepped", "canary.promoted"]
    assert [name for name in logged.names if name.startswith("canary") and name != "canary.judged"] == done
    [entry] = [entry for entry in await store.history() if entry.fields.get("stage") == "prod"]
    detail = json.loads(entry.fields["detail"])
    assert (detail["outcome"], detail["offsets"], detail["verdict"]["requests"]) == ("promoted", {"0": 7}, 2500)
    assert (detail["weights"], detail["ts_ms"]) == ({"success": 2.0, "latency_ms": -0.001}, gate.clock_ms)
    assert (entry.fields["who"], entry.fields["why"]) == ("first", "promote on 2500 requests")
    points = await store.canary_points()
    assert [(point.share, point.verdict["decision"]) for point in points] == [(0.05, "HOLD"), (0.25, "PROMOTE")]


async def test_a_bad_canary_is_gone_and_not_tried_again(gate: Gate, store: Store, logged: Logged) -> None:
    """Rolled back at the look that shows it; after the cool-down the next candidate is opened, never the same."""
    await gate.serving()
    gate.decision = Decision.ROLLBACK
    state = await gate.look(minutes=1)
    head = await store.read_head()
    assert (head.live, head.canary, head.pinned) == (1, None, None)
    assert state is not None
    assert state.outcome == "rolled_back"
    [line] = logged.of("canary.rolled_back")
    assert (line["version"], line["verdict"]["decision"]) == (2, "ROLLBACK")
    await gate.look(minutes=60)
    assert (await store.read_head()).canary is None
    await gate.publish()
    gate.clock_ms -= 40 * 60_000
    await gate.look()
    assert (await store.read_head()).canary is None
    await gate.look(minutes=40)
    assert (await store.read_head()).canary == 3


async def test_a_void_trial_ends(gate: Gate, store: Store, logged: Logged) -> None:
    """Where the split is not what the share says, the canary goes and a person is told."""
    await gate.serving()
    gate.decision = Decision.INVALID
    state = await gate.look(minutes=1)
    assert state is not None
    assert (state.outcome, (await store.read_head()).canary) == ("invalid", None)
    assert len(logged.of("canary.voided")) == 1


async def test_a_winner_waits_for_a_person(store: Store, monkeypatch: pytest.MonkeyPatch, logged: Logged) -> None:
    """With `prod_after_canary = false` it keeps its share; once promoted by hand it is said by whom."""
    gate = Gate(store, monkeypatch, prod_after_canary=False)
    version = await gate.serving()
    gate.decision = Decision.PROMOTE
    for _ in range(3):
        state = await gate.look(minutes=1)
    assert state is not None
    assert state.phase == "approval"
    assert (await store.read_head()).canary_share == 0.05
    assert len(logged.of("canary.approval_requested")) == 1
    await store.promote(version, request="by-hand", who="alva", why="looks good")
    ended = await gate.look()
    assert ended is not None
    assert (ended.phase, ended.outcome) == ("ended", "promoted")
    assert ended.reason == "version 2 was made live by alva: looks good"


async def test_a_person_has_the_last_word(gate: Gate, store: Store) -> None:
    """What is taken away by hand stays away; what is put there is watched; another share is kept."""
    version = await gate.serving()
    await store.promote(version, request="share", stage=Stage.CANARY, share=0.1)
    state = await gate.look()
    assert state is not None
    assert ((await store.read_head()).canary_share, state.share) == (0.1, 0.1)
    await store.rollback(request="away", stage=Stage.CANARY, who="alva")
    state = await gate.look()
    assert state is not None
    assert (state.outcome, state.reason) == ("withdrawn", "it was taken away by alva")
    await gate.look(minutes=60)
    assert (await store.read_head()).canary is None
    await store.promote(version, request="back", stage=Stage.CANARY, share=0.2)
    state = await gate.look()
    assert state is not None
    assert (state.phase, state.share, state.version) == ("trial", 0.2, version)


async def test_a_pin_stops_the_way_up(gate: Gate, store: Store) -> None:
    """While live is pinned the canary gets no more, and the winner does not replace it; without the pin it does."""
    await gate.serving()
    await store.promote(1, request="pin", pin=Pin.PIN)
    gate.decision = Decision.PROMOTE
    state = await gate.look(minutes=10)
    assert ((await store.read_head()).live, (await store.read_head()).canary_share) == (1, 0.05)
    assert state is not None
    assert "pinned" in state.reason
    await store.promote(1, request="unpin", pin=Pin.UNPIN)
    await gate.look()
    assert (await store.read_head()).live == 2


@pytest.mark.parametrize("decision", [Decision.HOLD, Decision.PROMOTE, Decision.ROLLBACK, Decision.INVALID])
async def test_a_death_between_head_and_state_is_mended(
    gate: Gate, store: Store, monkeypatch: pytest.MonkeyPatch, decision: Decision
) -> None:
    """Whoever looks next finds the head moved, takes over from there, and does nothing twice."""
    await gate.serving()
    gate.decision = decision

    async def away(_: Any) -> None:
        raise DependencyError("gone", code="redis_unreachable")

    with monkeypatch.context() as dying:
        dying.setattr(store, "write_canary", away)
        with pytest.raises(DependencyError):
            await gate.look(minutes=10)
    done = await audit(store)
    state = await gate.look(gate.another("second"))
    assert await audit(store) == done
    head = await store.read_head()
    assert state is not None
    if decision is Decision.HOLD:
        assert (head.canary_share, state.share, state.phase) == (0.25, 0.25, "trial")
    else:
        outcomes = {Decision.PROMOTE: "promoted", Decision.ROLLBACK: "rolled_back", Decision.INVALID: "invalid"}
        assert (head.canary, state.phase, state.outcome) == (None, "ended", outcomes[decision])
        assert state.reason == f"{decision.value.lower()} on 10000 requests"


async def test_a_death_before_the_first_state_is_mended(
    gate: Gate, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A canary whose state was never written, or was lost, is taken as it stands."""
    await gate.publish(candidate=False)
    await gate.publish()

    async def away(_: Any) -> None:
        raise DependencyError("gone", code="redis_unreachable")

    with monkeypatch.context() as dying:
        dying.setattr(store, "write_canary", away)
        with pytest.raises(DependencyError):
            await gate.look()
    state = await gate.look(gate.another("second"))
    assert state is not None
    assert (state.version, state.phase, state.share) == (2, "shadow", 0.0)
    assert await audit(store) == [("promote", "canary", "2")]


async def test_of_two_that_look_at_once_one_acts(gate: Gate, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that still believes it leads decides by an old head and state: Redis refuses."""
    await gate.serving()
    head, state = await store.read_head(), await store.read_canary()
    second = gate.another("second")
    await gate.look(minutes=10)
    assert (await store.read_head()).canary_share == 0.25
    gate.decision = Decision.PROMOTE
    await gate.look(minutes=10)
    gate.decision = Decision.HOLD
    before = await audit(store)

    async def old_head() -> Any:
        return head

    async def old_state() -> Any:
        return state

    for decision in Decision:
        gate.decision = decision
        with monkeypatch.context() as late:
            late.setattr(store, "read_head", old_head)
            late.setattr(store, "read_canary", old_state)
            await gate.look(second)
        assert await audit(store) == before
        now = await store.read_head()
        assert (now.live, now.canary) == (2, None)


async def test_a_look_that_tells_nothing_new_writes_nothing(gate: Gate, store: Store, client: Any) -> None:
    """State and points are written when something changed, not at every look."""
    await gate.serving()
    await gate.look()
    before = (await client.get(keys.canary("alice")), await store.canary_points())
    for _ in range(3):
        await gate.look()
    assert (await client.get(keys.canary("alice")), await store.canary_points()) == before
    gate.requests += 20
    await gate.look()
    assert len(await store.canary_points()) == len(before[1]) + 1


async def test_the_reward_is_the_canarys_own(gate: Gate) -> None:
    """Weights and centre of a verdict come out of the canary's manifest, its minutes from the log's clock."""
    await gate.serving()
    gate.judged.clear()
    await gate.look(minutes=3)
    [(reward, minutes)] = gate.judged
    assert (reward.weights[0], reward.centre, reward.most, minutes) == (2.0, 0.0, 2.0, 13.0)


async def test_a_canary_that_cannot_be_read_is_withdrawn(gate: Gate, store: Store, client: Any) -> None:
    """Clients refuse it as well, so it goes; the reason says why."""
    version = await gate.serving()
    await client.delete(keys.snapshot("alice", version))
    ended = await gate.look(gate.another("second"))  # which has never read it
    assert ended is not None
    assert ended.outcome == "withdrawn"
    assert "gone from Redis" in ended.reason


async def test_direct_mode_has_no_canaries(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """In direct mode nothing is opened, and what a person puts there is left alone."""
    gate = Gate(store, monkeypatch, mode="direct")
    await gate.publish(candidate=False)
    version = await gate.publish()
    await gate.look()
    assert (await store.read_head()).canary is None
    await store.promote(version, request="by-hand", stage=Stage.CANARY, share=0.5)
    gate.decision, gate.requests = Decision.ROLLBACK, 5000
    await gate.look()
    assert (await store.read_head()).canary == version
    assert await store.read_canary() is None
