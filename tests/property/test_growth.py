"""A lineage that is extended on the way: the fold is a function of the log and of where that happened."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alice_rl.lineage import Lineage
from alice_rl.refold import Refold
from alice_rl.shard import Shard
from alice_rl.shard_state import Growth, ShardState
from alice_rl.sums import Sums
from tests.logs import LogRecord, parts_of
from tests.property.test_fold import END, SMALL, between, cut_points, logs

NARROW = SMALL.with_numerics(1)


def stored(shard: Shard) -> tuple[bytes, dict[str, bytes]]:
    """A checkpoint: state and parts in bytes."""
    return msgspec.json.encode(shard.state), parts_of(shard)


def restored(shard: Shard, log: list[LogRecord], position: int, lineage: Lineage) -> Shard:
    """The shard of a checkpoint at `position` under a lineage, with its window read again."""
    state, parts = stored(shard)
    made = Shard.restore(lineage, msgspec.json.decode(state, type=ShardState), parts)
    made.feed(between(log, made.position, position))
    return made


def same(one: Shard, other: Shard) -> bool:
    """Whether two shards would write the same sums, under the same history; where they re-read from follows batches."""
    states = [msgspec.structs.replace(shard.state, counts={}, low=None) for shard in (one, other)]
    return states[0] == states[1] and stored(one)[1] == stored(other)[1]


@given(logs(), st.data())
@settings(max_examples=150)
def test_growing_is_restoring_with_zeros(log: list[LogRecord], data: st.DataObject) -> None:
    """Grown in place, or restored from a checkpoint of before: the same bytes, also with open decisions across it."""
    at = data.draw(st.integers(0, END))
    in_place = Shard(NARROW)
    in_place.feed(between(log, 0, at))
    padded = restored(in_place, log, at, SMALL)
    in_place.grow(SMALL)
    assert same(padded, in_place)
    assert padded.buckets.changed == in_place.buckets.changed == set(padded.buckets)
    in_place.feed(between(log, at, END))
    padded.feed(between(log, at, END))
    assert same(padded, in_place)


@given(logs(), st.data())
@settings(max_examples=150)
def test_a_fold_is_its_log_and_its_structures(log: list[LogRecord], data: st.DataObject) -> None:
    """However often it is restarted and extended, an unbroken fold with the same structures has the same bytes."""
    shard, done, numerics = Shard(NARROW), 0, 1
    for position in cut_points(data):
        shard.feed(between(log, done, position))
        numerics = data.draw(st.integers(numerics, 4))
        shard, done = restored(shard, log, position, SMALL.with_numerics(numerics)), position
    shard.feed(between(log, done, END))
    refold = Refold.of(SMALL, shard.state)
    cuts = cut_points(data)
    for start, stop in pairwise([0, *cuts, END]):
        refold.feed(between(log, start, stop))
    assert same(shard, refold.shard)
    offsets = [growth.offset for growth in shard.grown]
    assert offsets == sorted(set(offsets))


@given(logs(), st.data())
@settings(max_examples=60)
def test_what_was_learned_before_stays(log: list[LogRecord], data: st.DataObject) -> None:
    """Growing appends zeros to the route's sums and leaves the tallies alone; in two steps it is the same as in one."""
    shard = Shard(NARROW)
    shard.feed(log)
    d = NARROW.features.dim
    for sums in shard.buckets.values():
        grown, by_steps = (Sums.from_bytes(NARROW, sums.to_bytes()) for _ in range(2))
        grown.grow(SMALL)
        by_steps.grow(SMALL.with_numerics(data.draw(st.integers(1, 4))))
        by_steps.grow(SMALL)
        assert by_steps.to_bytes() == grown.to_bytes()
        assert np.array_equal(grown.route.G[:, :d, :d], sums.route.G)
        assert np.array_equal(grown.route.B[:, :d], sums.route.B)
        assert np.array_equal(grown.route.n, sums.route.n) and np.array_equal(grown.route.Y, sums.route.Y)
        assert not grown.route.G[:, d:].any() and not grown.route.G[:, :, d:].any() and not grown.route.B[:, d:].any()
        assert grown.route.G.shape[1] == grown.route.B.shape[1] == SMALL.features.dim
        for slot in ("tool", "cache"):
            (names, rows), (before, as_before) = getattr(grown, slot).sorted(), getattr(sums, slot).sorted()
            assert names == before and np.array_equal(rows, as_before)


@given(logs())
@settings(max_examples=30)
def test_a_fold_that_is_extended_at_its_start_is_one_of_the_new_structure(log: list[LogRecord]) -> None:
    """A structure under which nothing was folded leaves no trace."""
    shard, whole = Shard(NARROW), Shard(SMALL)
    shard.grow(SMALL)
    shard.feed(log)
    whole.feed(log)
    assert shard.grown == [Growth(0, 4)]
    assert same(shard, whole)
