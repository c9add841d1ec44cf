"""A canary's verdicts reached again: what the log had shown at an offset, and how two verdicts compare."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import worker.replay.files
from alice_rl.episodes import JoinSettings
from alice_rl.errors import AliceError
from alice_rl.online.canary import Effect, Verdict
from alice_rl.refold import Refold
from alice_rl.shard import Shard
from tests.canaries import CANARY, LIVE, verdict
from tests.logs import START_MS, LogRecord, in_trial, records, turn
from worker.replay.canary import Look, Pair, Refolded, collect, fold_to, parting
from worker.replay.verification import SnapshotVerdict, Standing
from worker.settings import Settings

TURNS, STEP_MS, HORIZON_S = 1500, 1000, 100
PAIR = Pair(LIVE, CANARY)
CUTS = [0, 1, 613, 614, 1499, 1500]


def trial_log(turns: int = TURNS) -> list[LogRecord]:
    """A trial at 5 %, then at 25 %, with another pair's requests between."""
    rng = random.Random(5)
    values: list[dict[str, Any]] = []
    for i in range(turns):
        event = turn(f"d-{i}", START_MS + i * STEP_MS)
        event["outcome"] |= {"success": rng.random() < 0.7}
        share = 0.05 if i < turns // 2 else 0.25
        event = in_trial(event, share=share, treated=rng.random() < share)
        if i % 10 == 0:
            event["policy"] |= {"canary_digest": "ef" * 32}
        values.append(event)
    return records(values)


LOG = trial_log()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A short join window, so that most of the log's panes close."""
    return Settings(tool=settings.tool, join=JoinSettings(horizon_seconds=HORIZON_S))


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log as a file, read few lines at a time."""
    monkeypatch.setattr(worker.replay.files, "_BLOCK_BYTES", 4096)
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"".join((record.value or b"") + b"\n" for record in LOG))
    return path


def folded(settings: Settings, upto: int) -> Shard:
    """What a worker would have known at an offset."""
    shard = Shard(settings.lineage, source="log.jsonl")
    shard.feed(LOG[:upto])
    return shard


def shown(settings: Settings, upto: int) -> dict[float, bytes]:
    closed = folded(settings, upto).trials.closed()
    return {trial.share: sums.to_bytes() for trial, sums in closed.items() if trial.treatment == CANARY}


def look(offsets: dict[int, int], said: Verdict) -> Look:
    return Look(what="share", ts_ms=START_MS, minutes=10.0, offsets=offsets, verdict=said)


def test_each_offset_has_what_the_log_had_shown_there(settings: Settings, archive: Path) -> None:
    """At every offset the pair's sums are those of a worker that stood there, and of no other pair."""
    steps: list[int] = []
    state = folded(settings, TURNS).state
    found = fold_to(settings, state, 0, str(archive), CUTS, PAIR, None, steps.append)
    assert found == {cut: shown(settings, cut) for cut in CUTS}
    assert found[0] == {} and set(found[TURNS]) == {0.05, 0.25}
    assert steps == sorted(steps) and steps[-1] == TURNS


def test_what_a_savepoint_has_folded_already_is_left_out(settings: Settings, archive: Path) -> None:
    """From an earlier checkpoint on, only later offsets can be reached, and those are the same."""
    early = folded(settings, 700)
    state = folded(settings, TURNS).state
    begun = Shard.restore(settings.lineage, early.state, early.parts.changes())
    again = Refolded(Refold.of(settings.lineage, state, begun), PAIR, CUTS)
    again.feed(LOG[again.position :])
    assert again.sums() == {cut: shown(settings, cut) for cut in CUTS if cut >= 700}


def test_partitions_that_are_not_there_are_named(settings: Settings, archive: Path) -> None:
    """A verdict that rests on an archive which was not given cannot be reached, and the archive is named."""
    state = folded(settings, TURNS).state
    standing = Standing({3: state}, None, SnapshotVerdict(None, None, ""))
    looks = [look({3: 1000}, verdict())]
    with pytest.raises(AliceError, match="archive log.jsonl") as told:
        collect(settings, standing, PAIR, looks, [], {}, 1, lambda done: None)
    assert "--source" in told.value.hint
    found = collect(settings, standing, PAIR, looks, [archive], {}, 1, lambda done: None)
    assert found == {3: {1000: shown(settings, 1000)}}


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({}, []),
        ({"reason": "in other words"}, []),
        ({"log_e_promote": -0.4 * (1 + 1e-12)}, []),
        ({"requests": 40_001}, ["requests"]),
        ({"policies": Effect(0.004, -0.021, 0.03)}, ["policies.upper"]),
        ({"log_e_promote": -0.41, "log_e_ratio": -0.8}, ["log_e_promote", "log_e_ratio"]),
    ],
)
def test_what_parts_is_named(changes: dict[str, Any], parts: list[str]) -> None:
    """Numbers are equal to rounding, words do not count, and everything else is named."""
    assert parting(verdict(), replace(verdict(), **changes)) == parts
