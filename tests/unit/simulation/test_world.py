from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest

from alice_rl.simulation.contexts import START_MS
from alice_rl.simulation.intents import INTENTS, NO_TOOL
from alice_rl.simulation.outcomes import Luck
from alice_rl.simulation.world import ROUTES, RULES, TIERS, TOOLS, Outcome, RewardShape, Situation, World

SEEDS = (1, 2, 3, 7, 11)
TURNS = 16_000

Arms = tuple[str, str, str]


def rules(turn: Situation) -> Arms:
    """What the hand-written rules choose."""
    intent = turn.context["intent"]
    tool = RULES["tool"].get(intent, RULES["tool_default"])
    tool = tool if tool in turn.tools else RULES["tool_default"]
    return RULES["route"].get(intent, RULES["route_default"]), tool, RULES["cache"]


def served(world: World, n: int, policy: Callable[[Situation], Arms]) -> Iterator[tuple[Situation, Outcome]]:
    """`n` turns of a world, served by `policy`."""
    for _ in range(n):
        turn = world.next_turn()
        outcome = world.outcome(turn, *policy(turn))
        world.record(turn, outcome)
        yield turn, outcome


class Report(NamedTuple):
    """Rules and oracle played side by side on the same turns, one row per turn."""

    by_rules: list[Outcome]
    by_oracle: list[Outcome]
    chosen_by_rules: list[Arms]
    chosen_by_oracle: list[Arms]
    guardian_states: list[str]
    surplus: np.ndarray  # (TURNS, 2): reward as it fell out less its expectation, of rules and oracle
    value: np.ndarray  # (TURNS, 3): expected reward of rules, uniform and oracle


@cache
def report(seed: int) -> Report:
    """What `TURNS` turns of a seed's world show."""
    world = World(seed)
    by_rules, by_oracle, rules_arms, oracle_arms, states, surplus, value = [], [], [], [], [], [], []
    for turn, best in served(world, TURNS, world.oracle):
        arms, best_arms = rules(turn), world.oracle(turn)
        plain = world.outcome(turn, *arms)
        by_rules.append(plain)
        by_oracle.append(best)
        rules_arms.append(arms)
        oracle_arms.append(best_arms)
        states.append(turn.context["guardian_state"])
        worth = world.value(turn, *arms), world.value(turn, *best_arms)
        surplus.append((world.reward(plain) - worth[0], world.reward(best) - worth[1]))
        value.append((worth[0], world.uniform_value(turn), worth[1]))
    return Report(by_rules, by_oracle, rules_arms, oracle_arms, states, np.array(surplus), np.array(value))


def agreement(ours: list[Arms], best: list[Arms], slot: int) -> float:
    """Share of turns on which the slot's arm is the oracle's."""
    return float(np.mean([a[slot] == b[slot] for a, b in zip(ours, best, strict=True)]))


def latency_p95(outcomes: list[Outcome]) -> float:
    """95th percentile of the latency, ms."""
    return float(np.quantile([outcome.latency_ms for outcome in outcomes], 0.95))


def hit_rate(outcomes: list[Outcome]) -> float:
    """Share of turns that were answered from cache."""
    return float(np.mean([outcome.cache_hit for outcome in outcomes]))


@pytest.mark.parametrize("seed", SEEDS)
def test_rules_stand_where_the_predecessor_stood(seed: int) -> None:
    """Under the rules tools are right on 54.7 % of turns, routes on 40 %, caches hit 10 %, p95 is 9580 ms."""
    seen = report(seed)
    assert agreement(seen.chosen_by_rules, seen.chosen_by_oracle, 1) == pytest.approx(0.547, abs=0.02)
    assert agreement(seen.chosen_by_rules, seen.chosen_by_oracle, 0) == pytest.approx(0.40, abs=0.02)
    assert hit_rate(seen.by_rules) == pytest.approx(0.10, abs=0.02)
    assert latency_p95(seen.by_rules) == pytest.approx(9580, rel=0.06)


@pytest.mark.parametrize("seed", SEEDS)
def test_oracle_leaves_room_for_a_learner_that_explores(seed: int) -> None:
    """The oracle's caches hit, its tools work and its tail is short: a floor of exploration is affordable."""
    seen = report(seed)
    latency_ms = np.array([outcome.latency_ms for outcome in seen.by_oracle])
    tool_ok = [outcome.tool_ok for outcome in seen.by_oracle if outcome.tool_ok is not None]
    assert hit_rate(seen.by_oracle) >= 0.68
    assert latency_p95(seen.by_oracle) <= 750
    assert np.mean(latency_ms > 900) <= 0.025
    assert np.mean(tool_ok) >= 0.85


