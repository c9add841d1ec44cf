"""Episodes scored for a target: weights, windows, and what does not count."""

from __future__ import annotations

import random
from fractions import Fraction
from functools import partial
from typing import Any

import msgspec
import pytest

from alice_rl.episodes import Episode, JoinSettings
from alice_rl.events import Context
from alice_rl.lineage import Arms, Lineage
from alice_rl.online.ope import Pane
from alice_rl.reward import RewardSettings
from alice_rl.shard import Shard
from alice_rl.snapshot.policy import Policy
from alice_rl.snapshot.rules import Rules, RulesSettings
from tests.logs import START_MS, TOOLS, decision, outcome, random_turn, records, turn
from tests.snapshots import make_snapshot
from worker.evaluation.scoring import Scoring
from worker.evaluation.target import PolicyTarget, RulesTarget, ServedTarget, Target

LINEAGE = Lineage(arms=Arms(tool=TOOLS), join=JoinSettings(horizon_seconds=600))
REWARD = RewardSettings()
RULES = RulesTarget(Rules(RulesSettings(route="micro", tool="none", cache="L1")))


def scored(values: list[dict[str, Any]], target: Target, slide_ms: int = 60_000) -> Scoring:
    """The scoring of a log, through the fold."""
    scoring, shard = Scoring(target, REWARD, slide_ms), Shard(LINEAGE)
    shard.watch = scoring.take
    shard.feed(records(values))
    return scoring


def test_the_weight_is_joint_over_the_slots() -> None:
    """A turn counts as often as the target would have served all of it, against the log."""
    slots: dict[str, Any] = {
        "route": {"arm": "micro", "p": 0.5, "available": ["micro", "deep"]},
        "tool": {"arm": "none", "p": 0.25, "available": ["none", "search"]},
        "cache": {"arm": "L1", "p": 0.8, "available": ["L1", "L2"]},
    }
    said = scored(
        [turn("a", **slots), turn("b", **slots | {"cache": slots["cache"] | {"arm": "L2"}})], RULES
    ).estimates()
    assert said.max_weight == pytest.approx(1 / (0.5 * 0.25 * 0.8))
    assert said.mean_weight == pytest.approx(0.5 / (0.5 * 0.25 * 0.8))


def test_a_policy_scores_its_own_turns_at_one() -> None:
    """Turns that a policy served, with its own probabilities, have weight 1."""
    policy, rng = Policy(make_snapshot(arms=Arms(tool=TOOLS))), random.Random(1)
    values: list[dict[str, Any]] = []
    for i in range(30):
        values += random_turn(rng, f"d-{i}", START_MS + i, split=False)
    shard, kept = Shard(LINEAGE), list[Episode]()
    shard.watch = kept.extend
    shard.feed(records(values))
    own = []
    for event, (decided, *_) in zip(values, kept, strict=True):
        slots = {}
        for slot in ("route", "tool", "cache"):
            choice = getattr(decided, slot)
            p = policy.distribution(slot, decided.context, choice.available)[choice.arm]
            slots[slot] = event[slot] | {"p": p}
        own.append(event | slots)
    said = scored(own, PolicyTarget(policy)).estimates()
    assert [said.mean_weight, said.max_weight] == pytest.approx([1.0, 1.0])
    assert said.ips == scored(own, ServedTarget()).estimates().ips


