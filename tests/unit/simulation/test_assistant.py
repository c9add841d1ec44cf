from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pytest

from alice_rl.events import Decision, Event, Outcome, Turn, decode, encode
from alice_rl.lineage import Arms
from alice_rl.simulation.assistant import WORLD_RULES, Assistant, decide_uniformly, seeded_ids
from alice_rl.simulation.contexts import START_MS
from alice_rl.simulation.world import ROUTES, RULES, TIERS, TOOLS, World
from alice_rl.snapshot.client import PolicyClient
from tests.snapshots import make_snapshot


def played(seed: int, turns: int, decide=decide_uniformly, **options) -> tuple[Assistant, list[Event]]:
    """An assistant that has played, and what it has sent."""
    sent: list[Event] = []
    assistant = Assistant(World(seed), decide, sent.append, new_id=seeded_ids(seed), **options)
    for _ in range(turns):
        assistant.play()
    assistant.finish()
    return assistant, sent


def test_one_seed_sends_the_same_bytes() -> None:
    """The same seed sends the same events to the byte, another seed others."""
    first, second, other = ([encode(event) for event in played(seed, 500)[1]] for seed in (3, 3, 4))
    assert first == second
    assert first != other


def test_every_decision_is_followed_by_its_outcome() -> None:
    """Each turn sends a decision and, later in event time, one outcome; `finish` leaves none out."""
    assistant, sent = played(5, 400)
    decided = {event.decision_id: event.ts_ms for event in sent if isinstance(event, Decision)}
    known = {event.decision_id: event.ts_ms for event in sent if isinstance(event, Outcome)}
    assert len(sent) == assistant.sent == 800
    assert decided.keys() == known.keys()
    assert all(known[name] >= decided[name] for name in decided)


def test_events_are_sent_in_the_order_of_event_time() -> None:
    """Outcomes come between the decisions of other turns, when their delay is over."""
    _, sent = played(5, 400)
    times = [event.ts_ms for event in sent]
    assert times == sorted(times)
    assert times[0] >= START_MS
    kinds = "".join(type(event).__name__[0] for event in sent)
    assert "DOD" in kinds and "DDDO" in kinds


def test_whole_turns_carry_decision_and_outcome() -> None:
    """Sent whole, a turn says what the two events say, under the decision's time."""
    _, split = played(5, 300)
    _, whole = played(5, 300, turn_events="whole")
    decisions = {event.decision_id: event for event in split if isinstance(event, Decision)}
    outcomes = {event.decision_id: event for event in split if isinstance(event, Outcome)}
    assert len(whole) == 300
    for turn in whole:
        assert isinstance(turn, Turn)
        decision, outcome = decisions[turn.decision_id], outcomes[turn.decision_id]
        assert (turn.ts_ms, turn.route, turn.tool, turn.cache) == (
            decision.ts_ms, decision.route, decision.tool, decision.cache
        )  # fmt: skip
        assert msgspec.structs.asdict(turn.outcome) == {
            name: value for name, value in msgspec.structs.asdict(outcome).items() if name != "decision_id"
        }


def test_what_is_sent_is_valid_on_the_wire() -> None:
    """Every event decodes to itself."""
    for options in ({}, {"turn_events": "whole"}):
        for event in played(6, 200, **options)[1]:
            assert decode(encode(event)) == event


def test_event_time_begins_where_it_is_told() -> None:
    """Another start shifts the times of all decisions, and with the ids made of them the draws."""
    _, first = played(5, 100)
    _, later = played(5, 100, start_ms=START_MS + 5000)
    before, after = ([event.ts_ms for event in sent if isinstance(event, Decision)] for sent in (first, later))
    assert [ts_ms + 5000 for ts_ms in before] == after


def test_sessions_remember_what_they_were_served() -> None:
    """Contexts carry the session's past, and only of outcomes that were known by then."""
    _, sent = played(5, 2000)
    sessions: dict[str, str | None] = {}
    known: Counter[str | None] = Counter()
    remembering = 0
    for event in sent:
        if isinstance(event, Decision):
            sessions[event.decision_id] = event.session_id
            if event.context.recent_latency_ms is not None:
                remembering += 1
                assert known[event.session_id]
        elif isinstance(event, Outcome):
            known[sessions[event.decision_id]] += 1
    assert remembering > 500


def test_the_rules_as_served_are_the_rules_beside() -> None:
    """Served by a client that knows only the rules, the served score is the rules' score."""
    client = PolicyClient(rules=WORLD_RULES)
    assistant, sent = played(7, 1500, client.decide)
    score = assistant.ledger.score()
    assert score.served == score.rules
    assert score.weighted == score.versions == 0
    decision = next(event for event in sent if isinstance(event, Decision))
    assert decision.policy.stage == "fallback"
    assert decision.route is not None and decision.route.p is None
    assert decision.route.arm == RULES["route"][decision.context.intent]


def test_held_out_turns_are_the_rules() -> None:
    """With a hold-out, the turns held out are played as the rules play them, and scored apart."""
    arms = Arms(ROUTES, TOOLS, TIERS)
    client = PolicyClient.from_snapshot(make_snapshot(arms=arms, holdout_share=0.2), rules=WORLD_RULES)
    assistant, sent = played(7, 1000, client.decide)
    held = [event for event in sent if isinstance(event, Decision) and event.policy.stage == "fallback"]
    for decision in held:
        assert decision.policy.holdout_share == 0.2
        assert decision.route is not None and decision.route.arm == RULES["route"][decision.context.intent]
    holdout = assistant.ledger.score().holdout
    assert holdout is not None and holdout.turns == len(held) == client.stats()["held_out_total"]
    assert holdout.share == len(held) / 1000 == pytest.approx(0.2, abs=0.06)


def test_the_uniform_policy_draws_evenly() -> None:
    """Arms are served in equal shares, each with the probability that is logged."""
    assistant, sent = played(7, 6000)
    score = assistant.ledger.score()
    for slot in ("route", "cache"):
        assert list(score.shares[slot].values()) == pytest.approx([1 / 3] * 3, abs=0.03)
    assert score.mean_weight == 1.0
    for event in sent:
        if isinstance(event, Decision):
            assert event.tool is not None and event.tool.p == 1 / len(event.tool.available)


def test_rewards_agree_with_their_exact_expectation() -> None:
    """Realised and expected reward of each player differ by chance alone, and the oracle is never beaten."""
    assistant, _ = played(8, 6000)
    score = assistant.ledger.score()
    for standing in (score.served, score.rules, score.uniform, score.oracle):
        assert standing.reward == pytest.approx(standing.value, abs=4 * 2.5 / np.sqrt(6000))
        assert standing.value <= score.oracle.value
    assert score.rules.value < score.uniform.value < score.oracle.value


def test_uniform_decisions_need_an_id_and_a_time() -> None:
    """Without them a draw could not be repeated."""
    with pytest.raises(ValueError, match="an id, a time"):
        decide_uniformly({"intent": "weather"}, ["none"], decision_id=None, session_id=None, ts_ms=1)
