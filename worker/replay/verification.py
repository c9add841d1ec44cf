"""A whole lineage compared with its log: every checkpoint, and the live policy at its own offsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from alice_rl.errors import AliceError, ConfigError
from alice_rl.shard_state import ShardState
from alice_rl.snapshot.format import digest as blob_digest
from alice_rl.snapshot.format import unpack
from alice_rl.snapshot.manifest import Manifest
from alice_rl.snapshot.records import ShardRecord
from alice_rl.snapshot.store import Store
from alice_rl.sums import digest
from worker.checkpoint import read_state
from worker.replay.parallel import in_processes
from worker.replay.verdict import Verdict, verify_partition
from worker.settings import Settings
from worker.topic_reader import TopicReader

__all__ = ["SnapshotVerdict", "Standing", "begins", "compare_snapshot", "read_standing", "verify_partitions"]


class SnapshotVerdict(Struct, frozen=True):
    """How the live policy compares: `equal` is None when it was not compared, and `words` say why."""

    version: int | None
    equal: bool | None
    words: str


class Standing(NamedTuple):
    """The checkpoints of a lineage, the live policy when it can be compared with them, and what is to be said of it."""

    states: Mapping[int, ShardState]
    live: Manifest | None
    snapshot: SnapshotVerdict

    def of(self, partition: int) -> Standing:
        """The same of one partition alone.

        Raises
        ------
        ConfigError
            It is not known.
        """
        if partition not in self.states:
            known = ", ".join(map(str, self.states))
            raise ConfigError(f"partition {partition} has no checkpoint", hint=f"those that have one: {known}")
        return self._replace(states={partition: self.states[partition]})


async def read_standing(store: Store, settings: Settings) -> Standing:
    """The head first, then the checkpoints: what is live was solved from sums that these continue.

    Raises
    ------
    AliceError
        The lineage has no checkpoints, or has lost one.
    ConfigError
        It was learned with another configuration: folding its log with this one would say nothing.
    """
    name = settings.policy.lineage
    declared = await store.lineage_config(name)
    if declared is not None and declared[0] != settings.lineage.fingerprint:
        raise ConfigError(
            f"lineage {name!r} was learned with another configuration than this one",
            code="lineage_mismatch",
            hint="give the --config that it is learned with; alice-rl config check names what differs",
        )
    head = await store.read_head()
    blob = None if head.live is None else await store.get_snapshot(head.live)
    records = {p: await store.shard_position(name, p) for p in sorted(await store.known_partitions(name))}
    states = {p: read_state(record) for p, record in records.items() if record is not None}
    if not records:
        raise AliceError(
            f"lineage {name!r} has no checkpoints",
            code="nothing_learned",
            hint="alice-rl status shows which lineage is active; name it with --set policy.lineage=...",
        )
    if lost := [str(p) for p in records if p not in states]:
        raise AliceError(
            f"NOT equal: the checkpoint of partition {', '.join(lost)} in lineage {name!r} is gone from Redis",
            code="checkpoint_lost",
            hint="alice-rl savepoint restore, or learn the log anew under another lineage",
        )
    if blob is None:
        words = "No policy is live." if head.live is None else "The bytes of the live policy are gone from Redis."
        return Standing(states, None, SnapshotVerdict(head.live, None if head.live is None else False, words))
    if blob_digest(blob) != head.live_digest:
        words = f"Version {head.live} is live, and its bytes in Redis are NOT those that were published."
        return Standing(states, None, SnapshotVerdict(head.live, False, words))
    live = unpack(blob, settings.snapshot.signing_key.encode() or None).manifest
    if live.lineage != name:
        words = f"Version {live.version} is live, and not compared: it is of lineage {live.lineage!r}."
        return Standing(states, None, SnapshotVerdict(live.version, None, words))
    if live.lineage_fingerprint != settings.lineage.fingerprint:
        words = f"Version {live.version} is live, and not compared: it is of before the lineage was extended."
        return Standing(states, None, SnapshotVerdict(live.version, None, words))
    return Standing(states, live, SnapshotVerdict(live.version, None, ""))


async def begins(settings: Settings, standing: Standing, since: Mapping[int, ShardRecord]) -> dict[int, int]:
    """The offset from which each partition is to be read, of those that the topic or an archive still has.

    Raises
    ------
    AliceError
        Retention has passed it.
    """
    firsts = {p: since[p].low if p in since else state.start for p, state in standing.states.items()}
    async with TopicReader(settings.kafka, settings.kafka.topic) as reader:
        held = await reader.spans()
    for partition, first in firsts.items():
        something = first < standing.states[partition].next
        if something and partition in held and held[partition][0] > first:
            raise AliceError(
                f"partition {partition} is to be read from offset {first}, but the topic begins at "
                f"{held[partition][0]} by now",
                code="log_truncated",
                hint="begin with a savepoint: alice-rl verify --since FILE",
            )
    return firsts


def verify_partitions(
    settings: Settings,
    standing: Standing,
    sources: Sequence[Path],
    since: Mapping[int, ShardRecord],
    jobs: int,
    show: Callable[[int], object],
) -> tuple[list[Verdict], list[str]]:
    """The verdicts on the partitions, and the names of the archives that were not given.

    Parameters
    ----------
    settings : Settings
    standing : Standing
    sources : sequence of Path
        The archives.
    since : mapping of int to ShardRecord
        Earlier checkpoints to begin with.
    jobs : int
        Processes at work.
    show : callable
        Told how many records were read.

    Raises
    ------
    AliceError
        A log cannot be folded again.
    """
    paths = {path.name: str(path) for path in sources}
    states = standing.states
    missing = sorted(state.source for state in states.values() if state.source and state.source not in paths)
    offsets = {} if standing.live is None else standing.live.offsets
    work = [
        (settings, p, paths.get(state.source, ""), offsets.get(p), since.get(p))
        for p, state in states.items()
        if state.source not in missing
    ]
    return in_processes(verify_partition, work, jobs, show), missing


def compare_snapshot(standing: Standing, verdicts: Sequence[Verdict]) -> SnapshotVerdict:
    """Whether the live policy was solved from what the log says at its offsets."""
    live = standing.live
    if live is None:
        return standing.snapshot
    digests = {verdict.partition: verdict.as_of_digest for verdict in verdicts if verdict.as_of_digest}
    if not live.offsets.keys() <= digests.keys():
        words = f"Version {live.version} is live, and not compared: that needs every partition, up to its offsets."
        return SnapshotVerdict(live.version, None, words)
    equal = digest({str(p): digests[p] for p in live.offsets}) == live.moments_digest
    words = "was solved from exactly" if equal else "was NOT solved from"
    return SnapshotVerdict(
        live.version, equal, f"Version {live.version} is live, and {words} what the log says at its offsets."
    )
