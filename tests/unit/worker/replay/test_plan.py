"""What a replay reads: bounds resolved to offsets, and what a lineage has of them already."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Self

import pytest

import worker.replay.plan
from alice_rl.errors import ConfigError, DependencyError
from alice_rl.snapshot.store import Store
from tests.logs import turns
from tests.unit.worker.steps import makes_checkpoints
from worker.replay.bounds import Bound
from worker.replay.files import archive_partition
from worker.replay.plan import Span, plan_files, plan_topic, resume
from worker.settings import Settings

LOG = turns(40)


class FakeTopic:
    """A topic that holds the offsets that it is told, one record a millisecond, from 1000 ms on."""

    def __init__(self, held: dict[int, tuple[int, int]]) -> None:
        self.held = held

    def __call__(self, settings: object, topic: str) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def spans(self) -> dict[int, tuple[int, int]]:
        return self.held

    async def at_time(self, time_ms: int, partitions: Collection[int]) -> dict[int, int]:
        at = {p: max(self.held[p][0], time_ms - 1000) for p in partitions}
        return {p: offset for p, offset in at.items() if offset < self.held[p][1]}


async def planned(
    monkeypatch: pytest.MonkeyPatch, held: dict[int, tuple[int, int]], start: str, stop: str
) -> dict[int, tuple[int, int]]:
    """The spans of a topic, by partition."""
    monkeypatch.setattr(worker.replay.plan, "TopicReader", FakeTopic(held))
    spans = await plan_topic(Settings(), bound(start), bound(stop))
    return {span.partition: (span.first, span.end) for span in spans}


def bound(text: str) -> Bound:
    """A bound; "1500ms" is a time."""
    return Bound(text, time_ms=int(text[:-2])) if text.endswith("ms") else Bound.parse(text)


@pytest.mark.parametrize(
    ("start", "stop", "spans"),
    [
        ("earliest", "now", {0: (0, 100), 1: (50, 80), 2: (0, 0)}),
        ("60", "70", {0: (60, 70), 1: (60, 70), 2: (0, 0)}),
        ("10", "90", {0: (10, 90), 1: (50, 80), 2: (0, 0)}),
        ("90", "now", {0: (90, 100), 1: (80, 80), 2: (0, 0)}),
        ("1060ms", "1070ms", {0: (60, 70), 1: (60, 70), 2: (0, 0)}),
        ("1010ms", "1500ms", {0: (10, 100), 1: (50, 80), 2: (0, 0)}),
        ("1090ms", "now", {0: (90, 100), 1: (80, 80), 2: (0, 0)}),  # the other partition has nothing so late
        ("earliest", "30", {0: (0, 30), 1: (50, 50), 2: (0, 0)}),  # and here nothing so early
    ],
)
async def test_bounds_are_kept_inside_what_each_partition_holds(
    monkeypatch: pytest.MonkeyPatch, start: str, stop: str, spans: dict[int, tuple[int, int]]
) -> None:
    """Offsets and times are resolved per partition; what one does not hold is empty where it would be."""
    assert await planned(monkeypatch, {0: (0, 100), 1: (50, 80), 2: (0, 0)}, start, stop) == spans


@pytest.mark.parametrize(("start", "stop"), [("100", "now"), ("5", "5"), ("70", "20"), ("2000ms", "now")])
async def test_nothing_between_the_bounds_is_refused(monkeypatch: pytest.MonkeyPatch, start: str, stop: str) -> None:
    """A replay of nothing is a mistake, and the message repeats the bounds."""
    with pytest.raises(ConfigError, match=f"nothing between {start} and {stop}"):
        await planned(monkeypatch, {0: (0, 100), 1: (0, 0)}, start, stop)


async def test_a_missing_topic_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic that does not exist is no empty one."""
    with pytest.raises(DependencyError) as caught:
        await planned(monkeypatch, {}, "earliest", "now")
    assert caught.value.code == "topic_missing"


