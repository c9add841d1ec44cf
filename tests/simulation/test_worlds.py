"""One seed is one world. A failure says how to see it again; `python -m tests.simulation --seeds 1..500` runs more."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

import pytest
from aiokafka import AIOKafkaConsumer

from alice_rl.shard_state import Marks
from alice_rl.snapshot import scripts
from tests.simulation.client import Client
from tests.simulation.world import run_world

_FIRST, _, _LAST = os.environ.get("SEEDS", "1..24").partition("..")
# Worlds in which something was wrong once.
_REMEMBERED = [
    (30, None),
    (50, None),
    (92, None),
    (293, None),
    (2133, None),
    (2236, None),
    (3, "consumer_stuck fetch_error"),
]


@pytest.mark.parametrize("seed", range(int(_FIRST), int(_LAST or _FIRST) + 1))
def test_every_world_learns_exactly_its_log(seed: int) -> None:
    """Whatever fails meanwhile, checkpoints and snapshots equal the undisturbed fold, and all is learned in the end."""
    outcome = run_world(seed)
    assert not outcome.violations, str(outcome)


@pytest.mark.parametrize(("seed", "faults"), _REMEMBERED)
def test_what_was_wrong_once_is_right(seed: int, faults: str | None) -> None:
    """The worlds that have found a fault in the worker stay well."""
    outcome = run_world(seed, faults=None if faults is None else frozenset(faults.split()))
    assert not outcome.violations, str(outcome)


@pytest.mark.parametrize(
    ("fault", "event"), [("consumer_stuck", "partition.stalled"), ("deadly_record", "record.skipped")]
)
def test_faults_that_only_the_worker_can_end_are_ended(fault: str, event: str) -> None:
    """A client that hands out nothing is made anew, and a record that kills its readers is found and passed over."""
    outcome = run_world(1, faults=frozenset({fault}))
    assert not outcome.violations, str(outcome)
    assert outcome.events[event]


def test_a_seed_is_a_world() -> None:
    """The same seed brings the same events at the same times, in another process too; another seed brings others."""
    first, again, other = run_world(13), run_world(13), run_world(14)
    assert first.trace_digest == again.trace_digest
    assert first.trace_digest != other.trace_digest
    command = [sys.executable, "-m", "tests.simulation", "--seed", "13"]
    environ = os.environ | {"PYTHONHASHSEED": "7"}
    elsewhere = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert first.trace_digest in elsewhere.stderr


def test_the_client_is_the_one_that_aiokafka_has() -> None:
    """Every method of the simulated client takes what aiokafka's takes, so that the two cannot drift apart."""
    own = {name for name, member in vars(Client).items() if callable(member) and not name.startswith("_")}
    for name in own - {"assign", "revoke", "expelled"}:  # these are the coordinator's
        real, simulated = getattr(AIOKafkaConsumer, name), getattr(Client, name)
        assert inspect.iscoroutinefunction(simulated) == inspect.iscoroutinefunction(real), name
        assert list(inspect.signature(simulated).parameters) == list(inspect.signature(real).parameters), name


def _found(seeds: range, *faults: str) -> str:
    """The first complaint of these worlds; they are run until there is one."""
    return next((said for seed in seeds for said in run_world(seed, faults=frozenset(faults)).violations), "")


@pytest.mark.parametrize(
    ("guards", "faults"),
    [(("owner[1] ~= token", "at ~= ARGV[5]"), ("rebalance",)), (("at ~= ARGV[5]",), ("regression",))],
)
def test_worlds_tell_when_checkpoints_are_not_refused(
    guards: tuple[str, ...], faults: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that takes the checkpoint of a fenced worker, or of one that stands elsewhere, is found out."""
    text = scripts.source("checkpoint")
    for guard in guards:
        assert f"if {guard} then" in text
        text = text.replace(f"if {guard} then", "if false then")
    source = scripts.source
    monkeypatch.setattr(scripts, "source", lambda name: text if name == "checkpoint" else source(name))
    assert "is not" in _found(range(1, 13), *faults)


def test_worlds_tell_when_a_restart_skips_the_join_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that goes on from where it folded, without reading the join window again, is found out."""
    monkeypatch.setattr(Marks, "low", property(lambda marks: marks._marks[-1]))
    assert "is not what the log teaches" in _found(range(1, 13), "rebalance")
