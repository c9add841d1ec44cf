"""How far a lineage has come on a partition, and what time it is at the end of its log."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from alice_rl.clock import CONFIRMATIONS, Clock, ClockState
from alice_rl.errors import EventError
from alice_rl.events import decode
from worker.checkpoint import read_state
from worker.cli.inspector import Inspector
from worker.settings import Settings
from worker.topic_reader import TopicReader

__all__ = ["Reach", "reach_of"]

_TAIL_RECORDS = 8 * CONFIRMATIONS  # enough for the clock to cross a silence, even between a few bad records


class Reach(NamedTuple):
    """A lineage on a partition.

    Attributes
    ----------
    begun : int
        The offset at which the lineage began: what stands from here up to `next`, it has read.
    next : int
        The offset after the last record that was folded.
    now_ms : int
        The log's own clock after its last record.
    """

    begun: int
    next: int
    now_ms: int


async def reach_of(
    settings: Settings, inspector: Inspector, log: TopicReader, partition: int, span: tuple[int, int]
) -> Reach | None:
    """Where the configured lineage stands, its clock moved on by the log's last records; None without a checkpoint."""
    record = await inspector.shard_position(settings.policy.lineage, partition)
    if record is None:
        return None
    first, end = span
    horizon_ms = settings.join.horizon_seconds * 1000
    clock = Clock(horizon_ms)
    if record.watermark_ms:
        clock = Clock(horizon_ms, ClockState(now_ms=record.watermark_ms, high_ms=record.watermark_ms))
    times: list[int] = []
    async for _, records in log.read({partition: (max(first, record.next, end - _TAIL_RECORDS), end)}):
        times += [ts for ts in (_time(one.value) for one in records) if ts is not None]
    clock.read(np.array(times, dtype=np.int64))
    return Reach(read_state(record).start, record.next, clock.state.now_ms or 0)


def _time(value: bytes | None) -> int | None:
    try:
        return decode(value).ts_ms
    except EventError:
        return None
