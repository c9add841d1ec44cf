"""The fold: joins, rejections and what is learned, through the one entrance that the worker uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from alice_rl.episodes import JoinSettings, MissingOutcome
from alice_rl.errors import DependencyError
from alice_rl.events import Context, Event, EventDecoder, decode
from alice_rl.features import Featuriser, query_class
from alice_rl.lineage import Arms, Lineage
from alice_rl.shard import Shard
from alice_rl.shard_state import REJECTED_MAX, RejectedOffsets, ShardState
from alice_rl.sums import Sums
from tests.logs import LINEAGE, START_MS, TOOLS, decision, outcome, records, turn, turns

MINUTE = 60_000


def fold(values: Sequence[dict[str, Any] | bytes | None], lineage: Lineage = LINEAGE) -> Shard:
    """A shard that has read the events."""
    shard = Shard(lineage)
    shard.feed(records(values))
    return shard


def restored(shard: Shard, **changes: Any) -> Shard:
    """The shard as its checkpoint gives it back, its joiner not rebuilt yet; `changes` are to the state."""
    written = msgspec.to_builtins(shard.state) | changes
    state = msgspec.json.decode(msgspec.json.encode(written), type=ShardState)
    return Shard.restore(shard.lineage, state, {str(b): s.to_bytes() for b, s in shard.buckets.items()})


def total(shard: Shard) -> Sums:
    """All that a shard has learned, whatever the bucket."""
    return sum(shard.buckets.values(), start=Sums(shard.lineage))


def learned(shard: Shard) -> int:
    """Episodes that taught the route."""
    return int(total(shard).route.n.sum())


def test_halves_and_whole_turns_teach_the_same() -> None:
    """A log of decisions and outcomes ends in the same bytes as one of whole turns."""
    whole, halves = Shard(LINEAGE), Shard(LINEAGE)
    whole.feed(turns(300, seed=3))
    halves.feed(turns(300, seed=3, split=True))
    assert whole.digest() == halves.digest()


def test_outcome_may_come_first() -> None:
    """The order of a decision and its outcome does not matter."""
    assert fold([outcome("d"), decision("d")]).digest() == fold([decision("d"), outcome("d")]).digest()


def test_duplicates_are_dropped_and_counted() -> None:
    """Sending anything twice teaches nothing twice."""
    shard = fold([decision("d"), decision("d"), outcome("d"), outcome("d", success=False), decision("d"), turn("d")])
    assert learned(shard) == 1
    assert total(shard).route.B[0, 0, 0] == 256  # the first outcome's success
    assert shard.counts["duplicate"] == 5  # the whole turn repeats both halves


def test_first_outcome_wins() -> None:
    """Of several outcomes for one decision the first counts."""
    shard = fold([decision("d"), outcome("d", latency_ms=100.0), outcome("d", latency_ms=900.0)])
    assert total(shard).route.B[0, 0, 2] == 256 * 400


def test_missing_outcomes_are_dropped_and_counted() -> None:
    """A decision whose outcome never came teaches nothing, and is counted once its window has passed."""
    later = [turn(f"t-{i}", START_MS + i * MINUTE) for i in range(1, 12)]
    shard = fold([decision("d"), *later])
    assert shard.counts["missing"] == 1
    assert learned(shard) == 11


def test_missing_outcomes_can_be_scored() -> None:
    """With a configured outcome, a decision without one counts as that."""
    lineage = Lineage(arms=LINEAGE.arms, join=JoinSettings(missing_outcome=MissingOutcome(latency_ms=250.0)))
    later = [turn(f"t-{i}", START_MS + i * MINUTE) for i in range(1, 12)]
    assert learned(fold([decision("d"), *later], lineage)) == 12


def test_unmatched_and_late_are_counted() -> None:
    """An outcome without a decision is unmatched once its window has passed; what is older than the horizon is late."""
    later = [turn(f"t-{i}", START_MS + i * MINUTE) for i in range(12)]
    shard = fold([outcome("nobody", START_MS), *later, turn("old", START_MS)])
    assert (shard.counts["unmatched"], shard.counts["late"]) == (1, 1)


def test_a_flood_shortens_the_window() -> None:
    """The window never holds more than its bound; reaching it is counted."""
    lineage = Lineage(arms=LINEAGE.arms, join=JoinSettings(records_max=16))
    shard = fold([decision(f"d-{i}") for i in range(40)], lineage)
    assert shard.open_episodes == 16
    assert shard.counts["shortened"] == 24


def test_good_records_beside_bad_ones_are_learned() -> None:
    """Garbage is returned with its offset and reason, and disturbs nothing."""
    shard = Shard(LINEAGE)
    bad = [b"garbage", turn("a", route={"arm": "micro", "available": ["micro"]}), None]
    unknown = turn("b", route={"arm": "mikro", "p": 1.0, "available": ["mikro"]})
    elsewhere = turn("c", tool={"arm": "search", "p": 1.0, "available": ["none"]})
    rejected = shard.feed(records([turn("1"), *bad, turn("2"), unknown, elsewhere, turn("3")]))
    assert [(r.offset, r.reason) for r in rejected] == [
        (1, "malformed_json"),
        (2, "propensity_missing"),
        (3, "empty"),
        (5, "unknown_arm"),
        (6, "arm_unavailable"),
    ]
    assert "did you mean 'micro'?" in rejected[3].detail
    assert learned(shard) == 3
    assert shard.counts["rejected"] == 5
    clean = fold([turn("1"), turn("2"), turn("3")])
    assert shard.digest() == clean.digest()


def test_fallback_decisions_teach_without_a_propensity() -> None:
    """The rules' turns have no p, and teach the regression all the same."""
    ruled = turn("d", policy={"stage": "fallback"}, route={"arm": "deep", "available": ["deep"]}, tool=None, cache=None)
    assert total(fold([ruled])).route.n.tolist() == [0, 0, 1]


