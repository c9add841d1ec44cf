"""What trials have shown, out of the checkpoints of everybody's partitions."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from alice_rl.online.trial import TrialSums
from alice_rl.snapshot import keys
from alice_rl.snapshot.store import Store
from alice_rl.trials import Trial
from tests.logs import LogRecord, held_out, records, turn
from tests.unit.worker.steps import makes_checkpoints, taught
from worker.checkpoint import Checkpoints
from worker.closed_trials import ClosedTrials
from worker.settings import Settings

HOLDOUT = Trial("rules", "policy", 0.75)
STEP_MS = 1000
START_MS = 1_767_225_600_000


def drawn(count: int, first: int = 0) -> list[LogRecord]:
    """Turns, a second apart, of which every fourth is held out."""
    events = [
        held_out(turn(f"d-{i}", START_MS + i * STEP_MS), share=0.25, treated=i % 4 != 0)
        for i in range(first, first + count)
    ]
    return records(events, first)


def counted(trials: dict[Trial, TrialSums]) -> tuple[int, int]:
    """Requests of the rules and of the policies."""
    assert trials.keys() <= {HOLDOUT}
    return (trials[HOLDOUT].n_control, trials[HOLDOUT].n_treatment) if trials else (0, 0)


@pytest.fixture
def checkpoints(store: Store, settings: Settings) -> Checkpoints:
    return makes_checkpoints(store, settings, worker="other")


@pytest.fixture
def fetched(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many parts were fetched, per reading."""
    readings: list[int] = []
    load = store.load_buckets

    async def noted(lineage: str, partition: int, names: Sequence[str]) -> dict[str, bytes]:
        readings.append(len(names))
        return await load(lineage, partition, names)

    monkeypatch.setattr(store, "load_buckets", noted)
    return readings


async def test_closed_panes_of_all_partitions_add_up(checkpoints: Checkpoints, store: Store) -> None:
    """What two partitions have shown is one trial; panes that are still open do not count."""
    shards = [(await taught(checkpoints, drawn(2000), partition=p)).shard for p in (0, 1)]
    own = counted(shards[0].trials.closed())
    assert 0 < sum(own) < 2000
    assert counted(await ClosedTrials(store).look("main", [0, 1, 2])) == (2 * own[0], 2 * own[1])


async def test_what_is_known_is_not_read_again(checkpoints: Checkpoints, store: Store, fetched: list[int]) -> None:
    """A second look fetches nothing, unless a pane has closed since."""
    holding = await taught(checkpoints, drawn(2000))
    trials = ClosedTrials(store)
    before = counted(await trials.look("main", [0]))
    assert counted(await trials.look("main", [0])) == before
    holding.shard.feed(drawn(1000, first=2000))
    await checkpoints.write(0, holding)
    assert counted(await trials.look("main", [0])) == counted(holding.shard.trials.closed()) > before
    assert fetched == [1, 0, 1]


async def test_a_damaged_checkpoint_is_left_out(checkpoints: Checkpoints, store: Store, client: object) -> None:
    """Bytes that are not those which were checkpointed count for nothing."""
    holding = await taught(checkpoints, drawn(2000))
    [name] = [name for name in holding.shard.trials.digests() if not holding.shard.trials.is_open(name)]
    await client.hset(keys.shard("alice", "main", 0), f"bucket:{name}", b"other")  # type: ignore[attr-defined]
    assert await ClosedTrials(store).look("main", [0]) == {}
