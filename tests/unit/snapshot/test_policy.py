"""A compiled policy: exact distributions, floors, quotas, restrictions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from alice_rl.events import Context
from alice_rl.feature_spec import FeatureSettings
from alice_rl.features import Featuriser
from alice_rl.lineage import Arms
from alice_rl.online.thompson import probability_best
from alice_rl.slots import Exploration, Restriction
from alice_rl.snapshot import Policy, Snapshot
from tests.snapshots import TOOLS, make_snapshot

WEATHER = Context("weather", "sv", "NORMAL", 34.0, 0.91, 812.0, 0.0012)
MANY = Arms(route=tuple(f"r{k}" for k in range(13)), tool=TOOLS)


def direct_bounds(snapshot: Snapshot, context: Context) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Upper confidence bounds straight from the features, ndarray, shape (K,)."""
    x = Featuriser(snapshot.manifest.features).x(context)
    widths = np.linalg.norm(snapshot.route_factor @ x, axis=1)
    return np.asarray(snapshot.route_theta @ x + snapshot.route_alpha * widths, dtype=np.float64)


@pytest.mark.parametrize("arms", [Arms(tool=TOOLS), MANY])
def test_the_best_bound_gets_all_but_the_floor(arms: Arms) -> None:
    """The route with the highest bound has `1 - eps + eps / K`, every other one `eps / K`."""
    snapshot = make_snapshot(arms=arms)
    policy = Policy(snapshot)
    n_arms = len(arms.route)
    for text_len, confidence in itertools.product((None, 0.0, 3.0, 500.0), (None, 0.1, 1.0)):
        context = Context("code", "en", None, text_len, confidence)
        pi = policy.distribution("route", context)
        best = arms.route[int(np.argmax(direct_bounds(snapshot, context)))]
        assert pi[best] == pytest.approx(0.97 + 0.03 / n_arms)
        assert [pi[arm] for arm in arms.route if arm != best] == pytest.approx([0.03 / n_arms] * (n_arms - 1))


def test_equal_bounds_share() -> None:
    """Arms without a difference are served alike."""
    solved = make_snapshot()
    tensors = solved.tensors()
    alike = {name: np.repeat(array[:1], 3, axis=0) for name, array in tensors.items() if name.startswith("route")}
    pi = Policy(Snapshot(solved.manifest, **(tensors | alike))).distribution("route", WEATHER)
    assert list(pi.values()) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("rule", ["thompson", "igw"])
@pytest.mark.parametrize("arms", [Arms(tool=TOOLS), MANY])
def test_other_rules_keep_the_floor(rule: Any, arms: Arms) -> None:
    """Thompson and inverse-gap weighting are distributions over the same posterior, with the same floor."""
    snapshot = make_snapshot(arms=arms, exploration=Exploration(route_rule=rule))
    pi = Policy(snapshot).distribution("route", WEATHER)
    assert sum(pi.values()) == pytest.approx(1.0)
    assert min(pi.values()) >= 0.03 / len(arms.route)
    x = Featuriser(snapshot.manifest.features).x(WEATHER)
    assert max(pi, key=lambda arm: pi[arm]) == arms.route[int(np.argmax(snapshot.route_theta @ x))]


def test_only_available_arms_are_served() -> None:
    """Probability goes to what was offered and is configured; the order of the offer does not matter."""
    policy = Policy(make_snapshot())
    pi = policy.distribution("route", WEATHER, ["deep", "micro", "unheard-of", "deep"])
    assert set(pi) == {"micro", "deep"}
    assert sum(pi.values()) == pytest.approx(1.0)
    assert policy.distribution("route", WEATHER, ["unheard-of"]) == {}
    assert policy.distribution("tool", WEATHER, ["none"]) == {"none": 1.0}


def test_a_tool_is_served_as_likely_as_it_is_best() -> None:
    """The tool's distribution is P(best) for the intent's posteriors, with the floor."""
    snapshot = make_snapshot()
    pi = Policy(snapshot).distribution("tool", Context("code"))
    best = probability_best(snapshot.tool_a[1], snapshot.tool_b[1])
    assert list(pi.values()) == pytest.approx(0.97 * best + 0.03 / len(TOOLS))


def test_what_was_never_seen_has_a_row_of_its_own() -> None:
    """An unseen intent gets the last row, unless names overflowed: then it is among the others."""
    snapshot = make_snapshot()
    unseen = probability_best(snapshot.tool_a[3], snapshot.tool_b[3])
    assert list(Policy(snapshot).distribution("tool", Context("new")).values()) == pytest.approx(
        0.97 * unseen + 0.03 / len(TOOLS)
    )
    crowded = make_snapshot(intents=("weather", "code", "*"))
    others = probability_best(crowded.tool_a[2], crowded.tool_b[2])
    assert list(Policy(crowded).distribution("tool", Context("new")).values()) == pytest.approx(
        0.97 * others + 0.03 / len(TOOLS)
    )


def test_the_cache_explores_less_the_more_turns_a_class_has() -> None:
    """Epsilon decays with the class's turns, from its start to its floor."""
    solved = make_snapshot()
    n = np.array([[0.0] * 3, [100.0, 60.0, 40.0], [1e6, 1e6, 1e6], [0.0] * 3])
    policy = Policy(Snapshot(solved.manifest, **(solved.tensors() | {"cache_n": n})))
    explored = [
        3.0 * min(policy.distribution("cache", Context(intent)).values())
        for intent in ("weather", "code", "smalltalk", "new")
    ]
    assert explored == pytest.approx([0.3, 0.03 + 0.27 / 2.0, 0.03, 0.3], abs=1e-4)


