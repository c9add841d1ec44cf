"""`alice-rl evaluate` over files and over the broker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from alice_rl.shard import Shard
from alice_rl.snapshot.format import pack
from alice_rl.snapshot.store import Store
from tests.command_line import ROOT, Line
from tests.logs import turns
from tests.streams import produce
from tests.unit.cli.runner import run
from worker.solver import Taught, solve_policy


@pytest.fixture
def log(alice: Line) -> Path:
    """Turns of chance as JSON lines."""
    path = alice.folder / "log.jsonl"
    path.write_bytes(b"\n".join(record.value or b"" for record in turns(600, seed=5)))
    return path


@pytest.fixture
def policy(alice: Line) -> Path:
    """An exported policy that has learned another log."""
    shard = Shard(alice.settings.lineage)
    shard.feed(turns(300, seed=9))
    path = alice.folder / "policy.safetensors"
    path.write_bytes(pack(solve_policy({0: Taught.of(shard)}, alice.settings, 1)))
    return path


def test_a_file_is_evaluated_by_windows(alice: Line, log: Path, policy: Path) -> None:
    """Windows of event time and the whole, with what was served beside it, as JSON and as a table."""
    ran = alice("evaluate", policy, "--file", log, "--window", "4min", "--slide", "2min", "--json")
    assert ran.code == 0, ran.stderr
    report = ran.json
    whole = report["whole"]
    assert (report["records"], report["episodes"], whole["n"], report["support_lost"]) == (600, 600, 600, False)
    assert [w["end_ms"] - w["start_ms"] for w in report["windows"]] == [240_000] * 4
    assert whole["interval"]["lower"] <= whole["snips"]["value"] <= whole["interval"]["upper"]
    assert whole["served"]["error"] < whole["ips"]["error"]
    shown = alice("evaluate", policy, "--file", log)
    assert "SNIPS" in shown.stdout and "600" in shown.stdout


def test_the_rules_are_worth_what_they_earn_when_they_are_played(tmp_path: Path) -> None:
    """The simulated world knows what the rules earn on the same turns; their estimate from turns of chance is near."""
    log, shipped = tmp_path / "log.jsonl", ("--config", ROOT / "config.toml", "--json")
    played = run("simulate", "--turns", 6000, "--seed", 8, "--to", log, *shipped).json
    report = run("evaluate", "rules", "--file", log, *shipped).json
    whole, truth = report["whole"], played["rules"]["value"]
    assert not report["support_lost"]
    for name in ("ips", "snips", "dr"):
        assert abs(whole[name]["value"] - truth) < 3 * whole[name]["error"]
    assert whole["clipped"]["lower"] <= truth <= whole["clipped"]["upper"]
    assert whole["interval"]["lower"] <= truth <= whole["interval"]["upper"] < played["served"]["value"] + 1.0
    assert whole["served"]["value"] == pytest.approx(played["served"]["reward"], abs=1e-4)


def test_the_picture_is_drawn(alice: Line, log: Path, policy: Path) -> None:
    """--plot writes a PNG or an SVG, and says no to anything else."""
    for name, magic in (("e.png", b"\x89PNG"), ("e.svg", b"<?xml")):
        ran = alice("evaluate", policy, "--file", log, "--window", "2min", "--plot", alice.folder / name)
        assert ran.code == 0, ran.stderr
        assert (alice.folder / name).read_bytes().startswith(magic)
    ran = alice("evaluate", policy, "--file", log, "--plot", alice.folder / "e.xyz")
    assert ran.code == 2 and "ends in .png or .svg" in ran.stderr


def test_the_topic_is_evaluated_and_what_was_learned_from_is_told(alice: Line) -> None:
    """Over the broker, the turns that the live policy has learned from are counted, and can be left out."""
    asyncio.run(produce(alice.settings.kafka, turns(200, seed=5)))
    process = alice.start("worker", "--set", "worker.checkpoint_interval_seconds=0.1")
    try:
        asyncio.run(_until_published(alice, 200))
    finally:
        process.terminate()
        process.communicate(timeout=60)
    asyncio.run(produce(alice.settings.kafka, turns(100, seed=6)))
    report = alice("evaluate", "live", "--json").json
    assert (report["episodes"], report["episodes_learned_from"], report["whole"]["n"]) == (300, 200, 300)
    unseen = alice("evaluate", "live", "--unseen-only", "--json").json
    assert unseen["whole"]["n"] == 100
    assert "has learned from 200 of 300" in alice("evaluate", "live").stdout


async def _until_published(alice: Line, offsets: int) -> None:
    store = Store.from_settings(alice.settings.redis, "alice")
    try:
        while sum((await store.read_head()).offsets.values()) < offsets:
            await asyncio.sleep(0.05)
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("evaluate", "nobody"), "is no policy"),
        (("evaluate", "rules", "--slide", "1h"), "--slide needs --window"),
        (("evaluate", "rules", "--window", "1h", "--slide", "25min"), "no multiple"),
        (("evaluate", "rules", "--window", "soon"), "no span of time"),
    ],
)
def test_wrong_usage_is_told(alice: Line, words: tuple[str, ...], says: str) -> None:
    """Exit code 2, and what to write instead."""
    ran = alice(*words)
    assert ran.code == 2 and says in ran.stderr
