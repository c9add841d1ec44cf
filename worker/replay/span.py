"""One span of a log, folded into its lineage: claimed, checkpointed as it goes, and gone on with after a kill."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from msgspec import Struct

from alice_rl.errors import AliceError
from alice_rl.intake import Record
from alice_rl.snapshot.records import Applied
from alice_rl.snapshot.store import Store
from worker.checkpoint import Checkpoints, Holding
from worker.folding import feed, pass_over
from worker.replay.files import read_file
from worker.replay.parallel import Progress
from worker.replay.plan import Span
from worker.settings import Settings, instance_name
from worker.topic_reader import TopicReader

__all__ = ["Replayed", "claimed", "fold_span", "records_of", "written"]

_CHECKPOINT_SECONDS = 2.0  # a kill costs the work of so long


class Replayed(Struct, frozen=True):
    """What became of a span.

    Attributes
    ----------
    partition : int
    source : str
        The archive; empty for the topic.
    next : int
        Where the lineage has got to.
    records : int
        Records that this run has folded.
    counts : dict of str to int
        What became of all records of this partition so far.
    digest : str
        Of the partition's sums.
    """

    partition: int
    source: str
    next: int
    records: int
    counts: dict[str, int]
    digest: str


def fold_span(settings: Settings, span: Span, progress: Progress) -> Replayed:
    """Fold a span into the lineage of the settings, from where its checkpoint stands.

    Raises
    ------
    AliceError
        The log cannot be read on, Redis is away, or somebody else took the partition over.
    """
    return asyncio.run(_fold_span(settings, span, progress))


async def _fold_span(settings: Settings, span: Span, progress: Progress) -> Replayed:
    store = Store.from_settings(settings.redis, settings.policy.name)
    checkpoints = Checkpoints(
        store, settings.lineage, settings.policy.lineage, f"replay-{instance_name()}", settings.worker.lease_seconds
    )
    try:
        holding = await claimed(checkpoints, settings, span)
        shard, before = holding.shard, Counter(holding.shard.counts)
        clock = asyncio.get_running_loop().time
        due = clock() + _CHECKPOINT_SECONDS
        async for records in records_of(settings, span, shard.position):
            async for _ in feed(checkpoints, span.partition, holding, records):
                pass  # what is rejected is counted; the live worker's dead letters have it already
            progress(max(shard.next - span.first, 0))
            if clock() >= due and not shard.rebuilding:
                holding = await written(checkpoints, span.partition, holding)
                due = clock() + _CHECKPOINT_SECONDS
        if not shard.rebuilding:
            await written(checkpoints, span.partition, holding)
        progress(span.end - span.first)
        read = shard.counts["records"] - before["records"]
        return Replayed(span.partition, span.source, shard.next, read, dict(shard.counts), shard.digest())
    finally:
        await store.close()


async def claimed(checkpoints: Checkpoints, settings: Settings, span: Span) -> Holding:
    """The span's partition with what it has learned, ready to be fed from its position on.

    Raises
    ------
    AliceError
        Another claim was quicker.
    """
    holding = await checkpoints.claim(span.partition, epoch=0, source=span.source)
    if holding is None:
        raise _taken(checkpoints, span.partition)
    if holding.stored_next is None:
        holding.shard.begin(span.first)
    return await pass_over(checkpoints, span.partition, holding, settings.worker.skipped)


async def written(checkpoints: Checkpoints, partition: int, holding: Holding) -> Holding:
    """The holding after a checkpoint.

    Raises
    ------
    AliceError
        Redis would not take it: somebody else holds the partition by now.
    """
    applied = await checkpoints.write(partition, holding)
    if applied is Applied.LINEAGE:
        raise AliceError(
            f"lineage {checkpoints.name!r} is declared with another configuration by now",
            code="lineage_refused",
            hint="choose another --lineage",
        )
    if not applied.done:
        raise _taken(checkpoints, partition)
    return holding.stored(asyncio.get_running_loop().time())


def _taken(checkpoints: Checkpoints, partition: int) -> AliceError:
    return AliceError(
        f"partition {partition} of lineage {checkpoints.name!r} was taken over by another worker or replay",
        code="fenced",
        hint="only one may fold a lineage at a time: stop the other, then run the same command again",
    )


async def records_of(settings: Settings, span: Span, position: int) -> AsyncIterator[Sequence[Record]]:
    """The records of a span from a position on, in order, batch by batch.

    Raises
    ------
    AliceError
        They cannot be read.
    """
    if span.path:
        for lines in read_file(Path(span.path), position, span.end):
            yield lines
            await asyncio.sleep(0)  # lets what was sent to Redis go out
        return
    async with TopicReader(settings.kafka, settings.kafka.topic) as reader:
        async for _, records in reader.read({span.partition: (position, span.end)}):
            yield records
