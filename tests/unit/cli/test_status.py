"""`alice-rl status`: counts that add up, and a view for every state that a survey can be in."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from tests.snapshots import TOOLS, make_snapshot
from tests.unit.cli.runner import run
from worker.cli.status_view import view
from worker.cli.survey import (
    Counts,
    HeadSeen,
    LineageSeen,
    LiveSeen,
    OwnerSeen,
    PartitionSeen,
    Survey,
    arms_seen,
)
from worker.lift import Lift

EMPTY = Survey(
    now_ms=1_767_225_600_000,
    policy="alice",
    redis="redis://127.0.0.1:6379/0",
    kafka="127.0.0.1:9092",
    topic="alice.telemetry",
    kafka_problem="",
    published=False,
    head=HeadSeen(
        seq=0, live=None, live_digest="", age_seconds=None, canary=None, canary_share=0.0, previous=None, pinned=None
    ),
    lineage=LineageSeen(name="main", active=None, configured="main", fingerprint=None, matches=None),
    live=None,
    lift=None,
    watermark_ms=None,
    lag_records=0,
    counts=Counts.of({}),
    partitions=[],
)
COUNTS = {"records": 12, "episodes": 5, "duplicate": 1, "rejected": 3, "rejected.not_json": 2, "rejected.bad_p": 1}


def shown(survey: Survey) -> str:
    stream = io.StringIO()
    Console(file=stream, width=160).print(view(survey))
    return stream.getvalue()


class TestCounts:
    def test_a_shards_counts_are_read_by_name(self) -> None:
        """What a shard counts shows under the names of the catalogue, rejections by reason."""
        counts = Counts.of(COUNTS)
        assert (counts.records, counts.episodes, counts.duplicates, counts.late) == (12, 5, 1, 0)
        assert counts.rejected_by_reason == {"bad_p": 1, "not_json": 2}

    def test_they_add_up(self) -> None:
        """The total is the sum over the partitions, reason by reason."""
        total = Counts.total([Counts.of(COUNTS), Counts.of(COUNTS), Counts.of({"late": 4})])
        assert (total.records, total.late, total.rejected_by_reason) == (24, 4, {"bad_p": 2, "not_json": 4})


class TestArms:
    def test_an_arm_without_turns_is_there_without_numbers(self) -> None:
        """Every arm is listed; what is not known of it is None, not zero."""
        arms = arms_seen(make_snapshot(1), "route")
        assert [(arm.arm, arm.mean_reward) for arm in arms] == [("micro", 1.25), ("planner", None), ("deep", None)]

    def test_counts_of_the_manifest_are_taken(self) -> None:
        """Where a policy says in how many turns an arm was used, the arm shows it."""
        counts = {"episodes": 9, "tool.none": 4}
        arms = {arm.arm: arm.turns for arm in arms_seen(make_snapshot(1, counts=counts), "tool")}
        assert arms == dict.fromkeys(TOOLS) | {"none": 4}


class TestView:
    def test_before_anything_was_published_it_says_so(self) -> None:
        """An empty Redis is not an error; the view says what will happen."""
        assert "nothing published yet" in shown(EMPTY)

    def test_an_unknown_lag_gives_its_reason(self) -> None:
        """Without Kafka the lag is unknown, and why is said."""
        text = shown(msgspec.structs.replace(EMPTY, kafka_problem="Kafka is away", lag_records=None))
        assert "unknown: Kafka is away" in text

    def test_a_running_policy_is_shown(self) -> None:
        """Head, canary, pin, partitions with their holders, and arms are all there."""
        head = HeadSeen(
            seq=9, live=8, live_digest="ab" * 32, age_seconds=75.0, canary=9, canary_share=0.05, previous=7, pinned=8
        )
        held = PartitionSeen(
            partition=0,
            next=1200,
            low=900,
            end=1300,
            lag=100,
            watermark_ms=1_767_225_600_000,
            counts=Counts.of(COUNTS),
            owner=OwnerSeen("host-1", 2, 12.0),
        )
        left = msgspec.structs.replace(held, partition=1, owner=OwnerSeen("host-2", 2, -300.0))
        survey = msgspec.structs.replace(
            EMPTY,
            published=True,
            head=head,
            live=LiveSeen(version=8, arms={"route": arms_seen(make_snapshot(1), "route")}),
            lineage=LineageSeen(name="main", active="main", configured="next", fingerprint="cd" * 32, matches=False),
            partitions=[held, left],
            counts=Counts.of(COUNTS),
        )
        text = shown(survey)
        for words in (
            "version 8, abababababab, published 1 min 15 s ago, pinned to 8, previous 7",
            "version 9, 5.0% of requests",
            "NOT as configured here, configured is next",
            "host-1, lease 12.0 s",
            "nobody, host-2 until 5 min 0 s ago",
            "3 rejected (bad_p 1, not_json 2)",
            "1.250",
        ):
            assert words in text

    def test_the_lift_is_a_line(self) -> None:
        """Estimate, interval and what is held out; nothing without a hold-out, and why while it is not known."""
        lift = Lift(
            estimate=1.9,
            lower=1.7,
            upper=2.1,
            policy_reward=2.4,
            rules_reward=0.5,
            turns=20_000,
            held_out=1000,
            share=0.05,
        )
        survey = msgspec.structs.replace(EMPTY, lift=lift)
        assert "+1.90 reward per turn (+1.70 to +2.10), 5 % of 20,000 turns held out" in shown(survey)
        assert "lift" not in shown(EMPTY) and "not to be trusted" not in shown(survey)
        doubtful = msgspec.structs.replace(EMPTY, lift=msgspec.structs.replace(lift, unequal=True))
        assert "not to be trusted: outcomes of one side are missing" in shown(doubtful)
        waiting = msgspec.structs.replace(EMPTY, live=LiveSeen(version=3, holdout_share=0.125))
        assert "not known yet: 12.5 % of turns are held out" in shown(waiting)

    def test_a_refused_snapshot_gives_its_reason(self) -> None:
        """A live version that cannot be read here says why."""
        text = shown(msgspec.structs.replace(EMPTY, live=LiveSeen(version=3, refused="signed with another key")))
        assert "version 3 cannot be read: signed with another key" in text


@pytest.mark.parametrize("arguments", [(), ("--watch",)])
def test_without_redis_there_is_nothing_to_show(arguments: tuple[str, ...]) -> None:
    """A Redis that is away is exit code 3 with what to check, also before the first look of a watch."""
    away = ("--set", "redis.url=redis://127.0.0.1:1/0", "--set", "redis.retries_max=0")
    done = run("status", *arguments, *away, "--json")
    assert done.code == 3
    assert done.json["error"]["code"] == "redis_unreachable"
    assert "is Redis running" in done.stderr