def test_estimates_are_those_of_a_plain_loop_over_the_log() -> None:
    """IPS, SNIPS, ESS and DR of a policy, out of the log's own JSON in fractions, to nine digits."""
    policy, rng = Policy(make_snapshot(arms=Arms(tool=TOOLS))), random.Random(3)
    values: list[dict[str, Any]] = []
    for i in range(200):
        values += random_turn(rng, f"d-{i}", START_MS + i * 1_000, split=False)
    del values[7]["route"]
    said = scored(values, PolicyTarget(policy)).estimates()
    w, r, psi, cells = list[Fraction](), list[Fraction](), list[Fraction](), dict[tuple[str, str], list[Fraction]]()
    for event in values:
        context, outcome = msgspec.convert(event["context"], Context), event["outcome"]
        weight = Fraction(1)
        for slot in {"route", "tool", "cache"} & event.keys():
            choice = event[slot]
            pi = policy.distribution(slot, context, choice["available"]).get(choice["arm"], 0.0)
            weight *= Fraction(pi) / Fraction(choice["p"])
        latency = Fraction(round(min(outcome["latency_ms"], 30_000.0) * 4), 4)
        cost = Fraction(round(min(outcome["cost_usd"], 1.0) * 10**5), 10**5)
        reward = 2 * outcome["success"] + bool(outcome.get("tool_ok")) - latency / 1000 - cost / 2
        reward += Fraction(2, 5) * outcome["cache_hit"] - Fraction(7, 10) * outcome["guardian_flag"]

        def expected(arm: str, intent: str = context.intent) -> Fraction:
            mean = sum(r, start=Fraction(0)) / max(1, len(r))  # of earlier turns alone: this one is not in `r` yet
            cell = cells.get((intent, arm), [])
            return (sum(cell, start=Fraction(0)) + 10 * mean) / (len(cell) + 10)

        served = event["route"]["arm"] if "route" in event else ""
        q = v = expected(served)
        if served:
            routes = policy.distribution("route", context, event["route"]["available"])
            v = sum((Fraction(p) * expected(arm) for arm, p in routes.items()), start=Fraction(0))
        psi.append(v + weight * (reward - q))
        cells.setdefault((context.intent, served), []).append(reward)
        w.append(weight)
        r.append(reward)
    wr = [a * b for a, b in zip(w, r, strict=True)]
    mean_psi = sum(psi) / 200
    spread = sum((term - mean_psi) ** 2 for term in psi) / 199 / 200
    assert said.n == 200 and said.ips is not None and said.snips is not None and said.dr is not None
    close = partial(pytest.approx, rel=1e-9)
    assert said.ips.value == close(float(sum(wr) / 200))
    assert said.snips.value == close(float(sum(wr) / sum(w)))
    assert said.effective == close(float(sum(w) ** 2 / sum(a * a for a in w)))
    assert said.dr.value == close(float(mean_psi))
    assert said.dr.error == close(float(spread) ** 0.5)


def test_turns_of_the_rules_are_unfit() -> None:
    """A fallback has no propensity: it is counted, and weighs nothing."""
    fallback = turn("a", policy={"stage": "fallback"})
    scoring = scored([fallback, turn("b")], RULES)
    assert (scoring.estimates().n, scoring.estimates().unfit) == (1, 1)


def test_disorder_changes_no_window() -> None:
    """Late, double and disordered events end in the same panes as a tidy log, but for what the join drops."""
    rng, tidy = random.Random(2), list[dict[str, Any]]()
    for i in range(120):
        tidy += random_turn(rng, f"d-{i}", START_MS + i * 2_000, split=True)
    untidy: list[dict[str, Any]] = []
    for i in range(0, len(tidy), 8):
        block = tidy[i : i + 8]
        untidy += [*rng.sample(block, len(block)), block[0]]
    untidy.append(turn("too-late", START_MS - 700_000))
    expected = scored(tidy, ServedTarget()).panes
    found = scored(untidy, ServedTarget()).panes
    assert len(expected) == 4
    assert {at: _without_model(pane) for at, pane in found.items()} == {
        at: _without_model(pane) for at, pane in expected.items()
    }


def _without_model(pane: Pane) -> object:
    """What a pane says, but for DR: its reward model depends on the order of the turns."""
    said = pane.estimates(least=-31.2, most=3.4)
    return said.n, said.ips, said.snips, said.effective, said.clipped


def test_an_outcome_that_is_missing_is_no_turn() -> None:
    """Decisions without an outcome score nothing."""
    scoring = scored([decision("a"), decision("b"), outcome("b")], ServedTarget())
    assert scoring.estimates().n == 1