def test_archives_are_surveyed(tmp_path: Path) -> None:
    """Each file is a span under the number of its name."""
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path, lines in zip(paths, (5, 3), strict=True):
        path.write_bytes(b"{}\n" * lines)
    assert plan_files(paths, bound("earliest"), bound("4")) == [
        Span(archive_partition(path), 0, end, str(path)) for path, end in zip(paths, (4, 3), strict=True)
    ]
    with pytest.raises(ConfigError, match="nothing between"):
        plan_files(paths, bound("7"), bound("now"))


def test_archives_of_one_name_are_refused(tmp_path: Path) -> None:
    """Their checkpoints could not be told apart; the message names both."""
    paths = [tmp_path / "2024" / "log.jsonl", tmp_path / "2025" / "log.jsonl"]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(b"{}\n")
    with pytest.raises(ConfigError, match="2025.*2024"):
        plan_files(paths, bound("earliest"), bound("now"))


@pytest.mark.parametrize(
    ("span", "left"),
    [(Span(0, 10, 50), 40), (Span(0, 10, 50, done=20), 30), (Span(0, 10, 50, done=60), 0), (Span(0, 10, 10), 0)],
)
def test_what_is_left_is_what_lies_behind_the_checkpoint(span: Span, left: int) -> None:
    """A span that was begun is shorter, and one that was passed is done."""
    assert span.left == left


async def learned(store: Store, settings: Settings, partition: int = 0, source: str = "", start: int = 0) -> None:
    """A checkpoint of the lineage, at offset 40."""
    checkpoints = makes_checkpoints(store, settings)
    holding = await checkpoints.claim(partition, epoch=0, source=source)
    assert holding is not None
    holding.shard.begin(start)
    holding.shard.feed(LOG[start:])
    assert (await checkpoints.write(partition, holding)).done


async def test_a_new_span_is_begun_where_it_begins(store: Store) -> None:
    """Without a checkpoint nothing is done."""
    assert await resume(store, "main", [Span(3, 7, 50)], bound("7")) == [Span(3, 7, 50, done=7)]


@pytest.mark.parametrize("start", ["earliest", "8"])
async def test_a_span_is_gone_on_with_where_its_checkpoint_is(store: Store, settings: Settings, start: str) -> None:
    """The beginning is the one that the lineage has, also when the topic has lost records since."""
    await learned(store, settings, start=8)
    [span] = await resume(store, "main", [Span(0, 20 if start == "earliest" else 8, 90)], bound(start))
    assert span == Span(0, 8, 90, done=40)


@pytest.mark.parametrize("start", ["9", "1009ms"])
async def test_another_beginning_is_refused(store: Store, settings: Settings, start: str) -> None:
    """A lineage has one beginning: asking for another one would not get it."""
    await learned(store, settings, start=8)
    with pytest.raises(ConfigError, match="begun at offset 8 of partition 0, not at 9"):
        await resume(store, "main", [Span(0, 9, 90)], bound(start))


async def test_a_beginning_that_retention_has_passed_is_the_same(store: Store, settings: Settings) -> None:
    """The command that began a replay goes on with it, although the log no longer holds the place where it began."""
    await learned(store, settings, start=8)
    [span] = await resume(store, "main", [Span(0, 20, 90, held=20)], bound("8"))
    assert (span.first, span.done) == (8, 40)


async def test_another_archive_under_the_same_number_is_refused(store: Store, settings: Settings) -> None:
    """What was learned of one file is not gone on with out of another one, nor out of the topic."""
    await learned(store, settings, partition=1 << 20, source="a.jsonl")
    good: Any = await resume(store, "main", [Span(1 << 20, 0, 90, "x/a.jsonl")], bound("earliest"))
    assert good[0].done == 40
    for path in ("x/b.jsonl", ""):
        with pytest.raises(ConfigError, match="has learned 'a.jsonl'"):
            await resume(store, "main", [Span(1 << 20, 0, 90, path)], bound("earliest"))
