"""The fold is a function of the log alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alice_rl.clock import Clock
from alice_rl.episodes import JoinSettings, MissingOutcome
from alice_rl.feature_spec import FeatureSettings
from alice_rl.lineage import Arms, Lineage
from alice_rl.shard import Shard
from alice_rl.sums import Sums
from tests.logs import START_MS, TOOLS, LogRecord, decision, outcome, records, turn

SMALL = Lineage(
    features=FeatureSettings(feature_dim=8),
    arms=Arms(tool=TOOLS),
    # A window of ten seconds and few ids, so that short logs are full of duplicates, late, missing and unmatched
    # events.
    join=JoinSettings(horizon_seconds=10, records_max=16, missing_outcome=MissingOutcome(latency_ms=500.0)),
    bucket_seconds=20,
    names_max=2,
)

ids = st.sampled_from([f"d-{i}" for i in range(6)])
steps = st.one_of(st.integers(0, 3_000), st.integers(-15_000, 15_000), st.sampled_from([-9 * 10**10, 10**12]))


@st.composite
def logs(draw: st.DrawFn) -> list[LogRecord]:
    """A log with every kind of event and disorder, in which time moves on most of the time."""
    values: list[dict[str, Any] | bytes | None] = []
    now = START_MS
    for _ in range(draw(st.integers(1, 60))):
        step = draw(steps)
        ts = now + step
        now = ts if 0 <= step <= 15_000 else now
        kind = draw(st.sampled_from(("decision", "outcome", "turn", "decision", "outcome", "garbage")))
        context = {"intent": draw(st.sampled_from(("a", "b", "c", "d"))), "text_len": draw(st.integers(0, 99))}
        if kind == "garbage":
            values.append(draw(st.sampled_from((b"", None, b"{", b'{"type":"turn"}'))))
        elif kind == "outcome":
            values.append(outcome(draw(ids), ts, cache_hit=draw(st.booleans()), latency_ms=draw(st.integers(0, 4000))))
        else:
            values.append({"decision": decision, "turn": turn}[kind](draw(ids), ts, context=context))
    return records(values)


def fold(log: list[LogRecord], cuts: list[int], lineage: Lineage = SMALL) -> Shard:
    """The shard after the log, fed in batches that end at `cuts`."""
    shard = Shard(lineage)
    for start, stop in zip([0, *cuts], [*cuts, len(log)], strict=True):
        shard.feed(log[start:stop])
    return shard


def restart(shard: Shard, log: list[LogRecord], position: int) -> Shard:
    """The shard as a checkpoint at `position` gives it back, with its window read again."""
    buckets = {str(bucket): sums.to_bytes() for bucket, sums in shard.buckets.items()}
    restored = Shard.restore(shard.lineage, shard.state, buckets)
    restored.feed(log[shard.state.low.offset : position])
    return restored


def cut_points(data: st.DataObject, log: list[LogRecord]) -> list[int]:
    return sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=6)))


@given(logs(), st.data())
@settings(deadline=None, max_examples=150)
def test_batches_may_be_cut_anywhere(log: list[LogRecord], data: st.DataObject) -> None:
    """Where a log is cut into batches changes neither a byte of the sums nor a count."""
    whole, cut = fold(log, []), fold(log, cut_points(data, log))
    assert cut.digest() == whole.digest()
    assert cut.counts == whole.counts


@given(logs(), st.data())
@settings(deadline=None, max_examples=300)
def test_restarts_may_happen_anywhere(log: list[LogRecord], data: st.DataObject) -> None:
    """Restarting from checkpoints, with the joiner rebuilt from the log, changes no byte."""
    shard, done = Shard(SMALL), 0
    for position in cut_points(data, log):
        shard.feed(log[done:position])
        shard, done = restart(shard, log, position), position
    shard.feed(log[done:])
    assert shard.digest() == fold(log, []).digest()


@given(logs())
@settings(deadline=None, max_examples=60)
def test_buckets_survive_their_bytes(log: list[LogRecord]) -> None:
    """Sums read back from their canonical bytes write the same bytes again."""
    for sums in fold(log, []).buckets.values():
        assert Sums.from_bytes(SMALL, sums.to_bytes()).to_bytes() == sums.to_bytes()


@given(st.lists(logs(), min_size=2, max_size=4), st.randoms())
@settings(deadline=None, max_examples=40)
def test_shards_merge_in_any_order(parts: list[list[LogRecord]], rng: Any) -> None:
    """The total of several shards does not depend on the order in which they are added."""
    totals = []
    for _ in range(2):
        rng.shuffle(parts)
        total = Sums(SMALL)
        for log in parts:
            for sums in fold(log, []).buckets.values():
                total = total + sums
        totals.append(total.to_bytes())
    assert totals[0] == totals[1]


@given(st.lists(steps, min_size=1, max_size=60), st.data())
@settings(deadline=None, max_examples=150)
def test_clock_reads_the_same_in_any_batches(moves: list[int], data: st.DataObject) -> None:
    """The log's clock tells the same time however the log is cut."""
    times = np.maximum(np.cumsum(np.array(moves, dtype=np.int64)) + START_MS, 1)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(times)), max_size=5)))
    whole, pieces = Clock(10_000), Clock(10_000)
    expected = whole.read(times)
    parts = [pieces.read(part) for part in np.split(times, cuts)]
    assert np.array_equal(expected.times, np.concatenate([p.times for p in parts]))
    assert np.array_equal(expected.late, np.concatenate([p.late for p in parts]))
    assert pieces.state == whole.state