@pytest.mark.parametrize("seed", SEEDS)
def test_every_route_and_tier_is_best_for_a_real_share_of_turns(seed: int) -> None:
    """Micro and planner are the bulk of the oracle's routes, deep a few per cent; each tier has its turns."""
    chosen = report(seed).chosen_by_oracle
    routes, _, tiers = (Counter(arms) for arms in zip(*chosen, strict=True))
    assert routes["micro"] > 0.3 * TURNS
    assert routes["planner"] > 0.3 * TURNS
    assert 0.03 * TURNS < routes["deep"] < 0.1 * TURNS
    assert all(tiers[tier] > 0.03 * TURNS for tier in TIERS)


@pytest.mark.parametrize("seed", SEEDS)
def test_reward_has_a_clear_order(seed: int) -> None:
    """Rules earn less than chance, and chance less than the oracle."""
    by_rules, uniform, oracle = report(seed).value.mean(axis=0)
    assert by_rules + 0.3 < uniform < 0 < 2 < oracle


@pytest.mark.parametrize("seed", SEEDS)
def test_lockdown_calls_for_the_small_model(seed: int) -> None:
    """The guardian is mostly NORMAL, its other states come in spells, in LOCKDOWN micro is always best."""
    seen = report(seed)
    share = {state: n / TURNS for state, n in Counter(seen.guardian_states).items()}
    changes = sum(a != b for a, b in zip(seen.guardian_states, seen.guardian_states[1:], strict=False))
    assert share["NORMAL"] > 0.8
    assert 0.003 < share["LOCKDOWN"] < share["BROWNOUT"]
    assert changes < 0.02 * TURNS
    routes = zip(seen.guardian_states, seen.chosen_by_oracle, strict=True)
    assert {arms[0] for state, arms in routes if state == "LOCKDOWN"} == {"micro"}


@pytest.mark.parametrize("seed", SEEDS)
def test_rewards_along_the_stream_match_their_exact_values(seed: int) -> None:
    """Over a stream, rewards differ from their exact expectation by no more than chance allows."""
    surplus = report(seed).surplus
    error = surplus.std(axis=0) / np.sqrt(TURNS)
    assert (np.abs(surplus.mean(axis=0)) < 4 * error).all()


@pytest.mark.parametrize("shape", [RewardShape(), RewardShape(1, 2, -0.002, -20, 0.1, -3, 450, 0.004)])
def test_exact_value_is_the_monte_carlo_mean(shape: RewardShape) -> None:
    """The closed form is the mean over fresh luck within its standard error, also where the clips bite."""
    world, rng, draws = World(5, reward=shape), np.random.default_rng(6), 2500
    for _ in range(6):
        turn = world.next_turn()
        luck = np.column_stack([rng.random((draws, len(Luck._fields) - 1)), rng.standard_normal(draws)])
        turns = [turn._replace(luck=Luck(*drawn)) for drawn in luck.tolist()]
        for arms in product(ROUTES, (turn.tools[-1], NO_TOOL), TIERS):
            rewards = np.array([world.reward(world.outcome(fresh, *arms)) for fresh in turns])
            error = rewards.std() / np.sqrt(draws)
            assert abs(rewards.mean() - world.value(turn, *arms)) < 4.5 * error + 1e-5, (turn.context, arms)


def test_oracle_is_the_best_of_all_choices_on_offer() -> None:
    """No choice on offer is worth more than the oracle's, and the uniform value is the mean of them all."""
    world = World(4)
    for _ in range(200):
        turn = world.next_turn()
        values = [world.value(turn, *arms) for arms in product(ROUTES, turn.tools, TIERS)]
        assert world.value(turn, *world.oracle(turn)) == max(values)
        assert world.oracle(turn)[1] in turn.tools
        assert world.uniform_value(turn) == pytest.approx(np.mean(values))


def test_value_of_a_distribution_weighs_the_arms() -> None:
    """Certain draws are worth what their arms are worth, and even draws the uniform value."""
    world = World(4)
    turn = world.next_turn()
    k = len(turn.tools)
    even = world.value_of_distribution(turn, [1 / 3] * 3, [1 / k] * k, [1 / 3] * 3)
    certain = world.value_of_distribution(turn, [0, 1, 0], [1, *[0] * (k - 1)], [0, 0, 1])
    assert even == pytest.approx(world.uniform_value(turn))
    assert certain == pytest.approx(world.value(turn, "planner", turn.tools[0], "L3"))


def test_one_seed_is_one_stream() -> None:
    """The same seed and policy give the same turns and outcomes; another seed gives others."""
    first, second, other = (list(served(World(seed), 3000, rules)) for seed in (9, 9, 10))
    assert first == second
    assert first != other


