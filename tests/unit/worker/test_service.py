"""Going over to the lineage that takes over, and staying where nothing is to be followed."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from alice_rl.errors import DependencyError
from alice_rl.snapshot.store import Store
from tests.logs import turns
from tests.unit.worker.steps import FakeConsumer, Logged
from worker.service import Worker
from worker.settings import Settings, of_lineage

LOG = turns(10)


@pytest.fixture
async def made(store: Store, settings: Settings) -> Worker:
    """A worker of the active lineage `main`, that holds partition 0 and has published."""
    consumer: Any = FakeConsumer(0)
    made = Worker(settings, consumer, store)
    await one_turn(made)
    await made._partitions.fold({0: LOG})
    await one_turn(made)
    assert (made.publisher.version, made.holdings[0].stored_next) == (1, 10)
    return made


async def one_turn(made: Worker) -> None:
    """What the loop does between two fetches."""
    if not made._assignment.settled:
        await made._assignment.settle()
    await made._partitions.checkpoint()
    await made._lead(last=True)
    await made._follow()


async def declare(store: Store, name: str, settings: Settings) -> None:
    """Make another lineage known, and the active one."""
    await store.declare_lineage(name, settings.lineage.fingerprint, settings.lineage.to_json())
    await store.activate_lineage(name)


async def test_a_worker_follows_the_lineage_that_took_over(
    made: Worker, store: Store, settings: Settings, logged: Logged
) -> None:
    """With the same structure it goes over: its checkpoints, publications and dead letters are the new one's."""
    await declare(store, "again", settings)
    await one_turn(made)
    assert made.settings == of_lineage(settings, "again")
    assert (made.holdings, made._assignment.settled) == ({}, False)
    assert [(entry["lineage"], entry["active_lineage"]) for entry in logged.of("lineage.followed")] == [
        ("main", "again")
    ]
    await one_turn(made)
    await made._partitions.fold({0: LOG})
    await one_turn(made)
    assert await store.known_partitions("again") == {0}
    assert (await store.read_head()).lineage == "again"
    assert made._dead_letters.lineage == "again"


async def test_a_worker_that_followed_follows_again(made: Worker, store: Store, settings: Settings) -> None:
    """One takeover after another is followed."""
    for name in ("second", "third"):
        await declare(store, name, settings)
        await one_turn(made)
        assert made.settings.policy.lineage == name
        await one_turn(made)


async def test_another_structure_is_said_once_and_not_followed(
    made: Worker, store: Store, settings: Settings, logged: Logged
) -> None:
    """A lineage of other features needs another configuration: the worker stays, keeps its checkpoints, and says so."""
    wide = structs.replace(settings, features=structs.replace(settings.features, feature_dim=128))
    await declare(store, "wide", wide)
    for _ in range(3):
        await one_turn(made)
    assert (made.settings, list(made.holdings)) == (settings, [0])
    assert [(entry["lineage"], entry["active_lineage"]) for entry in logged.of("lineage.superseded")] == [
        ("main", "wide")
    ]


async def test_an_undeclared_lineage_is_not_followed(made: Worker, store: Store, logged: Logged) -> None:
    """A name without a configuration is no lineage to learn."""
    await store.activate_lineage("nowhere")
    await one_turn(made)
    assert made.settings.policy.lineage == "main"
    assert "lineage.superseded" in logged.names


async def test_a_superseded_worker_is_told_anew_after_its_return(
    made: Worker, store: Store, settings: Settings, logged: Logged
) -> None:
    """Once its own lineage was active again, the next takeover is a new one."""
    wide = structs.replace(settings, features=structs.replace(settings.features, feature_dim=128))
    for _ in range(2):
        await declare(store, "wide", wide)
        await one_turn(made)
        await store.activate_lineage("main")
        await one_turn(made)
    assert len(logged.of("lineage.superseded")) == 2


async def test_a_standby_stays_with_its_lineage(store: Store, settings: Settings, logged: Logged) -> None:
    """A worker whose lineage was never the active one learns it beside the live one, and follows nobody."""
    consumer: Any = FakeConsumer(0)
    await store.declare_lineage("beside", settings.lineage.fingerprint, settings.lineage.to_json())
    standby = Worker(of_lineage(settings, "beside"), consumer, store)
    for _ in range(3):
        await one_turn(standby)
    assert standby.settings.policy.lineage == "beside"
    assert not {"lineage.followed", "lineage.superseded"} & set(logged.names)


async def test_a_takeover_is_followed_although_redis_was_away(
    made: Worker, store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When Redis fails just as the worker looks at the new lineage, it looks again."""
    await declare(store, "again", settings)

    async def away(_: str) -> None:
        raise DependencyError("Redis is away", code="redis_unreachable")

    with monkeypatch.context() as patched:
        patched.setattr(store, "lineage_config", away)
        with pytest.raises(DependencyError):
            await one_turn(made)
    await one_turn(made)
    assert made.settings.policy.lineage == "again"


@pytest.mark.parametrize("code", ["redis_unreachable", "redis_out_of_memory"])
async def test_a_start_waits_for_a_redis_that_goes_away_again(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Ready for a moment and gone at the next command, or full: the start asks again."""
    consumer: Any = FakeConsumer(0)
    worker = Worker(settings, consumer, store)
    declare, asked = store.declare_lineage, 0

    async def flaky(*structure: Any, **options: Any) -> tuple[str, ...]:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise DependencyError("not now", code=code)
        return await declare(*structure, **options)

    monkeypatch.setattr(store, "declare_lineage", flaky)
    structure = "main", settings.lineage.fingerprint, settings.lineage.to_json()
    assert await worker._patiently(lambda: store.declare_lineage(*structure)) == ()
    assert asked == 2
