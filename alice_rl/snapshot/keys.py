"""The names of everything one policy keeps in Redis: one function per key.

The policy's name stands in literal braces, a Redis Cluster hash tag, so that all keys of a policy share one
slot and one Lua script may touch them together. Names are validated here and nowhere else: a brace or a colon
in a name would move a key to another slot, or make two names collide.

References
----------
Redis Cluster specification, "Hash tags".
"""

from __future__ import annotations

import re
from functools import lru_cache

from alice_rl.errors import ConfigError

__all__ = [
    "canary",
    "canary_points",
    "digests",
    "events",
    "head",
    "history",
    "lineage_config",
    "meta",
    "owner",
    "owner_prefix",
    "partition_field",
    "shard",
    "shard_prefix",
    "snapshot",
    "snapshot_prefix",
    "snapshots",
    "staged_shard_prefix",
    "staged_snapshot_prefix",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@lru_cache(maxsize=1024)
def _checked(kind: str, name: str) -> str:
    if not _NAME.match(name):
        raise ConfigError(
            f"{kind} name {name!r} cannot be part of a Redis key",
            hint="use 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or a digit",
        )
    return name


def _root(policy: str) -> str:
    return f"alice:{{{_checked('policy', policy)}}}"


def meta(policy: str) -> str:
    """HASH: `active_lineage`, one field `partition:<lineage>:<partition>` per known partition, and `starts:<lineage>`
    with the offsets from which a lineage was begun at the latest.

    Examples
    --------
    >>> meta("alice")
    'alice:{alice}:meta'
    """
    return f"{_root(policy)}:meta"


def lineage_config(policy: str, lineage: str) -> str:
    """STRING, changed by `upgrade` alone: the configuration's fingerprint, a space, the configuration as JSON.

    Examples
    --------
    >>> lineage_config("alice", "main")
    'alice:{alice}:lineage:main:config'
    """
    return f"{_root(policy)}:lineage:{_checked('lineage', lineage)}:config"


def owner(policy: str, lineage: str, partition: int) -> str:
    """HASH: `token`, `epoch`, `lease` and who holds them.

    Examples
    --------
    >>> owner("alice", "main", 0)
    'alice:{alice}:lineage:main:owner:0'
    """
    return f"{owner_prefix(policy, lineage)}{partition:d}"


def owner_prefix(policy: str, lineage: str) -> str:
    """What the key of every owner in a lineage starts with; a script appends a partition to it.

    Examples
    --------
    >>> owner_prefix("alice", "main")
    'alice:{alice}:lineage:main:owner:'
    """
    return f"{_root(policy)}:lineage:{_checked('lineage', lineage)}:owner:"


def shard(policy: str, lineage: str, partition: int) -> str:
    """HASH: `next`, `low`, `watermark_ms`, `tail`, then one field per bucket.

    Examples
    --------
    >>> shard("alice", "main", 0)
    'alice:{alice}:lineage:main:shard:0'
    """
    return f"{shard_prefix(policy, lineage)}{partition:d}"


def shard_prefix(policy: str, lineage: str) -> str:
    """What the key of every shard of a lineage starts with; a script appends a partition to it.

    Examples
    --------
    >>> shard_prefix("alice", "main")
    'alice:{alice}:lineage:main:shard:'
    """
    return f"{_root(policy)}:lineage:{_checked('lineage', lineage)}:shard:"


def starts_field(lineage: str) -> str:
    """Field of `meta`: where each partition of a lineage begins that is learned from the latest record on.

    Examples
    --------
    >>> starts_field("main")
    'starts:main'
    """
    return f"starts:{lineage}"


def partition_field(lineage: str, partition: int | str) -> str:
    """The field of `meta` that marks a partition as known; no partition gives what all of them start with.

    Examples
    --------
    >>> partition_field("main", 0), partition_field("main", "")
    ('partition:main:0', 'partition:main:')
    """
    return f"partition:{lineage}:{partition}"


def staged_shard_prefix(policy: str, request: str) -> str:
    """What the keys start with under which a restore prepares shards; they expire, or become shards in one step.

    Examples
    --------
    >>> staged_shard_prefix("alice", "5f0c")
    'alice:{alice}:restore:5f0c:shard:'
    """
    return f"{_root(policy)}:restore:{_checked('request', request)}:shard:"


def staged_snapshot_prefix(policy: str, request: str) -> str:
    """The same for snapshots.

    Examples
    --------
    >>> staged_snapshot_prefix("alice", "5f0c")
    'alice:{alice}:restore:5f0c:snapshot:'
    """
    return f"{_root(policy)}:restore:{_checked('request', request)}:snapshot:"


def snapshot(policy: str, version: int) -> str:
    """STRING, immutable: the bytes of one snapshot.

    Examples
    --------
    >>> snapshot("alice", 17)
    'alice:{alice}:snapshot:17'
    """
    return f"{snapshot_prefix(policy)}{version:d}"


def snapshot_prefix(policy: str) -> str:
    """What every snapshot's key starts with; the scripts append a version to it.

    Examples
    --------
    >>> snapshot_prefix("alice")
    'alice:{alice}:snapshot:'
    """
    return f"{_root(policy)}:snapshot:"


def snapshots(policy: str) -> str:
    """ZSET: version -> publish time in ms.

    Examples
    --------
    >>> snapshots("alice")
    'alice:{alice}:snapshots'
    """
    return f"{_root(policy)}:snapshots"


def digests(policy: str) -> str:
    """HASH: version -> digest, so that a promotion or a rollback need not read the snapshot's bytes.

    Examples
    --------
    >>> digests("alice")
    'alice:{alice}:digests'
    """
    return f"{_root(policy)}:digests"


def head(policy: str) -> str:
    """HASH: which version is live, which is the canary, which was before, and which is pinned.

    Examples
    --------
    >>> head("alice")
    'alice:{alice}:head'
    """
    return f"{_root(policy)}:head"


def history(policy: str) -> str:
    """STREAM: the audit of publish, promote, rollback and pin.

    Examples
    --------
    >>> history("alice")
    'alice:{alice}:history'
    """
    return f"{_root(policy)}:history"


def canary(policy: str) -> str:
    """STRING: the canary under way, or the last one, as JSON.

    Examples
    --------
    >>> canary("alice")
    'alice:{alice}:canary'
    """
    return f"{_root(policy)}:canary"


def canary_points(policy: str) -> str:
    """STREAM: the looks at canaries that told something new, each as JSON in its field `point`.

    Examples
    --------
    >>> canary_points("alice")
    'alice:{alice}:canary:points'
    """
    return f"{canary(policy)}:points"


def events(policy: str) -> str:
    """PUBSUB channel: a hint that the head changed.

    Examples
    --------
    >>> events("alice")
    'alice:{alice}:events'
    """
    return f"{_root(policy)}:events"