def test_first_clock_is_held_against_the_broker() -> None:
    """A log that begins with a timestamp of 2099 does not make its good records late."""
    shard = fold([turn("bad", 4_070_908_800_000), turn("good", START_MS + 1000)])
    assert learned(shard) == 2
    assert shard.counts["late"] == 0


def test_moments_are_the_sums_of_the_episodes() -> None:
    """G, B, Y and n are what adding up the written-out rows gives."""
    log = turns(200, seed=5)
    shard = Shard(LINEAGE)
    shard.feed(log)
    products, n = np.zeros((3, 73, 73), dtype=np.int64), np.zeros(3, dtype=np.int64)
    featuriser = Featuriser(LINEAGE.features)
    for record in log:
        event = msgspec.json.decode(record.value)  # type: ignore[arg-type]
        if not event["outcome"]["cache_hit"]:
            arm = LINEAGE.arms.route.index(event["route"]["arm"])
            x = (featuriser.x(Context(**event["context"])) * 256).astype(np.int64)
            products[arm] += np.outer(x, x)
            n[arm] += 1
    assert np.array_equal(total(shard).route.G, products)
    assert np.array_equal(total(shard).route.n, n)


def test_cache_hits_teach_the_cache_alone() -> None:
    """A turn that the cache answered ran neither route nor tool, unless the lineage says that it teaches all."""
    hit = turn("d") | {"outcome": turn("d")["outcome"] | {"cache_hit": True}}
    sums = total(fold([hit]))
    assert (sums.route.n.sum(), sums.tool.names, sums.cache.names) == (0, (), ("weather",))
    assert learned(fold([hit], Lineage(arms=LINEAGE.arms, hits_teach_all=True))) == 1


