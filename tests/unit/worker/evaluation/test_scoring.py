"""Episodes scored for a target: weights, windows, and what does not count."""

from __future__ import annotations

import random
from typing import Any

import pytest

from alice_rl.episodes import Episode, JoinSettings
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
