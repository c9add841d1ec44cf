"""Dead letters as the topic holds them: one rejected record each, and markers that say which were sent again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Self

from msgspec import Struct

from alice_rl.errors import AliceError, ConfigError, DependencyError
from alice_rl.kafka import KafkaSettings
from worker.dead_letters import RETRIED
from worker.topic_reader import Spans, TopicReader

__all__ = ["Letter", "Remembered", "Wanted", "find_letter", "letters", "reading", "whole_of"]

Note = Callable[[int, int], object]
"""Is told how many offsets were read, and of how many."""


class Letter(Struct, frozen=True, kw_only=True):
    """A record of the dead-letter topic.

    Attributes
    ----------
    topic, partition, offset
        Where the rejected record stands.
    reason : str
        As it was given: one of `alice_rl.events.REASONS`, or any other; of a marker, that of the letter it marks.
    at_ms : int
        When it was set aside, ms since the epoch; of a marker, when its letter was.
    marked_ms : int or None
        When it was sent again: this is a marker, and no letter.
    lineage : str
        The lineage that could not learn it; "" where none is named.
    key, timestamp_ms
        Of the rejected record.
    truncated : bool
        Whether `value` or `key` is less than the record had.
    """

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    at_ms: int
    marked_ms: int | None = None
    lineage: str = ""
    key: bytes | None = None
    timestamp_ms: int | None = None
    truncated: bool = False
    value: bytes | None = None

    @property
    def id(self) -> str:
        """What a person calls it by: `topic:partition:offset`."""
        return f"{self.topic}:{self.partition}:{self.offset}"

    @classmethod
    def of(cls, record: Any) -> Self | None:
        """The letter in a record; None for a record that is none, since anyone may write to a topic."""
        headers = {name: value or b"" for name, value in record.headers}
        text = {name: value.decode(errors="replace") for name, value in headers.items()}
        try:
            is_marker = text["reason"] == RETRIED
            return cls(
                topic=text["topic"],
                partition=int(text["partition"]),
                offset=int(text["offset"]),
                reason=text["was"] if is_marker else text["reason"],
                detail=text.get("detail", ""),
                at_ms=int(text["at"]) if is_marker else record.timestamp,
                marked_ms=record.timestamp if is_marker else None,
                lineage=text.get("lineage", ""),
                key=headers.get("key"),
                timestamp_ms=int(text["timestamp"]) if "timestamp" in text else None,
                truncated="truncated" in text,
                value=record.value,
            )
        except (KeyError, ValueError):
            return None

    def marker(self, detail: str) -> tuple[bytes, list[tuple[str, bytes]]]:
        """Key and headers of a record that marks this letter as sent again; its value is to be empty, not absent.

        A record without a value is a tombstone, with which compaction would take the letter and its marker away.
        """
        headers = {
            "topic": self.topic,
            "partition": str(self.partition),
            "offset": str(self.offset),
            "reason": RETRIED,
            "detail": detail,
            "was": self.reason,
            "at": str(self.at_ms),
        }
        return self.id.encode(), [(name, text.encode()) for name, text in headers.items()]


class Wanted(Struct, frozen=True, kw_only=True):
    """Which letters, and their markers, are asked for; all of them when nothing is said."""

    ids: frozenset[str] = frozenset()
    reason: str | None = None
    partition: int | None = None
    since_ms: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is among them."""
        return (
            (not self.ids or letter.id in self.ids)
            and (self.reason is None or letter.reason == self.reason)
            and (self.partition is None or letter.partition == self.partition)
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
        )


class Remembered:
    """The last `ids_max` different ids: a worker that was killed before its checkpoint sets records aside again.

    Examples
    --------
    >>> seen = Remembered(2)
    >>> [seen.add(name) for name in "aabcba"]
    [True, False, True, True, False, True]
    """

    def __init__(self, ids_max: int = 65_536) -> None:
        self._ids: dict[str, None] = {}
        self._ids_max = ids_max

    def add(self, letter_id: str) -> bool:
        """Remember an id; False when it was remembered already."""
        if letter_id in self._ids:
            return False
        self._ids[letter_id] = None
        if len(self._ids) > self._ids_max:
            del self._ids[next(iter(self._ids))]
        return True


@asynccontextmanager
async def reading(settings: KafkaSettings) -> AsyncIterator[tuple[TopicReader, Spans]]:
    """A reader of the dead-letter topic, and what it holds now.

    Raises
    ------
    ConfigError
        None is configured.
    DependencyError
        It does not exist, or Kafka does not answer.
    """
    topic = settings.dead_letter_topic
    if not topic:
        raise ConfigError(
            "kafka.dead_letter_topic is empty: rejected records are counted and logged, not kept",
            hint="name a topic, create it, and restart the worker",
        )
    async with TopicReader(settings, topic) as reader:
        spans = await reader.spans()
        if not spans:
            raise DependencyError(
                f"topic {topic!r} does not exist on {settings.bootstrap_servers}, or may not be seen",
                code="topic_missing",
                hint=f"kafka-topics.sh --create --topic {topic} --partitions 1 --bootstrap-server ...",
            )
        yield reader, spans


async def letters(reader: TopicReader, spans: Spans, wanted: Wanted, note: Note) -> AsyncIterator[Letter]:
    """The letters and markers that are asked for; a marker after its letter, which shares its key and so its partition.

    Records that are no letters are passed over.
    """
    total = sum(end - first for first, end in spans.values())
    left = {partition: end - first for partition, (first, end) in spans.items()}
    async for partition, records in reader.read(spans):
        for letter in _parsed(records):
            if wanted.takes(letter):
                yield letter
        left[partition] = spans[partition][1] - records[-1].offset - 1
        note(total - sum(left.values()), total)


def _parsed(records: Iterable[Any]) -> Iterable[Letter]:
    return (letter for letter in map(Letter.of, records) if letter is not None)


async def find_letter(settings: KafkaSettings, letter_id: str, note: Note) -> tuple[Letter, int | None]:
    """A letter by its id, and when it was last sent again.

    Raises
    ------
    AliceError
        There is none, or not any more.
    """
    found, marked_ms = None, None
    async with reading(settings) as (reader, spans):
        async for letter in letters(reader, spans, Wanted(ids=frozenset({letter_id})), note):
            if letter.marked_ms is None:
                found = letter
            else:
                marked_ms = letter.marked_ms
    if found is None:
        raise AliceError(
            f"there is no dead letter {letter_id}",
            code="letter_missing",
            hint="alice-rl deadletters list shows what is there; retention may have taken it",
        )
    return found, marked_ms


async def whole_of(letter: Letter, log: TopicReader, spans: Spans) -> Any | None:
    """The record that a truncated letter was cut from; None when the log does not hold it any more.

    Parameters
    ----------
    log : TopicReader
        Of the topic that the letter names.
    spans : Spans
        What that topic holds.
    """
    first, end = spans.get(letter.partition, (0, 0))
    if not first <= letter.offset < end:
        return None
    async for _, (record, *_rest) in log.read({letter.partition: (letter.offset, letter.offset + 1)}):
        is_same = (record.value or b"").startswith(letter.value or b"")
        is_same &= letter.timestamp_ms in (None, record.timestamp)
        return record if is_same else None  # another record: the topic was made anew
    return None
