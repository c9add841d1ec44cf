"""Feeding a shard that is held, carefully where that is called for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest
from msgspec import structs

from alice_rl.intake import Record, Rejected
from alice_rl.snapshot import keys
from alice_rl.snapshot.records import Applied
from alice_rl.snapshot.store import Store
from tests.logs import records, turn, turns
from tests.unit.worker.steps import Logged, held, makes_checkpoints, taught
from worker.checkpoint import Holding, read_state
from worker.folding import feed, pass_over
from worker.settings import Settings
from worker.suspicion import Suspicion

OWNER = keys.owner("alice", "main", 0)


async def fed(checkpoints: Any, partition: int, holding: Holding, log: Sequence[Record]) -> list[Rejected]:
    """Feed it to the end; all that was rejected."""
    return [one async for step in feed(checkpoints, partition, holding, log) for one in step]


async def test_without_suspicion_no_word_is_left(client: Any, store: Store, settings: Settings) -> None:
    """A fold that nobody suspects costs no round trip, and returns what was rejected."""
    checkpoints = makes_checkpoints(store, settings)
    holding = await held(checkpoints)
    before = await client.hgetall(OWNER)
    rejected = await fed(checkpoints, 0, holding, records([turn("a"), b"garbage", turn("b")]))
    assert [one.offset for one in rejected] == [1]
    assert holding.shard.next == 3
    assert await client.hgetall(OWNER) == before


async def test_word_of_a_step_is_left_before_it_is_taken(store: Store, settings: Settings) -> None:
    """Whoever dies in a step has named it before; whoever lives takes the word back at the end."""
    told: list[Any] = []

    class Told:
        """Writes down what is left word of, what is folded, and dies at one offset."""

        def __init__(self, deadly: int) -> None:
            self.deadly = deadly

        async def suspect(self, partition: int, _: Holding, offsets: tuple[int, int] | None) -> None:
            told.append((partition, offsets))

        def feed(self, part: Sequence[Record]) -> list[Rejected]:
            if any(record.offset == self.deadly for record in part):
                raise SystemExit
            told.append(len(part))
            return []

    holding = await held(makes_checkpoints(store, settings))
    for deadly in (5, 99):
        stand_in: Any = Told(deadly)
        careful = holding._replace(shard=stand_in, suspicion=Suspicion(4, 6, 1))
        with nullcontext() if deadly == 99 else pytest.raises(SystemExit):
            await fed(stand_in, 3, careful, turns(8))
    died = [(3, (0, 4)), 4, (3, (4, 5)), 1, (3, (5, 6))]
    assert told == [*died, *died, 1, (3, (6, 8)), 2, (3, None)]


async def test_redis_has_the_word(client: Any, store: Store, settings: Settings) -> None:
    """What is left word of stands in the owner's fields, and is gone after a fold without harm."""
    checkpoints = makes_checkpoints(store, settings)
    holding = (await held(checkpoints))._replace(suspicion=Suspicion())
    await checkpoints.suspect(0, holding, (4, 9))
    assert await client.hget(OWNER, "suspect") == b"4:9"
    await fed(checkpoints, 0, holding, turns(3))
    assert await client.hget(OWNER, "suspect") == b""


async def test_records_of_all_steps_are_folded(store: Store, settings: Settings) -> None:
    """A careful fold ends with the same bytes, and returns the rejected of every step."""
    log = records([turn("a"), b"garbage", turn("b"), None, turn("c")])
    checkpoints = makes_checkpoints(store, settings)
    plain, careful = await held(checkpoints), (await held(checkpoints, 1))._replace(suspicion=Suspicion(1, 4, 1))
    plain.shard.feed(log)
    rejected = await fed(checkpoints, 1, careful, log)
    assert [one.offset for one in rejected] == [1, 3]
    assert careful.shard.digest() == plain.shard.digest()


async def test_the_settings_name_records_to_pass_over(store: Store, settings: Settings) -> None:
    """Those of this partition, that are not folded yet, are put on the list."""
    checkpoints = makes_checkpoints(store, settings)
    holding = await held(checkpoints)
    holding.shard.feed(turns(5))
    assert await pass_over(checkpoints, 0, holding, [(0, 4), (0, 5), (0, 9), (1, 7)]) == holding
    assert holding.shard.skipped == {5, 9}


async def test_a_culprit_is_passed_over_and_said_so(store: Store, settings: Settings, logged: Logged) -> None:
    """The record that killed twice is rejected unseen, and an error names it."""
    checkpoints = makes_checkpoints(store, settings)
    holding = (await held(checkpoints))._replace(suspicion=Suspicion(2, 3, 2))
    holding = await pass_over(checkpoints, 0, holding, [])
    [rejected] = holding.shard.feed(turns(5))
    assert (rejected.offset, rejected.reason) == (2, "killed_worker")
    [entry] = logged.of("record.skipped")
    assert (entry["log_level"], entry["offset"], entry["deaths"]) == ("error", 2, 2)
    assert (await checkpoints.write(0, holding)) is Applied.OK


@pytest.mark.parametrize("folded", [0, 40])
async def test_a_culprit_is_remembered_at_once(store: Store, settings: Settings, folded: int) -> None:
    """Whoever claims next passes it over, although nothing was folded since; the rest of the checkpoint stays."""
    checkpoints = makes_checkpoints(store, settings)
    if folded:
        await taught(checkpoints, turns(folded))
    before = await store.shard_position("main", 0)
    holding = (await held(checkpoints))._replace(suspicion=Suspicion(50, 51, 2))
    await pass_over(checkpoints, 0, holding, [])
    again, after = await held(checkpoints), await store.shard_position("main", 0)
    assert (again.shard.skipped, again.shard.next, again.stored_next) == ({50}, folded, folded)
    assert after is not None
    if before is not None:
        assert structs.replace(after, extra={}) == structs.replace(before, extra={})
        assert read_state(after) == structs.replace(read_state(before), skipped=[50])


async def test_a_suspicion_is_said_and_passes_nothing_over(store: Store, settings: Settings, logged: Logged) -> None:
    """While the record is still being looked for, all of them are folded."""
    checkpoints = makes_checkpoints(store, settings)
    holding = (await held(checkpoints))._replace(suspicion=Suspicion(2, 8, 1))
    assert await pass_over(checkpoints, 0, holding, []) == holding
    assert holding.shard.skipped == set()
    [entry] = logged.of("record.suspected")
    assert (entry["first"], entry["end"], entry["deaths"]) == (2, 8, 1)
