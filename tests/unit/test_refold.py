"""The unbroken fold of a checkpoint's log."""

from __future__ import annotations

from alice_rl.clock import ClockState
from alice_rl.refold import Refold
from alice_rl.shard import Shard
from alice_rl.shard_state import Growth, Mark, ShardState
from tests.logs import LINEAGE, turns

NARROW = LINEAGE.with_numerics(2)


def test_it_begins_where_the_fold_began_and_skips_what_that_skipped() -> None:
    """Start, structures and skipped records are those of the checkpoint."""
    shard = Shard(NARROW, Mark(10, ClockState()))
    shard.skipped.add(15)
    log = turns(40)
    shard.feed(log[10:30])
    shard.grow(LINEAGE)
    shard.feed(log[30:])
    refold = Refold.of(LINEAGE, shard.state)
    assert (refold.shard.next, refold.shard.lineage) == (10, NARROW)
    refold.feed(log[10:])
    assert refold.shard.grown == shard.grown == [Growth(10, 2), Growth(30, 4)]
    assert refold.shard.digest() == shard.digest()
    assert refold.shard.counts == shard.counts


def test_it_has_grown_when_it_reaches_the_offset() -> None:
    """A fold that was extended where the log ends so far is extended there, too."""
    log = turns(20)
    shard = Shard(NARROW)
    shard.feed(log)
    shard.grow(LINEAGE)
    refold = Refold.of(LINEAGE, shard.state)
    refold.feed(log[:20])
    assert refold.shard.digest() == shard.digest()


def test_a_checkpoint_without_a_history_was_always_as_now() -> None:
    """State that names no structures is of the lineage's own."""
    shard = Shard(LINEAGE)
    shard.feed(turns(20))
    state = shard.state
    older = ShardState(**{name: getattr(state, name) for name in state.__struct_fields__ if name != "grown"})
    refold = Refold.of(LINEAGE, older)
    refold.feed(turns(20))
    assert refold.shard.digest() == shard.digest()
    restored = Shard.restore(LINEAGE, older, {str(b): s.to_bytes() for b, s in shard.buckets.items()})
    assert restored.grown == [Growth(0, 4)]
    assert not restored.buckets.changed
