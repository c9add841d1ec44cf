"""Records into a shard that is held: at once, or step by step while one of them may kill us; and which are left out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from alice_rl.intake import Record, Rejected
from alice_rl.log import get_logger
from worker.checkpoint import Checkpoints, Holding

__all__ = ["feed", "pass_over"]

logger = get_logger(__name__)


async def feed(
    checkpoints: Checkpoints, partition: int, holding: Holding, records: Sequence[Record]
) -> AsyncIterator[list[Rejected]]:
    """Fold the next records of a partition, and hand out after each step those that were rejected.

    Raises
    ------
    DependencyError
        Word of the next step could not be left; it was not taken.
    """
    if holding.suspicion is None:
        yield holding.shard.feed(records)
        return
    for part in holding.suspicion.parts(records):
        await checkpoints.suspect(partition, holding, (part[0].offset, part[-1].offset + 1))
        yield holding.shard.feed(part)
    await checkpoints.suspect(partition, holding, None)


async def pass_over(
    checkpoints: Checkpoints, partition: int, holding: Holding, skipped: Iterable[tuple[int, int]]
) -> Holding:
    """Put those records on the shard's skip list that killed their readers, or that the settings name.

    Parameters
    ----------
    skipped : iterable of (int, int)
        Partitions and offsets out of the settings. What was folded already stays so.

    Returns
    -------
    Holding
        To go on with. A record that was found to kill is on the list in Redis, too: where one is, others may follow.
    """
    shard, suspicion = holding.shard, holding.suspicion
    shard.skipped.update(offset for named, offset in skipped if named == partition and offset >= shard.next)
    if suspicion is None:
        return holding
    culprit = suspicion.culprit
    if culprit is not None:
        shard.skipped.add(culprit)
        logger.error("record.skipped", partition=partition, offset=culprit, deaths=suspicion.deaths, next=shard.next)
        return await checkpoints.keep_skipped(partition, holding)
    logger.warning(
        "record.suspected",
        partition=partition,
        next=shard.next,
        first=suspicion.first,
        end=suspicion.end,
        deaths=suspicion.deaths,
    )
    return holding
