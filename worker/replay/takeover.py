"""A lineage takes the place of the live one: it catches up, and becomes active together with its first snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from alice_rl.errors import AliceError, ConfigError
from alice_rl.snapshot.format import digest, pack
from alice_rl.snapshot.head import Head
from alice_rl.snapshot.records import Applied, Publication, Published
from alice_rl.snapshot.store import Store
from worker.checkpoint import Checkpoints, Holding
from worker.peers import Peers
from worker.replay.plan import Span
from worker.replay.span import claimed, written
from worker.settings import Settings, instance_name
from worker.solver import Taught, solve_policy
from worker.topic_reader import TopicReader

__all__ = ["Takeover", "take_over"]

_PAUSE_SECONDS = 0.05  # between two rounds, for the brokers' and the workers' sake


class Takeover(Struct, frozen=True):
    """What a takeover did.

    Attributes
    ----------
    lineage, replaced : str
        The active lineage, and the one before; equal when it was active already.
    version : int
        The live version.
    rounds : int
        How often it had to catch up before it was level.
    records : int
        Records that it folded meanwhile.
    offsets : dict of int to int
        As-of offsets of its first snapshot.
    """

    lineage: str
    replaced: str
    version: int | None
    rounds: int
    records: int
    offsets: dict[int, int]


async def take_over(
    store: Store, settings: Settings, *, who: str, why: str, timeout_seconds: float, show: Callable[[int], object]
) -> Takeover:
    """Make the lineage of the settings the active one.

    Parameters
    ----------
    store : Store
    settings : Settings
        With the lineage's own configuration.
    who, why : str
        Whose wish it is, and the reason, for the audit.
    timeout_seconds : float
        How long to try to be level with what is live.
    show : callable
        Told every now and then how many records are still to be folded.

    Raises
    ------
    ConfigError
        The lineage is not declared, or not with this configuration.
    AliceError
        It lacks partitions, does not catch up in time, or a version is pinned.
    DependencyError
        Kafka or Redis is away.
    """
    name, replaced = settings.policy.lineage, await _replaced(store, settings)
    head = await store.read_head()
    if replaced == name:
        return Takeover(name, name, head.live, 0, 0, head.offsets)
    await _check_partitions(store, name, head)
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    async with TopicReader(settings.kafka, settings.kafka.topic) as reader:
        chaser, rounds = _Chaser(store, settings, reader), 0
        candidate = _Candidate(store, settings, replaced, who, why)
        while True:
            rounds += 1
            await chaser.catch_up(show)
            published, offsets = await candidate.offer()
            if published.applied.done:
                return Takeover(name, replaced, published.version, rounds, chaser.records, offsets)
            if published.applied not in (Applied.CAS, Applied.OFFSETS):
                raise _refused(name, published)
            if asyncio.get_running_loop().time() > deadline:
                raise AliceError(
                    f"lineage {name!r} is not level with the live one after {timeout_seconds:g} s: "
                    f"partition {published.note or '?'} is behind",
                    code="not_caught_up",
                    hint="give it more time with --timeout, or run alice-rl replay first",
                )
            await asyncio.sleep(_PAUSE_SECONDS)


async def _replaced(store: Store, settings: Settings) -> str:
    """The lineage that is active now."""
    name = settings.policy.lineage
    declared, active = await store.lineage_config(name), await store.active_lineage()
    if declared is None:
        raise ConfigError(
            f"lineage {name!r} is not known", hint=f"learn it first: alice-rl replay --lineage {name} --from earliest"
        )
    if declared[0] != settings.lineage.fingerprint:
        raise ConfigError(
            f"lineage {name!r} was declared with another configuration than this one",
            code="lineage_mismatch",
            hint="give the --config that it was replayed with",
        )
    if active is None:
        raise ConfigError("no lineage is active", hint="start alice-rl worker: an empty Redis needs no promotion")
    return active


async def _check_partitions(store: Store, name: str, head: Head) -> None:
    missing = sorted(head.offsets.keys() - await store.known_partitions(name))
    if missing:
        raise AliceError(
            f"lineage {name!r} has not learned partition {', '.join(map(str, missing))}, which the live policy knows",
            code="partitions_missing",
            hint=f"alice-rl replay --lineage {name}, with --source for an archive",
        )


class _Chaser:
    """Folds what is left of the topic into the lineage, in this process; or waits where a worker does that already."""

    def __init__(self, store: Store, settings: Settings, reader: TopicReader) -> None:
        self.records = 0
        self._store = store
        self._settings = settings
        self._reader = reader
        self._checkpoints = Checkpoints(
            store,
            settings.lineage,
            settings.policy.lineage,
            f"takeover-{instance_name()}",
            settings.worker.lease_seconds,
        )
        self._holdings: dict[int, Holding] = {}

    async def catch_up(self, show: Callable[[int], object]) -> None:
        """Bring every partition to the present end of its log, with a checkpoint."""
        held = await self._reader.spans()
        for partition, (first, end) in held.items():
            if partition not in self._holdings and not await self._held_by_another(partition):
                span = Span(partition, first, end)
                self._holdings[partition] = await claimed(self._checkpoints, self._settings, span)
        shards = {partition: holding.shard for partition, holding in self._holdings.items()}
        left = sum(max(0, held[partition][1] - shard.next) for partition, shard in shards.items())
        show(left)
        spans = {partition: (shard.position, held[partition][1]) for partition, shard in shards.items()}
        async for partition, records in self._reader.read(spans):
            before = shards[partition].next
            shards[partition].feed(records)
            self.records += sum(record.offset >= before for record in records)
            left -= shards[partition].next - before
            show(left)
        for partition, holding in self._holdings.items():
            if holding.shard.next != holding.stored_next and not holding.shard.rebuilding:
                self._holdings[partition] = await written(self._checkpoints, partition, holding)

    async def _held_by_another(self, partition: int) -> bool:
        """Whether a worker of this lineage holds the partition: it will be level by itself."""
        owner = await self._store.owner(self._settings.policy.lineage, partition)
        if owner is None or owner.worker.startswith(("replay-", "takeover-")):
            return False
        return owner.lease_until_ms > (await self._store.read_head()).now_ms


class _Candidate:
    """The lineage's first policy: that of all its checkpoints, wherever they have got to."""

    def __init__(self, store: Store, settings: Settings, replaced: str, who: str, why: str) -> None:
        self._store = store
        self._settings = settings
        self._replaced = replaced
        self._who, self._why = who, why
        self._peers = Peers(store, settings.lineage, settings.policy.lineage)

    async def offer(self) -> tuple[Published, dict[int, int]]:
        """Solve it and offer it to Redis; its answer, and the as-of offsets."""
        taught = await self._taught()
        offsets = {partition: part.next for partition, part in taught.items()}
        head = await self._store.read_head()
        snapshot = solve_policy(taught, self._settings, version=head.seq + 1)
        blob = pack(snapshot, self._settings.snapshot.signing_key.encode() or None)
        publication = Publication(
            expected_seq=head.seq,
            lineage=self._settings.policy.lineage,
            offsets=offsets,
            digest=digest(blob),
            blob=blob,
            takes_over_from=self._replaced,
            who=self._who,
            why=self._why,
        )
        return await self._store.publish(publication), offsets

    async def _taught(self) -> dict[int, Taught]:
        """What each partition has taught; read again only where it moved since the last offer."""
        name, taught = self._settings.policy.lineage, dict[int, Taught]()
        for partition in sorted(await self._store.known_partitions(name)):
            part = await self._peers.read(partition)
            if part is None:
                raise AliceError(
                    f"the checkpoint of partition {partition} in lineage {name!r} is gone or damaged",
                    code="checkpoint_corrupt",
                    hint=f"alice-rl verify --set policy.lineage={name} says more; replay it under another name",
                )
            taught[partition] = part
        return taught


def _refused(name: str, published: Published) -> AliceError:
    if published.applied is Applied.PINNED:
        return AliceError(
            f"version {published.note} is pinned, so lineage {name!r} cannot take its place",
            code="pinned",
            hint="lift the pin first, with --unpin",
        )
    return AliceError(
        f"another lineage became active meanwhile: {published.note}", code="takeover_refused", hint="alice-rl status"
    )
