"""`alice-rl policy diff`: where two policies decide differently, on decisions out of files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from alice_rl.events import Decision, decode
from alice_rl.lineage import Arms
from alice_rl.slots import Exploration
from alice_rl.snapshot import Snapshot
from alice_rl.snapshot.format import digest, pack
from tests.logs import START_MS, decision, turns
from tests.snapshots import TOOLS, make_snapshot
from tests.unit.cli.runner import Ran, run
from worker.cli.policy_changes import changes
from worker.cli.policy_compare import compare, decide_alike


def renamed(snapshot: Snapshot, **manifest: Any) -> Snapshot:
    return replace(snapshot, manifest=msgspec.structs.replace(snapshot.manifest, **manifest))


def decisions_of(*events: dict[str, Any]) -> list[Decision]:
    decoded = [decode(msgspec.json.encode(event)) for event in events]
    return [event for event in decoded if isinstance(event, Decision)]


@pytest.fixture
def log(nowhere: Path) -> Path:
    path = nowhere / "log.jsonl"
    path.write_bytes(b"\n".join(record.value or b"" for record in turns(60, split=True)) + b"\nno event\n")
    return path


@pytest.fixture
def diff(nowhere: Path, log: Path) -> Any:
    """The command on two snapshots."""

    def told(a: Snapshot, b: Snapshot, *words: str) -> Ran:
        for name, snapshot in (("a", a), ("b", b)):
            (nowhere / name).write_bytes(pack(snapshot))
        return run("policy", "diff", "a", "b", "--file", log, *words)

    return told


class TestDiff:
    def test_policies_that_differ_are_told_apart_slot_by_slot(self, diff: Any) -> None:
        """The tables of one slot are changed: that slot differs, by intent, and the others decide alike."""
        one = make_snapshot(7)
        other = renamed(replace(one, tool_a=one.tool_b, tool_b=one.tool_a), version=8)
        told = diff(one, other, "--json").json
        assert (told["a"]["asked"], told["a"]["version"], told["b"]["digest"]) == ("a", 7, digest(pack(other)))
        assert told["equal"] is False
        assert (told["sample"]["decisions"], told["sample"]["records"], told["sample"]["rejected"]) == (60, 121, 1)
        route, tool, cache = told["slots"]
        assert route["distance_max"] == cache["distance_max"] == 0.0 and route["turns"] == 60
        assert tool["differing"] > 0 and 0 < tool["distance_mean"] <= tool["distance_max"] <= 1
        assert sum(group["differing"] for group in tool["groups"]) == tool["differing"]
        apart = [group["turns"] * group["distance_mean"] for group in tool["groups"]]
        assert apart == sorted(apart, reverse=True) and sum(apart) / 60 == pytest.approx(tool["distance_mean"])
        assert told["changes"] == [{"name": "version", "a": "7", "b": "8"}]

    def test_it_is_told_to_people(self, diff: Any) -> None:
        """One sentence, the slots, the intents that account for most of it, and what the manifests say."""
        one = make_snapshot(7)
        shown = diff(one, make_snapshot(8, weights={"success": 3.0, "cost_usd": -1.0}), "--intents", "1").stdout
        assert "The likeliest arm differs on " in shown
        assert "Where the route differs most (and 4 more: --intents 5)" in shown
        assert "weights.success" in shown and "weights.cost_usd" in shown

    def test_equal_policies_are_told_without_a_sample(self, diff: Any) -> None:
        """Equal bytes are the same policy; equal numbers under another version decide alike, whatever is asked."""
        one = make_snapshot(7)
        assert "They are the same policy." in diff(one, one).stdout
        told = diff(one, renamed(one, version=9, weights={}), "--json").json
        assert (told["equal"], told["sample"], told["slots"]) == (True, None, [])
        assert {change["name"] for change in told["changes"]} == {"version", "weights.success", "weights.latency_ms"}
        assert "They hold the same numbers" in diff(one, renamed(one, version=9)).stdout

    def test_what_differs_on_no_decision_is_told(self, diff: Any, log: Path) -> None:
        """Policies whose numbers differ where nobody asked decide alike on the sample, and only there."""
        one = make_snapshot(7)
        changed = np.array(one.tool_a)
        changed[one.manifest.intents.index("smalltalk")] *= 2
        log.write_bytes(msgspec.json.encode(decision("d", START_MS)))
        done = diff(one, replace(one, tool_a=changed))
        assert "the latest 1 decisions" in done.stdout and "no probability differs" in done.stdout

    def test_a_file_without_decisions_is_an_error(self, nowhere: Path) -> None:
        """Nothing to compare on is exit code 1, and what was read is said."""
        (nowhere / "empty").write_bytes(b"no event\n{}\n")
        for seed in (1, 2):
            (nowhere / f"{seed}.policy").write_bytes(pack(make_snapshot(seed)))
        done = run("policy", "diff", "1.policy", "2.policy", "--file", "empty", "--json")
        assert (done.code, done.json["error"]["code"]) == (1, "no_decisions")
        assert "2 records read, 2 of them no events" in done.json["error"]["message"]

    def test_what_is_no_policy_is_refused(self, nowhere: Path, log: Path) -> None:
        """A name that means nothing is a usage error; a file that is no policy is refused."""
        assert run("policy", "diff", "nowhere", "live").code == 2
        done = run("policy", "diff", log, log, "--json")
        assert (done.code, done.json["error"]["code"]) == (1, "corrupt")


class TestCompare:
    def test_the_distance_is_that_of_the_distributions(self) -> None:
        """On one turn: both policies' likeliest arms with their probabilities, among what was available."""
        one = make_snapshot(7, intents=("weather",), exploration=Exploration(tool_floor=0.0))
        a, b = np.array(one.tool_a), np.array(one.tool_b)
        a[0], b[0] = (900.0, 1.0, 1.0, 1.0), (1.0, 900.0, 900.0, 900.0)
        first, second = replace(one, tool_a=a, tool_b=b), replace(one, tool_a=b, tool_b=a)
        event = decision("d", START_MS, tool={"arm": "none", "p": 0.5, "available": ["weather.lookup", "none"]})
        _, tool, _ = compare(first, second, decisions_of(event, event | {"tool": None}))
        (group,) = tool.groups
        assert (tool.turns, tool.differing, group.name) == (1, 1, "weather")
        assert group.a is not None and group.b is not None
        assert (group.a.arm, group.b.arm) == ("weather.lookup", "none")
        assert group.a.p == group.b.p == tool.distance_mean == pytest.approx(1.0)

    def test_arms_that_one_policy_does_not_know_are_the_largest_distance(self) -> None:
        """Where one policy knows none of the available arms they differ; where neither does, nothing is counted."""
        arms = Arms(tool=(*TOOLS, "code.run"))
        event = decision("d", tool={"arm": "code.run", "p": 1.0, "available": ["code.run"]})
        _, tool, _ = compare(make_snapshot(1), make_snapshot(1, arms=arms), decisions_of(event))
        (group,) = tool.groups
        assert (group.a, group.distance_mean) == (None, 1.0)
        assert compare(make_snapshot(1), make_snapshot(2), decisions_of(event))[1].turns == 0

    def test_query_classes_group_the_cache(self) -> None:
        """The cache differs by query class where both policies have the same classes, and by intent otherwise."""
        one = make_snapshot(1, cache_class=("intent", "lang"))
        assert compare(one, make_snapshot(2, cache_class=("intent", "lang")), [])[2].groups_by == "intent, lang"
        assert compare(one, make_snapshot(2), [])[2].groups_by == "intent"

    def test_what_decides_is_compared_and_nothing_else(self) -> None:
        """Exploration makes policies decide differently, the version they are stored under does not."""
        one = make_snapshot(1)
        assert decide_alike(one, renamed(one, version=5, offsets={}, counts={}))
        assert not decide_alike(one, renamed(one, exploration=Exploration(route_floor=0.2)))
        assert not decide_alike(one, make_snapshot(2))


class TestChanges:
    def test_each_is_told_once(self) -> None:
        """Weights, exploration, arms and names that differ are told with both values; what one lacks is a dash."""
        one = make_snapshot(1).manifest
        other = msgspec.structs.replace(
            one,
            weights={"success": 2.0, "cost_usd": -3.0},
            max_share={"deep": 0.5},
            intents=("weather", "code", "music"),
            arms=Arms(route=("micro", "deep"), tool=TOOLS),
            created_at_ms=one.created_at_ms + 60_000,
        )
        told = {change.name: (change.a, change.b) for change in changes(one, other)}
        assert told.pop("as of")[1].startswith("2026-01-01 00:01:00 UTC, 200 records")
        assert told == {
            "arms.route": ("micro, planner, deep", "micro, deep"),
            "weights.latency_ms": ("-0.001", "-"),
            "weights.cost_usd": ("-", "-3"),
            "max_share.deep": ("-", "0.5"),
            "intents": ("3, alone: smalltalk", "3, alone: music"),
        }
        assert changes(one, one) == []
