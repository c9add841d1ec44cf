"""One seed is one world. A failure says how to see it again."""

from __future__ import annotations

import inspect
import os

import pytest
from aiokafka import AIOKafkaConsumer

from alice_rl.shard_state import Marks
from alice_rl.snapshot import scripts
from tests.simulation.kafka import Client
from tests.simulation.world import run_world

SEEDS = range(1, 31)  # SEEDS=1..500 in the environment runs others
_FIRST, _, _LAST = os.environ.get("SEEDS", f"{SEEDS.start}..{SEEDS.stop - 1}").partition("..")


@pytest.mark.parametrize("seed", range(int(_FIRST), int(_LAST or _FIRST) + 1))
def test_every_world_learns_exactly_its_log(seed: int) -> None:
    """Whatever fails meanwhile, each checkpoint and snapshot equals the undisturbed fold, and all is learned at the end."""
    outcome = run_world(seed)
    assert not outcome.violations, str(outcome)


def test_a_seed_is_a_world() -> None:
    """The same seed brings the same events at the same times, and another seed others."""
    first, again, other = run_world(13), run_world(13), run_world(14)
    assert first.trace_digest == again.trace_digest
    assert first.trace_digest != other.trace_digest


def test_the_client_is_the_one_that_aiokafka_has() -> None:
    """Every method of the simulated client takes what aiokafka's takes, so that the two cannot drift apart."""
    own = {name for name, member in vars(Client).items() if callable(member) and not name.startswith("_")}
    for name in own - {"assign", "revoke", "expelled"}:  # these are the coordinator's
        real, simulated = getattr(AIOKafkaConsumer, name), getattr(Client, name)
        assert inspect.iscoroutinefunction(simulated) == inspect.iscoroutinefunction(real), name
        assert list(inspect.signature(simulated).parameters) == list(inspect.signature(real).parameters), name


def _found(seeds: range) -> str:
    """The first complaint of these worlds; they are run until there is one."""
    return next((violation for seed in seeds for violation in run_world(seed).violations), "")


@pytest.mark.parametrize("guard", ["owner[1] ~= token", "at ~= ARGV[5]"])
def test_worlds_tell_when_checkpoints_are_not_refused(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that takes the checkpoint of a fenced worker, or of one that stands elsewhere, is found out."""
    source = scripts.source
    assert guard in source("checkpoint")
    monkeypatch.setattr(scripts, "source", lambda name: source(name).replace(f"if {guard} then", "if false then"))
    assert _found(range(1, 40))


def test_worlds_tell_when_a_restart_skips_the_join_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that goes on from where it folded, without reading the join window again, is found out."""
    monkeypatch.setattr(Marks, "low", property(lambda marks: marks._marks[-1]))
    assert "not what the log teaches" in _found(range(1, 40))
