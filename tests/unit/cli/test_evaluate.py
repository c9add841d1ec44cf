"""`alice-rl evaluate` over files, as somebody types it: no broker, no Redis."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.logs import TOOLS, LogRecord, records, turn, turns
from tests.unit.cli.runner import Ran, run

ARMS = ("--set", f"tool.arms={','.join(TOOLS)}")


def log(folder: Path, written: list[LogRecord]) -> Path:
    """A log as JSON lines."""
    path = folder / "log.jsonl"
    path.write_bytes(b"\n".join(record.value or b"" for record in written))
    return path


def without_exploring(count: int) -> list[LogRecord]:
    """Turns whose every arm is said to have been certain."""
    values: list[dict[str, Any]] = [json.loads(record.value or b"") for record in turns(count)]
    slots = ("route", "tool", "cache")
    return records([event | {slot: event[slot] | {"p": 1.0} for slot in slots} for event in values])


def evaluate(path: Path, *words: object) -> Ran:
    """The rules, over a file."""
    return run("evaluate", "rules", "--file", path, *ARMS, *words)


def test_lost_support_is_told_in_words_and_as_a_fact(tmp_path: Path) -> None:
    """A log that was served without exploring cannot judge the rules; that is said, and is no failure."""
    path = log(tmp_path, without_exploring(300))
    ran = evaluate(path)
    assert ran.code == 0
    assert "SUPPORT IS LOST" in ran.stdout and "Believe no estimate" in ran.stdout
    facts = evaluate(path, "--json").json
    assert facts["support_lost"] is facts["whole"]["support_lost"] is True
    assert facts["whole"]["mean_weight"] < 0.5


def test_what_does_not_count_is_told(tmp_path: Path) -> None:
    """Turns of the rules are unfit, records that are no events are rejected, and nothing else is made of them."""
    fallback = turn("a", policy={"stage": "fallback"})
    foreign = turn("b", tool={"arm": "teleport", "p": 0.5, "available": ["teleport"]})
    path = log(tmp_path, records([fallback, foreign]))
    ran = evaluate(path)
    assert "1 turns have no usable propensities" in ran.stdout
    assert "1 unknown_arm" in ran.stdout
    assert "there is nothing to be said" in ran.stdout
    facts = evaluate(path, "--json").json
    assert (facts["whole"]["unfit"], facts["rejected"]) == (1, {"unknown_arm": 1})
    assert [facts["whole"][name] for name in ("ips", "snips", "dr", "mean_weight", "interval")] == [None] * 5


def test_a_silent_year_has_no_windows(tmp_path: Path) -> None:
    """Windows without turns are left out, however long the log was silent and however short they are."""
    values = [json.loads(record.value or b"") for record in turns(4)]
    year_ms = 365 * 86_400_000
    later = [event | {"decision_id": f"later-{i}", "ts_ms": event["ts_ms"] + year_ms} for i, event in enumerate(values)]
    for event in later:
        event["outcome"] = event["outcome"] | {"ts_ms": event["outcome"]["ts_ms"] + year_ms}
    facts = evaluate(log(tmp_path, records([*values, *later])), "--window", "1s", "--json").json
    assert len(facts["windows"]) == len({window["start_ms"] for window in facts["windows"]}) <= 8


def test_a_picture_of_a_log_of_an_hour(tmp_path: Path) -> None:
    """Without a window, a picture has some that fit."""
    path, picture = log(tmp_path, turns(360, step_ms=10_000)), tmp_path / "rules.svg"
    ran = evaluate(path, "--plot", picture, "--json")
    assert ran.code == 0, ran.stderr
    assert [window["end_ms"] - window["start_ms"] for window in ran.json["windows"]] == [300_000] * 12
    assert picture.read_bytes().startswith(b"<?xml")


def test_a_log_without_usable_turns_can_be_drawn(tmp_path: Path) -> None:
    """A picture of nothing says so."""
    path = log(tmp_path, records([turn("a", policy={"stage": "fallback"})]))
    assert evaluate(path, "--plot", tmp_path / "nothing.png").code == 0


@pytest.mark.parametrize(("name", "code"), [("rules.pdf", 2), ("nowhere/rules.png", 1)])
def test_what_cannot_be_drawn_is_told_at_once(tmp_path: Path, name: str, code: int) -> None:
    """Another kind of picture, or a folder that is not there, is refused before the log is read."""
    ran = evaluate(log(tmp_path, turns(5)), "--plot", tmp_path / name)
    assert ran.code == code and ran.stdout == ""


def test_without_matplotlib_the_install_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture takes an extra; everything else does not."""
    found = importlib.util.find_spec
    monkeypatch.setattr("worker.cli.picture.find_spec", lambda name: None if name == "matplotlib" else found(name))
    path = log(tmp_path, turns(5))
    ran = evaluate(path, "--plot", tmp_path / "rules.png")
    assert ran.code == 1 and "pip install 'alice-rl[plot]'" in ran.stderr
    assert evaluate(path).code == 0


def test_slides_are_bounded(tmp_path: Path) -> None:
    """A window of very many slides would add panes up for ever."""
    ran = evaluate(log(tmp_path, turns(5)), "--window", "7d", "--slide", "1s")
    assert ran.code == 2 and "longer --slide" in ran.stderr
