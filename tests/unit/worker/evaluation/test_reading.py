"""A stretch of the log read and scored: what was learned from, what is no event, and windows that fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from alice_rl.lineage import Arms, Lineage
from alice_rl.online.ope import Pane
from alice_rl.online.windows import merged
from alice_rl.slots import ToolSettings
from alice_rl.snapshot.rules import Rules
from tests.logs import START_MS, TOOLS, LogRecord, decision, records, turn, turns
from worker.evaluation.reading import Learned, Scored, coarser, read_scored, scored_windows
from worker.evaluation.target import RulesTarget
from worker.replay.bounds import Bound
from worker.replay.files import archive_partition
from worker.replay.plan import plan_files
from worker.settings import Settings

SETTINGS = Settings(tool=ToolSettings(arms=TOOLS))
ALL = Bound("earliest"), Bound("now")


def written(folder: Path, log: list[LogRecord], name: str = "log.jsonl") -> Path:
    """A log as JSON lines."""
    path = folder / name
    path.write_bytes(b"\n".join(record.value or b"" for record in log))
    return path


async def read(paths: list[Path], learned: Learned, *, unseen_only: bool = False, slide_ms: int = 60_000) -> Scored:
    """What files say about the rules, had these learned from something."""
    spans = plan_files(paths, *ALL)
    target = RulesTarget(Rules(SETTINGS.rules))
    return await read_scored(
        SETTINGS, spans, target, learned=learned, unseen_only=unseen_only, slide_ms=slide_ms, show=lambda _: None
    )


def test_the_settings_are_those_of_the_log() -> None:
    """The tests' logs are of the lineage that reads them."""
    assert SETTINGS.lineage.arms == Lineage(arms=Arms(tool=TOOLS)).arms


@pytest.mark.parametrize("known", [0, 1, 137, 400])
async def test_what_was_learned_from_is_told_to_the_record(tmp_path: Path, known: int) -> None:
    """Of an archive that the policy has read, the turns before its offset were seen, wherever batches are cut."""
    path = written(tmp_path, turns(400))
    learned = Learned({archive_partition(path): known}, START_MS)
    scored, unseen = await read([path], learned), await read([path], learned, unseen_only=True)
    assert (scored.episodes, scored.seen, merged(scored.target).n) == (400, known, 400)
    assert (unseen.seen, merged(unseen.target).n) == (known, 400 - known)
    assert merged(scored.served).n == merged(scored.target).n


async def test_a_file_that_was_not_read_as_such_may_be_known_from_a_topic(tmp_path: Path) -> None:
    """Nobody knows which of its turns the policy has seen: at most those up to the policy's own time."""
    path = written(tmp_path, turns(100, step_ms=1000))
    scored = await read([path], Learned({0: 5_000}, START_MS + 59_000))
    assert scored.seen == 60
    assert (await read([path], Learned())).seen == 0  # the rules learn nothing


async def test_records_that_are_no_events_are_counted(tmp_path: Path) -> None:
    """A propensity that cannot be right is rejected, counted by its reason, and not repaired."""
    bad = [
        decision("a", route={"arm": "micro", "p": 0.0, "available": ["micro", "deep"]}),
        decision("b", route={"arm": "micro", "p": 1.5, "available": ["micro", "deep"]}),
        decision("c", route={"arm": "micro", "available": ["micro", "deep"]}),
    ]
    scored = await read([written(tmp_path, records([*bad, turn("d")]))], Learned())
    assert scored.rejected == {"propensity_out_of_range": 2, "propensity_missing": 1}
    assert (scored.records, scored.episodes, merged(scored.target).n) == (4, 1, 1)


async def test_files_add_up_in_any_order(tmp_path: Path) -> None:
    """Each file is a log with a reward model of its own, so the order of files changes nothing."""
    paths = [written(tmp_path, turns(60, seed=seed), f"{seed}.jsonl") for seed in (1, 2, 3)]
    assert (await read(paths, Learned())).target == (await read(paths[::-1], Learned())).target


async def test_windows_may_be_made_coarser(tmp_path: Path) -> None:
    """Panes of minutes become few of a length that people count in, with all turns in them."""
    scored = await read([written(tmp_path, turns(300, step_ms=10_000))], Learned())
    found = coarser(scored, panes_max=20)
    assert (len(scored.target), found.slide_ms, len(found.target)) == (50, 300_000, 10)
    assert merged(found.target) == merged(scored.target)
    *parts, whole = scored_windows(found, SETTINGS, 1, alpha=0.05)
    assert sum(part.target.n for part in parts) == whole.target.n == 300


async def test_any_log_fits(tmp_path: Path) -> None:
    """Panes that are years apart fit, too."""
    scored = await read([written(tmp_path, turns(2))], Learned())
    scored.target[10**8] = Pane.of([1.0], [1.0])
    assert len(coarser(scored, panes_max=20).target) == 2
