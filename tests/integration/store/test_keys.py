"""Names of keys, and what every script says of itself."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from alice_rl.errors import ConfigError
from alice_rl.snapshot import keys, scripts


def test_all_keys_of_a_policy_share_a_cluster_slot() -> None:
    """Every key of a policy hashes to one slot, so that a script may touch them together."""
    plain = [
        keys.meta,
        keys.snapshots,
        keys.digests,
        keys.head,
        keys.history,
        keys.events,
        keys.snapshot_prefix,
    ]
    names = [name("p") for name in plain]
    names += [keys.lineage_config("p", "l"), keys.owner("p", "l", 3), keys.shard("p", "l", 3)]
    names += [keys.snapshot("p", 9)]
    assert len({key_slot(name.encode()) for name in names}) == 1


@pytest.mark.parametrize("name", ["", "a}b", "a:b", "a b", "{a}", "x" * 65, "a\n"])
def test_a_name_that_would_break_a_key_is_refused(name: str) -> None:
    """Braces, colons, spaces and endless names are refused before they reach Redis."""
    with pytest.raises(ConfigError):
        keys.head(name)
    with pytest.raises(ConfigError):
        keys.shard("alice", name, 0)


def test_every_script_says_what_it_takes_and_answers() -> None:
    """Each script starts with its name and documents KEYS, replies and why."""
    for name in scripts.NAMES:
        header = scripts.source(name)
        assert header.startswith(f"-- {name}: ")
        assert all(word in header for word in ("-- KEYS", "-- Reply", "-- Why: "))
    with pytest.raises(ValueError, match="no script named"):
        scripts.source("eval")