@pytest.mark.parametrize(
    ("tool_ok", "success", "expected"), [(True, False, [1, 0]), (False, True, [0, 1]), (None, True, [1, 0])]
)
def test_a_turn_without_a_tool_is_judged_by_its_success(
    tool_ok: bool | None, success: bool, expected: list[int]
) -> None:
    """`tool_ok` absent is not a failure: the turn's success stands for it."""
    ended = turn("d")["outcome"] | {"tool_ok": tool_ok, "success": success}
    row = total(fold([turn("d", outcome=ended)])).tool.sums[0, TOOLS.index("weather.lookup")]
    assert row.tolist() == expected


def test_names_beyond_the_bound_share_a_row() -> None:
    """An intent too many teaches the shared row."""
    lineage = Lineage(arms=Arms(tool=TOOLS), names_max=2)
    shard = fold([turn(f"d-{i}", context={"intent": intent}) for i, intent in enumerate("abcda")], lineage)
    assert sorted(total(shard).tool.names) == ["*", "a", "b"]


def test_old_buckets_merge_and_keep_their_sums() -> None:
    """A month of turns is held in few buckets, with nothing lost."""
    log = [turn(f"d-{i}", START_MS + i * 9 * MINUTE) for i in range(5000)]
    shard = fold(log)
    assert learned(shard) == 5000
    assert len(shard.buckets) < 45


def test_a_batch_read_again_is_skipped() -> None:
    """Records before the position were read already."""
    log = turns(50)
    shard = Shard(LINEAGE)
    shard.feed(log)
    once = shard.digest()
    assert shard.feed(log) == []
    assert shard.digest() == once


def test_query_classes_are_made_of_the_named_fields() -> None:
    """A class joins its fields; an absent one is empty."""
    assert query_class(Context(intent="väder"), ("intent", "lang")) == "väder|"


def test_another_log_is_refused() -> None:
    """A checkpoint goes on with the log it was made from, and no other."""
    shard = Shard(LINEAGE)
    shard.feed(turns(50, seed=1))
    again = restored(shard)
    with pytest.raises(DependencyError, match="made anew"):
        again.feed(turns(80, seed=2))


def test_a_fold_may_begin_anywhere() -> None:
    """Where it began, and out of which file, is kept by every checkpoint; what lies before is not read."""
    log = turns(50)
    shard = Shard(LINEAGE, source="2025.jsonl")
    shard.begin(20)
    assert (shard.start, shard.next, shard.position, shard.state.low.offset) == (20, 20, 20, 20)
    shard.feed(log)
    assert (shard.counts["episodes"], shard.counts["records"]) == (30, 30)
    again = restored(shard)
    assert (again.start, again.source, again.next) == (20, "2025.jsonl", 50)
    again.feed(log)
    assert again.state == shard.state


def test_a_fold_that_has_begun_cannot_begin_elsewhere() -> None:
    """To begin is for a shard that has read nothing."""
    shard = fold([turn("d")])
    with pytest.raises(AssertionError):
        shard.begin(5)


def test_skipped_records_are_passed_over() -> None:
    """They are counted as rejected and teach nothing, now and after a restart."""
    log = turns(50)
    shard = Shard(LINEAGE)
    shard.skipped.update({10, 60})
    rejected = shard.feed(log)
    assert [(one.offset, one.reason) for one in rejected] == [(10, "killed_worker")]
    assert (shard.counts["episodes"], shard.counts["rejected.killed_worker"]) == (49, 1)
    more = [*log, *records([turn(f"m-{i}", START_MS + 60_000) for i in range(20)], 50)]
    again = restored(shard)
    assert again.state.skipped == [10, 60]
    assert [one.offset for one in again.feed(more)] == [60]
    shard.feed(more)
    assert again.digest() == shard.digest()


def test_the_state_names_the_digest_of_every_bucket() -> None:
    """Whoever reads a checkpoint can tell which buckets changed, and whether they are whole."""
    shard = Shard(LINEAGE)
    shard.feed(turns(50, step_ms=10 * MINUTE))
    assert len(shard.buckets) > 2
    assert shard.state.digests == shard.buckets.digests() == restored(shard).buckets.digests()
    before = shard.buckets.digests()
    shard.feed(records([turn("d", shard.watermark_ms)], 50))
    changed = {name for name, value in shard.buckets.digests().items() if before.get(name) != value}
    assert len(changed) == 1


