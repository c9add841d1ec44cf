"""The traffic of a chaos run."""

from __future__ import annotations

from itertools import islice

from alice_rl.shard import Shard
from tests.chaos.traffic import messages
from tests.logs import LINEAGE, records
from tests.streams import key_of


def test_seed_fixes_the_traffic() -> None:
    """One seed is one log, and another seed another one."""
    first, again, other = (list(islice(messages(seed), 2000)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_traffic_brings_all_that_a_log_may_bring() -> None:
    """Whole and split turns, duplicates, garbage and wrong clocks are in it, and most of it teaches."""
    shard = Shard(LINEAGE)
    shard.feed(records(message.value for message in islice(messages(3), 20_000)))
    assert shard.counts["episodes"] > 10_000
    for kind in ("duplicate", "rejected", "clamped", "late", "missing"):
        assert shard.counts[kind] > 0, kind
    assert len({name for name in shard.counts if name.startswith("rejected.")}) >= 5


def test_decision_and_outcome_share_a_key() -> None:
    """The key is the decision's id, so that both halves of a turn reach one partition."""
    events = [message for message in islice(messages(4), 2000) if key_of(message.value) not in (b"", b"g")]
    assert len(events) > 1800
    assert all(message.key == key_of(message.value) for message in events)
