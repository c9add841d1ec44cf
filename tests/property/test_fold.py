"""The fold is a function of the log alone."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alice_rl.clock import Clock
from alice_rl.episodes import JoinSettings, MissingOutcome
from alice_rl.feature_spec import FeatureSettings
from alice_rl.lineage import Arms, Lineage
from alice_rl.online.decay import Bucket
from alice_rl.online.trial import TrialSums
from alice_rl.shard import Shard
from alice_rl.shard_state import REJECTED_MAX, ShardState
from alice_rl.sums import Sums
from alice_rl.trials import Trial, TrialPane, Trials, pooled
from tests.logs import START_MS, TOOLS, LogRecord, decision, held_out, in_trial, outcome, parts_of, records, turn

SMALL = Lineage(
    features=FeatureSettings(feature_dim=8),
    arms=Arms(tool=TOOLS),
    # A window of ten seconds and few ids, so that short logs are full of duplicates, late, missing and unmatched
    # events.
    join=JoinSettings(horizon_seconds=10, records_max=16, missing_outcome=MissingOutcome(latency_ms=500.0)),
    bucket_seconds=20,
    names_max=2,
)

END = 60
"""Offset at which every log ends."""

TRIALS = (
    dict,  # no trial
    partial(in_trial, share=0.25, treated=True),
    partial(in_trial, share=0.25, treated=False),
    partial(in_trial, share=0.5, treated=False, p_canary=0.0),
    partial(in_trial, share=0.5, treated=True, p_canary=None),
    partial(held_out, share=0.25, treated=True),
    partial(held_out, share=0.25, treated=False),
)
"""What a decision may be part of."""

ids = st.sampled_from([f"d-{i}" for i in range(6)])
steps = st.one_of(st.integers(0, 3_000), st.integers(-15_000, 15_000), st.sampled_from([-9 * 10**10, 10**12]))


@st.composite
def logs(draw: st.DrawFn) -> list[LogRecord]:
    """A log with every kind of event and disorder, with gaps, in which time moves on most of the time."""
    values: list[dict[str, Any] | bytes | None] = []
    now = START_MS
    for _ in range(draw(st.integers(1, END))):
        step = draw(steps)
        ts = now + step
        now = ts if 0 <= step <= 15_000 else now
        kind = draw(st.sampled_from(("decision", "outcome", "turn", "decision", "outcome", "garbage", "refused")))
        context = {"intent": draw(st.sampled_from(("a", "b", "c", "d"))), "text_len": draw(st.integers(0, 99))}
        if kind == "garbage":
            values.append(draw(st.sampled_from((b"", None, b"{", b'{"type":"turn"}'))))
        elif kind == "refused":  # by those who read all of it, not by who looks at its type, id and time alone
            wrong = draw(st.sampled_from((outcome(draw(ids), ts, latency_ms=-1), turn(draw(ids), ts, route={}))))
            values.append(wrong)
        elif kind == "outcome":
            values.append(outcome(draw(ids), ts, cache_hit=draw(st.booleans()), latency_ms=draw(st.integers(0, 4000))))
        else:
            event = {"decision": decision, "turn": turn}[kind](draw(ids), ts, context=context)
            values.append(draw(st.sampled_from(TRIALS))(event))
    gaps = draw(st.sets(st.integers(0, END - 1), max_size=8))
    return [record for record in records(values) if record.offset not in gaps]


def between(log: list[LogRecord], start: int, stop: int) -> list[LogRecord]:
    """The records from one offset to before another."""
    return [record for record in log if start <= record.offset < stop]


def fold(log: list[LogRecord], cuts: list[int], lineage: Lineage = SMALL) -> Shard:
    """The shard after the log, fed in batches that end at `cuts`."""
    shard = Shard(lineage)
    for start, stop in pairwise([0, *cuts, END]):
        shard.feed(between(log, start, stop))
    return shard


def restart(shard: Shard, log: list[LogRecord], stops: list[int]) -> Shard:
    """The shard as its checkpoint gives it back, with its window read again in batches that end at `stops`."""
    state = msgspec.json.decode(msgspec.json.encode(shard.state), type=ShardState)
    restored = Shard.restore(shard.lineage, state, parts_of(shard))
    for start, stop in pairwise([state.low.offset, *stops]):
        assert restored.feed(between(log, start, stop)) == []
    return restored


def checkpoint(shard: Shard) -> bytes:
    """All that a checkpoint holds of a shard: the sums by their digests."""
    return msgspec.json.encode(shard.state)


def cut_points(data: st.DataObject) -> list[int]:
    return sorted(data.draw(st.lists(st.integers(0, END), max_size=6)))


@given(logs(), st.data())
@settings(max_examples=100)
def test_batches_may_be_cut_anywhere(log: list[LogRecord], data: st.DataObject) -> None:
    """Where a log is cut into batches changes not a byte of the checkpoint: neither sums nor counts nor marks."""
    assert checkpoint(fold(log, cut_points(data))) == checkpoint(fold(log, []))


@given(logs(), st.data(), st.sampled_from((0, 2, REJECTED_MAX)))
@settings(max_examples=200)
def test_restarts_may_happen_anywhere(log: list[LogRecord], data: st.DataObject, listed_max: int) -> None:
    """Restarts change not a byte of any checkpoint, be the rejected records listed in it or too many for that."""
    with patch("alice_rl.shard_state.REJECTED_MAX", listed_max):
        shard, done = Shard(SMALL), 0
        for position in cut_points(data):
            shard.feed(between(log, done, position))
            assert checkpoint(shard) == checkpoint(fold(between(log, 0, position), []))
            low = shard.state.low.offset
            if low < position and data.draw(st.booleans(), "dies while it rebuilds"):
                restart(shard, log, [data.draw(st.integers(low, position - 1))])
            stops = sorted(data.draw(st.lists(st.integers(low, position), max_size=3)))
            before, (shard, done) = checkpoint(shard), (restart(shard, log, [*stops, position]), position)
            assert checkpoint(shard) == before
        shard.feed(between(log, done, END))
        assert checkpoint(shard) == checkpoint(fold(log, []))


@given(logs(), st.data())
@settings(max_examples=60)
def test_a_batch_may_span_the_rebuilding(log: list[LogRecord], data: st.DataObject) -> None:
    """What is read again may come in one batch with what is new, and the new alone is rejected and counted."""
    position = data.draw(st.integers(0, END))
    shard = fold(between(log, 0, position), [])
    low, rejected = shard.state.low.offset, shard.counts["rejected"]
    restored = restart(shard, log, [data.draw(st.integers(low, position))])
    found = restored.feed(between(log, low, END))
    assert checkpoint(restored) == checkpoint(fold(log, []))
    assert all(one.offset >= position for one in found)
    assert restored.counts["rejected"] == rejected + len(found)


@given(logs())
@settings(max_examples=60)
def test_buckets_survive_their_bytes(log: list[LogRecord]) -> None:
    """Sums read back from their canonical bytes write the same bytes again."""
    shard = fold(log, [])
    for sums in shard.buckets.values():
        assert Sums.from_bytes(SMALL, sums.to_bytes()).to_bytes() == sums.to_bytes()
    for pane in shard.trials.values():
        assert TrialPane.from_bytes(pane.to_bytes()).to_bytes() == pane.to_bytes()


@given(logs(), st.data())
@settings(max_examples=100)
def test_closed_panes_never_change(log: list[LogRecord], data: st.DataObject) -> None:
    """What counts for a verdict at an offset is all that the log will ever tell of the panes closed there."""
    position = data.draw(st.integers(0, END))
    then, ever = fold(between(log, 0, position), []), Trials(SMALL)
    whole, span_ms = Shard(SMALL), ever.span_ms(Bucket(0, 0))
    whole.watch = lambda episodes: ever.take([e for e in episodes if closes_ms(e[1], span_ms) <= then.high_ms])
    whole.feed(log)
    ever.settle(then.high_ms)
    assert sealed(ever.closed()) == sealed(then.trials.closed())


def closes_ms(ts_ms: int, span_ms: int) -> int:
    """When the outcomes of all that was decided in the pane of `ts_ms` have been awaited."""
    return (ts_ms // span_ms + 1) * span_ms + SMALL.join.horizon_seconds * 1000


def sealed(trials: dict[Trial, TrialSums]) -> dict[Trial, bytes]:
    """The bytes of trials."""
    return {trial: sums.to_bytes() for trial, sums in trials.items()}


@given(st.lists(logs(), min_size=2, max_size=4), st.randoms())
@settings(max_examples=40)
def test_shards_merge_in_any_order(parts: list[list[LogRecord]], rng: Any) -> None:
    """The total of several shards does not depend on the order in which they are added."""
    totals = []
    for _ in range(2):
        rng.shuffle(parts)
        total = Sums(SMALL)
        for log in parts:
            for sums in fold(log, []).buckets.values():
                total = total + sums
        tried = pooled([pane.sums for log in parts for pane in fold(log, []).trials.values()])
        totals.append((total.to_bytes(), sealed(tried)))
    assert totals[0] == totals[1]


@given(st.lists(steps, min_size=1, max_size=60), st.data())
@settings(max_examples=150)
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
