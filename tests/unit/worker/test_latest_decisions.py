"""The latest decisions: the newest by event time, each once, however they are strewn."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec

from tests.logs import START_MS, decision, outcome, records, turn
from worker.latest_decisions import Latest, latest_in_files


def test_the_newest_are_kept_whatever_the_order() -> None:
    """Disorder and duplicates do not matter: it is the event time that counts."""
    events = [decision(f"d{n}", START_MS + n) for n in range(50)]
    events += [outcome(f"d{n}", START_MS + 900) for n in range(50)] + [turn("t", START_MS + 7)] + events[40:]
    random.Random(1).shuffle(events)
    latest = Latest(10)
    for record in records(events):
        latest.add([record])
    assert [one.decision_id for one in latest.sample().decisions] == [f"d{n}" for n in range(40, 50)]
    assert (latest.cutoff_ms, latest.records, latest.rejected) == (START_MS + 40, 111, 0)


def test_the_oldest_decision_of_a_piece_is_told() -> None:
    """What decides how far back to read: the oldest decision, kept or not; none among outcomes."""
    latest = Latest(1)
    assert latest.add(records([outcome("d"), b"no event", None])) is None
    assert (latest.cutoff_ms, latest.rejected) == (None, 2)
    assert latest.add(records([decision("d2", START_MS + 2), decision("d1", START_MS + 1)])) == START_MS + 1
    assert latest.cutoff_ms == START_MS + 2


def test_archives_are_one_log(tmp_path: Path) -> None:
    """The newest decisions of several files are kept, whichever they stand in."""
    for name, first in (("a", 0), ("b", 3)):
        lines = [msgspec.json.encode(decision(f"{name}{n}", START_MS + 10 * n + first)) for n in range(5)]
        (tmp_path / name).write_bytes(b"\n".join(lines))
    sample = latest_in_files([tmp_path / "b", tmp_path / "a"], 3)
    assert [one.decision_id for one in sample.decisions] == ["b3", "a4", "b4"]
