"""The additive sums of a bucket: their bytes, and the digest of these."""

from __future__ import annotations

import hashlib

from alice_rl.shard import Shard
from alice_rl.sums import Sums, digest
from tests.logs import LINEAGE, turns


def learned(count: int = 20, seed: int = 1) -> Sums:
    """The sums of a random log."""
    shard = Shard(LINEAGE)
    shard.feed(turns(count, seed))
    return sum(shard.buckets.values(), start=Sums(LINEAGE))


def test_sealed_sums_are_their_bytes_and_the_digest_of_them() -> None:
    """What a checkpoint writes is what its digest was taken of, also when that is known already."""
    sums = learned()
    for _ in range(2):
        data, value = sums.sealed()
        assert data == sums.to_bytes()
        assert value == hashlib.sha256(data).hexdigest() == sums.digest()


def test_the_digest_is_told_anew_after_a_change() -> None:
    """Sums that were added to have another digest than before, and so they have without being asked in between."""
    sums, other = learned(seed=1), learned(seed=2)
    before = sums.digest()
    sums.route = sums.route + other.route
    sums.changed()
    assert sums.digest() != before
    assert sums.digest() == hashlib.sha256(sums.to_bytes()).hexdigest()


def test_a_feed_forgets_the_digests_that_it_changes() -> None:
    """A shard that was asked in between ends with the digests of one that was not."""
    asked, log = Shard(LINEAGE), turns(60)
    for at in range(0, 60, 10):
        asked.feed(log[at : at + 10])
        asked.buckets.digests()
    assert asked.buckets.digests() == {
        str(b): hashlib.sha256(s.to_bytes()).hexdigest() for b, s in asked.buckets.items()
    }


def test_a_digest_of_digests_depends_on_names_and_values() -> None:
    """The order in which they are given does not matter; a name, a value and an empty list do."""
    parts = {"0:1": "aa", "0:2": "bb"}
    assert digest(parts) == digest({"0:2": "bb", "0:1": "aa"})
    others = [{"0:1": "bb", "0:2": "aa"}, {"0:1": "aa"}, {}, {"0:1": "aa", "0:3": "bb"}]
    assert len({digest(other) for other in [parts, *others]}) == 5


def test_the_sum_of_sums_is_theirs() -> None:
    """Adding changes neither of both, and their digests stay."""
    one, other = learned(seed=1), learned(seed=2)
    digests = one.digest(), other.digest()
    assert (one + other).to_bytes() == (other + one).to_bytes()
    assert (one.digest(), other.digest()) == digests
    assert hashlib.sha256(one.to_bytes()).hexdigest() == digests[0]