def test_counterfactuals_do_not_disturb_the_stream() -> None:
    """Whatever else is played on a turn, the stream stays; another served policy changes only `recent_*`."""
    lone, watched, other = World(9), World(9), World(9)
    for turn, outcome in served(lone, 3000, rules):
        same = watched.next_turn()
        for arms in product(ROUTES, same.tools, TIERS):
            watched.outcome(same, *arms)
        assert same == turn
        assert watched.outcome(same, *rules(same)) == outcome
        watched.record(same, outcome)
        elsewhere = other.next_turn()
        other.record(elsewhere, other.outcome(elsewhere, *other.oracle(elsewhere)))
        kept = {name: value for name, value in turn.context.items() if not name.startswith("recent")}
        assert elsewhere._replace(context=kept) == turn._replace(context=kept)
        assert kept.items() <= elsewhere.context.items()


def test_context_holds_only_what_is_known_before_the_decision() -> None:
    """A context has the wire's fields, and its `recent_*` follow what its session was served before."""
    world = World(8)
    past: dict[str, tuple[float, float]] = {}
    times = [START_MS]
    for turn, outcome in served(world, 4000, rules):
        recent = {name: value for name, value in turn.context.items() if name.startswith("recent_")}
        assert turn.context.keys() - recent.keys() == {
            "intent", "lang", "guardian_state", "text_len", "confidence"
        }  # fmt: skip
        assert 0 <= turn.context["confidence"] <= 1
        assert turn.context["text_len"] >= 1
        if turn.session_id in past:
            latency_ms, cost_usd = past[turn.session_id]
            assert recent["recent_latency_ms"] == pytest.approx(latency_ms, abs=0.06)
            assert recent["recent_cost_usd"] == pytest.approx(cost_usd, abs=1e-6)
            past[turn.session_id] = (latency_ms + outcome.latency_ms) / 2, (cost_usd + outcome.cost_usd) / 2
        else:
            assert not recent
            past[turn.session_id] = outcome.latency_ms, outcome.cost_usd
        times.append(turn.ts_ms)
    assert times == sorted(times)
    assert (times[-1] - START_MS) / 1000 == pytest.approx(4000 / 20, rel=0.1)


def test_tools_on_offer_nearly_always_hold_the_right_one() -> None:
    """Three to six tools are on offer, `none` always and the right one on 97 % of turns."""
    right = {intent.name: intent.tools.right for intent in INTENTS}
    world = World(8)
    turns = [world.next_turn() for _ in range(4000)]
    assert {len(turn.tools) for turn in turns} == {3, 4, 5, 6}
    assert all(NO_TOOL in turn.tools and set(turn.tools) <= set(TOOLS) for turn in turns)
    assert np.mean([right[turn.context["intent"]] in turn.tools for turn in turns]) > 0.95


def test_a_hit_answers_at_once_and_uses_no_tool() -> None:
    """An answer from cache is fast, nearly free and has no `tool_ok`; a miss has one if a tool was chosen."""
    world = World(8)
    for turn, outcome in served(world, 2000, lambda turn: ("planner", turn.tools[-1], "L2")):
        assert (outcome.tool_ok is None) == outcome.cache_hit
        if outcome.cache_hit:
            assert 20 <= outcome.latency_ms <= 60
            assert outcome.cost_usd < 0.001
        assert outcome.delay_ms >= int(outcome.latency_ms)
        assert world.outcome(turn, "micro", NO_TOOL, "L2").tool_ok is None


def test_drift_changes_the_oracle_from_its_turn_on() -> None:
    """Before the drift nothing differs; after it the best route or tool of the big intents does."""
    plain, drifting = World(3), World(3, drift_at_turn=1000)
    changed: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for _ in range(1000):
        assert plain.next_turn() == drifting.next_turn()
    for _ in range(4000):
        before, after = plain.next_turn(), drifting.next_turn()
        assert after.context == before.context
        seen[after.context["intent"]] += 1
        changed[after.context["intent"]] += plain.oracle(before) != drifting.oracle(after)
    for intent in ("knowledge", "weather", "home", "music", "travel"):
        assert changed[intent] > 0.6 * seen[intent], intent


def test_rules_name_arms_that_exist() -> None:
    """Every intent has a rule, and every rule names a known arm."""
    names = {intent.name for intent in INTENTS}
    assert RULES["route"].keys() == RULES["tool"].keys() == names
    assert {*RULES["route"].values(), RULES["route_default"]} <= set(ROUTES)
    assert {*RULES["tool"].values(), RULES["tool_default"]} <= set(TOOLS)
    assert RULES["cache"] in TIERS