def test_the_last_record_is_recognised_when_it_is_read_again() -> None:
    """The same record passes, alone or among others; another one in its place is another log."""
    log = turns(50)
    shard = Shard(LINEAGE)
    shard.feed(log)
    once = shard.digest()
    assert shard.feed(log[49:]) == shard.feed(log[30:]) == []
    assert shard.digest() == once
    for other in (records([turn("x")], 49), [log[49]._replace(timestamp=1)]):
        with pytest.raises(DependencyError, match="made anew") as caught:
            shard.feed(other)
        assert caught.value.code == "log_recreated"


def test_records_before_the_last_one_are_not_recognised() -> None:
    """Compaction and transactions take records away: only the last one that was folded is held against the log."""
    shard = Shard(LINEAGE)
    shard.feed(turns(50))
    assert shard.feed(records([turn("x")], 48)) == []
    assert shard.next == 50


def test_halves_open_across_a_restart_are_joined() -> None:
    """A decision and an outcome that each waited for the other half when the worker died both make an episode."""
    log = records([decision("a"), outcome("b"), turn("c"), outcome("a"), decision("b")])
    before = Shard(LINEAGE)
    before.feed(log[:3])
    after = restored(before)
    after.feed(log)
    assert learned(after) == 3
    assert after.digest() == fold([decision("a"), outcome("b"), turn("c"), outcome("a"), decision("b")]).digest()


def test_a_decision_missing_its_outcome_is_scored_after_a_restart() -> None:
    """The configured outcome is given to a decision that a restart has only looked at, too."""
    lineage = Lineage(arms=LINEAGE.arms, join=JoinSettings(missing_outcome=MissingOutcome(latency_ms=250.0)))
    later = [turn(f"t-{i}", START_MS + i * MINUTE) for i in range(1, 12)]
    log = records([decision("d"), *later])
    before = Shard(lineage)
    before.feed(log[:5])
    after = restored(before)
    after.feed(log)
    assert (learned(after), after.counts["missing"]) == (12, 1)


@pytest.mark.parametrize("listed", [True, False])
def test_what_was_rejected_stays_so_when_it_is_read_again(listed: bool) -> None:
    """A refused decision takes no outcome after a restart, whether or not the checkpoint lists what was refused."""
    log = [decision("d", route={"arm": "micro", "available": ["micro"]}), turn("t"), outcome("d")]
    before = fold(log[:2])
    assert before.state.rejected == [0]
    after = restored(before) if listed else restored(before, rejected=None)
    assert after.feed(records(log)) == []
    assert learned(after) == 1
    assert after.state == fold(log).state


def test_rejected_offsets_are_listed_up_to_a_bound() -> None:
    """Too many to list are not known, until the window has moved past enough of them."""
    rejected = RejectedOffsets()
    rejected.add(range(2 * REJECTED_MAX))
    assert rejected.since(0) is None
    assert rejected.since(REJECTED_MAX - 1) is None
    assert rejected.since(REJECTED_MAX) == list(range(REJECTED_MAX, 2 * REJECTED_MAX))


def test_what_is_read_again_is_not_read_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebuilding decodes but the halves that are still open."""
    log = [turn("a"), decision("b"), outcome("b"), decision("c"), outcome("x")]
    before, read = fold(log), list[bytes | None]()

    def counted(value: bytes | None, by: EventDecoder) -> Event:
        read.append(value)
        return decode(value, by)

    monkeypatch.setattr("alice_rl.intake.decode", counted)
    new = [*log, turn("new")]
    restored(before).feed(records(new))
    assert read == [record.value for record in records(new)[3:]]
