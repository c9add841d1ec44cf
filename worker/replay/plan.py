"""What a replay reads: spans of the topic or of archives, resolved to offsets before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct, structs

from alice_rl.errors import ConfigError, DependencyError
from alice_rl.snapshot.shards import ShardStore
from worker.checkpoint import read_state
from worker.replay.bounds import Bound
from worker.replay.files import archive_partition, survey
from worker.settings import Settings
from worker.topic_reader import TopicReader

__all__ = ["Span", "plan_files", "plan_topic", "resume"]


class Span(Struct, frozen=True):
    """A stretch of one log.

    Attributes
    ----------
    partition : int
        The partition of the topic, or the archive's number.
    first, end : int
        Offsets `[first, end)`.
    path : str
        The archive; empty for the topic.
    done : int
        Where the lineage has got to already; `first` when it has not begun.
    held : int
        The first offset that the log still holds.
    """

    partition: int
    first: int
    end: int
    path: str = ""
    done: int = 0
    held: int = 0

    @property
    def left(self) -> int:
        """Offsets that are still to be read."""
        return max(0, self.end - max(self.first, self.done))

    @property
    def source(self) -> str:
        """The archive's name, as checkpoints keep it; empty for the topic."""
        return Path(self.path).name


async def plan_topic(settings: Settings, start: Bound, stop: Bound) -> list[Span]:
    """The spans of the telemetry topic between two bounds, one per partition.

    Raises
    ------
    DependencyError
        Kafka is away, or the topic does not exist.
    ConfigError
        Nothing lies between the bounds.
    """
    async with TopicReader(settings.kafka, settings.kafka.topic) as reader:
        held = await reader.spans()
        if not held:
            raise DependencyError(
                f"topic {settings.kafka.topic!r} does not exist on {settings.kafka.bootstrap_servers}",
                code="topic_missing",
                hint="check kafka.topic; alice-rl doctor says more",
            )
        firsts, ends = await _resolve(reader, start, held), await _resolve(reader, stop, held)
    spans = []
    for partition, (held_first, held_end) in held.items():
        asked = firsts.get(partition, held_first if start.time_ms is None else held_end)
        first = min(max(held_first, asked), held_end)
        # What ends before it begins is empty where it begins: a lineage may go on from there.
        end = max(first, min(held_end, ends.get(partition, held_end)))
        spans.append(Span(partition, first, end, held=held_first))
    return _checked(spans, start, stop)


async def _resolve(reader: TopicReader, bound: Bound, held: dict[int, tuple[int, int]]) -> dict[int, int]:
    """The offset of a bound per partition; those that it does not limit are left out."""
    if bound.offset is not None:
        return dict.fromkeys(held, bound.offset)
    return await reader.at_time(bound.time_ms, held) if bound.time_ms is not None else {}


def plan_files(paths: Sequence[Path], start: Bound, stop: Bound) -> list[Span]:
    """The spans of archives between two bounds.

    Raises
    ------
    ConfigError
        Two archives have one name, or nothing lies between the bounds.
    AliceError
        One cannot be read.
    """
    by_partition: dict[int, Path] = {}
    for path in paths:
        other = by_partition.setdefault(archive_partition(path), path)
        if other is not path:
            raise ConfigError(
                f"{path} and {other} cannot be told apart by their names", hint="rename one of them for good"
            )
    spans = [Span(partition, *survey(path, start, stop), str(path)) for partition, path in by_partition.items()]
    return _checked(spans, start, stop)


def _checked(spans: list[Span], start: Bound, stop: Bound) -> list[Span]:
    if not any(span.first < span.end for span in spans):
        raise ConfigError(
            f"there is nothing between {start.text} and {stop.text}",
            hint="the log begins later or ends earlier; alice-rl replay --dry-run shows what it holds",
        )
    return spans


async def resume(store: ShardStore, lineage: str, spans: Sequence[Span], start: Bound) -> list[Span]:
    """The spans with how far the lineage has got in them.

    Raises
    ------
    ConfigError
        The lineage was begun at another place than is asked for now, or an archive is another one.
    """
    return [await _resumed(store, lineage, span, start) for span in spans]


async def _resumed(store: ShardStore, lineage: str, span: Span, start: Bound) -> Span:
    record = await store.shard_position(lineage, span.partition)
    if record is None:
        return structs.replace(span, done=span.first)
    state = read_state(record)
    if state.source != span.source:
        raise ConfigError(
            f"lineage {lineage!r} has learned {state.source!r} under the number of {span.source!r}",
            hint="rename the archive, or choose another lineage",
        )
    asked = start.offset is not None or start.time_ms is not None
    passed = state.start < span.held == span.first  # retention has passed the place where it was begun
    if asked and state.start != span.first and not passed:
        raise ConfigError(
            f"lineage {lineage!r} was begun at offset {state.start} of partition {span.partition}, not at {span.first}",
            hint="give the same --from as before, or choose another --lineage",
        )
    return structs.replace(span, first=state.start, done=record.next)