def test_query_classes_may_have_several_fields() -> None:
    """The class of a turn is made as the learner makes it."""
    solved = make_snapshot(cache_class=("intent", "lang"), classes=("weather|en", "weather|sv", "code|"))
    mean = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    policy = Policy(Snapshot(solved.manifest, **(solved.tensors() | {"cache_mean": mean})))
    best = [
        max(pi, key=lambda arm: pi[arm])
        for pi in (policy.distribution("cache", c) for c in (Context("weather", "en"), WEATHER, Context("code")))
    ]
    assert best == ["L1", "L2", "L3"]


def test_a_quota_caps_the_probability_exactly() -> None:
    """No decision gives an arm more than its share; what is left goes to the others."""
    free = Policy(make_snapshot()).distribution("route", WEATHER)
    best = max(free, key=lambda arm: free[arm])
    pi = Policy(make_snapshot(max_share={best: 0.4})).distribution("route", WEATHER)
    assert pi[best] == pytest.approx(0.4)
    assert sum(pi.values()) == pytest.approx(1.0)


def test_a_guardian_state_restricts_its_slots() -> None:
    """Only what the state allows is served; a state or slot that is not named restricts nothing."""
    guardian = {"LOCKDOWN": Restriction(route=("micro",), tool=("none",))}
    policy = Policy(make_snapshot(guardian=guardian))
    locked = Context("weather", guardian_state="LOCKDOWN")
    assert policy.distribution("route", locked) == {"micro": 1.0}
    assert policy.distribution("tool", locked, ["web.search", "none"]) == {"none": 1.0}
    assert len(policy.distribution("cache", locked)) == len(policy.distribution("route", WEATHER)) == 3


def test_a_restriction_that_leaves_nothing_is_passed_over() -> None:
    """Somebody has to answer: where the state allows none of what is offered, the menu says so and serves the offer."""
    policy = Policy(make_snapshot(guardian={"LOCKDOWN": Restriction(route=("micro",))}))
    menu = policy.menus["route"].get(("deep",), "LOCKDOWN")
    assert menu is not None
    assert menu.unmet
    assert menu.arms == ("deep",)


def test_the_single_slot_entry_draws_from_the_distribution() -> None:
    """`route` gives the arm that the uniform selects, and its probability."""
    policy = Policy(make_snapshot())
    pi = policy.distribution("route", WEATHER)
    context = {"intent": "weather", "lang": "sv", "guardian_state": "NORMAL", "text_len": 34, "confidence": 0.91}
    context |= {"recent_latency_ms": 812.0, "recent_cost_usd": 0.0012}
    drawn = {policy.route(context, (i + 0.5) / 1000) for i in range(1000)}
    assert drawn == set(pi.items())
    assert policy.route(WEATHER, 0.5, ["deep"]) == ("deep", 1.0)
    with pytest.raises(ValueError, match="no arm"):
        policy.route(WEATHER, 0.5, ["unheard-of"])


def test_a_new_policy_is_warmed_with_what_the_old_one_was_asked() -> None:
    """After warming, the tables of the new policy hold the old one's keys, also across a change of tools."""
    old, new = Policy(make_snapshot(1)), Policy(make_snapshot(2, arms=Arms(tool=(*TOOLS, "new.tool"))))
    for intent in ("weather", "code", "new"):
        old.distribution("route", Context(intent))
        old.distribution("tool", Context(intent), ["web.search", "none"])
    new.warm(old)
    assert new._scorer.keys == old._scorer.keys
    assert list(new.tools_asked()) == list(old.tools_asked())


@pytest.mark.parametrize("rule", ["ucb", "thompson"])
def test_a_policy_with_more_numerics_follows_one_with_fewer(rule: Any) -> None:
    """A policy reads the features that its own manifest names, also when it is warmed by one with others."""
    wide, how = FeatureSettings(), Exploration(route_rule=rule)
    old = Policy(make_snapshot(features=FeatureSettings(numerics=wide.numerics[:2]), exploration=how))
    old.distribution("route", WEATHER)
    snapshot = make_snapshot(seed=2, features=wide, exploration=how)
    new = Policy(snapshot)
    new.warm(old)
    assert new.distribution("route", WEATHER) == Policy(snapshot).distribution("route", WEATHER)
    if rule == "ucb":
        pi = new.distribution("route", WEATHER)
        assert max(pi, key=lambda arm: pi[arm]) == Arms().route[int(np.argmax(direct_bounds(snapshot, WEATHER)))]


def test_tables_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of distinct values starts the tables anew, and changes no distribution."""
    monkeypatch.setattr("alice_rl.snapshot.route._KEYS_MAX", 8)
    monkeypatch.setattr("alice_rl.snapshot.policy._SPREADS_MAX", 8)
    monkeypatch.setattr("alice_rl.snapshot.menu._MENUS_MAX", 8)
    policy = Policy(make_snapshot())
    before = [policy.distribution(slot, WEATHER) for slot in ("route", "tool", "cache")]
    for i in range(100):
        for slot in ("route", "tool", "cache"):
            policy.distribution(slot, Context(f"intent-{i}"), [f"x{i}", "none", "L1", "micro", *TOOLS[: i % 4]])
    assert len(policy._scorer.keys) <= 8
    assert max(len(policy._tool_spreads), len(policy.menus["tool"]._menus)) <= 8
    assert [policy.distribution(slot, WEATHER) for slot in ("route", "tool", "cache")] == before
