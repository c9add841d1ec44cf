"""The log's latest decisions, read backwards piece by piece from the ends of its partitions, or out of archives.

How many records lie between two decisions nobody knows: outcomes stand in the same log. So each partition is read from
near its end, and further back in larger pieces, until the oldest decision that was read there is older than all that
are kept. What is kept are the newest by event time, whatever partition they are in.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from alice_rl.errors import EventError
from alice_rl.events import Decision, Turn, decode
from alice_rl.intake import Record
from alice_rl.kafka import KafkaSettings
from worker.replay.files import read_file
from worker.topic_reader import TopicReader

__all__ = ["Latest", "Sample", "latest_in_files", "latest_in_topic"]

_PIECE_RECORDS = 256  # least, of a partition at once
_RECORDS_MAX = 2_000_000  # of a topic: one that holds next to no decisions is not read to its beginning
_LINES_MAX = 1 << 62


class Sample(Struct, frozen=True, kw_only=True):
    """Decisions, the oldest first.

    Attributes
    ----------
    decisions : tuple of Decision or Turn
    records : int
        Read for it.
    rejected : int
        Of these, such that are no events.
    """

    decisions: tuple[Decision | Turn, ...]
    records: int
    rejected: int


class Latest:
    """Keeps the newest decisions by event time, each id once.

    Parameters
    ----------
    count : int

    Examples
    --------
    >>> Latest(2).cutoff_ms is None
    True
    """

    def __init__(self, count: int) -> None:
        self.records = self.rejected = 0
        self._count = count
        self._heap: list[tuple[int, str]] = []
        self._kept: dict[str, Decision | Turn] = {}

    @property
    def cutoff_ms(self) -> int | None:
        """Event time of the oldest that is kept, ms since the epoch; None while there is room for any."""
        return self._heap[0][0] if len(self._heap) == self._count else None

    def add(self, records: Iterable[Record]) -> int | None:
        """Take in some records; the event time of the oldest decision among them, None without any."""
        oldest: int | None = None
        for record in records:
            self.records += 1
            try:
                event = decode(record.value)
            except EventError:
                self.rejected += 1
                continue
            if isinstance(event, Decision | Turn):
                oldest = event.ts_ms if oldest is None else min(oldest, event.ts_ms)
                self._keep(event)
        return oldest

    def _keep(self, event: Decision | Turn) -> None:
        if event.decision_id in self._kept:
            return
        entry = event.ts_ms, event.decision_id
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, entry)
        elif entry > self._heap[0]:
            del self._kept[heapq.heapreplace(self._heap, entry)[1]]
        else:
            return
        self._kept[event.decision_id] = event

    def sample(self) -> Sample:
        """What is kept."""
        ordered = tuple(self._kept[decision_id] for _, decision_id in sorted(self._heap))
        return Sample(decisions=ordered, records=self.records, rejected=self.rejected)


def latest_in_files(paths: Iterable[Path], count: int) -> Sample:
    """The newest decisions in archives.

    Raises
    ------
    AliceError
        A file cannot be read.
    """
    latest = Latest(count)
    for path in paths:
        for lines in read_file(path, 0, _LINES_MAX):
            latest.add(lines)
    return latest.sample()


async def latest_in_topic(settings: KafkaSettings, count: int) -> Sample:
    """The newest decisions in the topic, outside any consumer group; fewer where there are no more.

    Raises
    ------
    DependencyError
        Kafka is away.
    """
    latest = Latest(count)
    async with TopicReader(settings, settings.topic) as reader:
        spans = await reader.spans()
        piece = max(_PIECE_RECORDS, 2 * count // max(len(spans), 1))
        unread = {partition: (first, end) for partition, (first, end) in spans.items() if first < end}
        while unread and latest.records < _RECORDS_MAX:
            pieces = {partition: (max(first, end - piece), end) for partition, (first, end) in unread.items()}
            oldest: dict[int, int] = {}
            async for partition, records in reader.read(pieces):
                found = latest.add(records)
                if found is not None:
                    oldest[partition] = min(found, oldest.get(partition, found))
            unread = {p: (first, pieces[p][0]) for p, (first, _) in unread.items() if first < pieces[p][0]}
            cutoff_ms = latest.cutoff_ms
            if cutoff_ms is not None:
                unread = {p: span for p, span in unread.items() if oldest.get(p, cutoff_ms) >= cutoff_ms}
            piece *= 2
    return latest.sample()
