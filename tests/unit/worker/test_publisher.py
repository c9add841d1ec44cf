"""What a new policy is published as: live in a cold start and in direct mode, else a candidate."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from alice_rl.shard import Shard
from alice_rl.snapshot.records import Pin, Stage
from alice_rl.snapshot.store import Store
from tests.logs import turns
from tests.unit.worker.steps import Logged
from worker.canary_settings import CanarySettings
from worker.publisher import Publisher
from worker.settings import Settings
from worker.solver import Taught

LOG = turns(60)


class Learning:
    """A shard that learns turns, and a publisher that publishes after each lesson."""

    def __init__(self, store: Store, settings: Settings, **canary: Any) -> None:
        self.complaint = ""
        self._settings = structs.replace(settings, canary=CanarySettings(**canary))
        self.shard = Shard(settings.lineage)
        self.publisher = Publisher(store, self._settings, "w", lambda: self.complaint)

    async def learn(self, count: int, *, level: bool = True) -> None:
        """Learn so many turns, and publish."""
        first = self.shard.next
        self.shard.feed(LOG[first : first + count])
        await self.publisher.publish({0: Taught.of(self.shard)}, level=level)


async def test_after_the_cold_start_live_stays(store: Store, settings: Settings) -> None:
    """The first policies go live; those that have learned more than the cold start are candidates."""
    learning = Learning(store, settings, cold_start_episodes=20)
    lives = []
    for _ in range(4):
        await learning.learn(10)
        head = await store.read_head()
        lives.append((head.seq, head.live))
    assert lives == [(1, 1), (2, 2), (3, 2), (4, 2)]


async def test_without_a_cold_start_only_the_first_goes_live(store: Store, settings: Settings) -> None:
    """There has to be something to compare with, so the very first policy serves."""
    learning = Learning(store, settings, cold_start_episodes=0)
    await learning.learn(10)
    await learning.learn(10)
    head = await store.read_head()
    assert (head.seq, head.live) == (2, 1)


async def test_a_canary_keeps_live_even_in_the_cold_start(store: Store, settings: Settings) -> None:
    """What a person compares with live is compared with something that stays."""
    learning = Learning(store, settings)
    await learning.learn(10)
    await store.promote(1, request="r", stage=Stage.CANARY, share=0.1)
    await learning.learn(10)
    assert (await store.read_head()).live == 1
    await store.rollback(request="s", stage=Stage.CANARY)
    await learning.learn(10)
    head = await store.read_head()
    assert head.live == head.seq > 1


async def test_a_long_log_is_read_to_its_end_before_live_stays(store: Store, settings: Settings) -> None:
    """Who begins with a long log publishes live until it is level for the first time, and never again for a lag."""
    learning = Learning(store, settings, cold_start_episodes=0)
    lives = []
    for level in (False, False, True, False):
        await learning.learn(10, level=level)
        lives.append((await store.read_head()).live)
    assert lives == [1, 2, 2, 2]
    late = Learning(store, settings, cold_start_episodes=0)  # a worker that joins with a lag, where something is live
    late.shard.feed(LOG[:45])
    await late.learn(5, level=False)
    assert (await store.read_head()).live == 2


async def test_while_a_canary_is_tried_candidates_are_rare(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody needs the next candidate while one is tried: it waits, so that the audit does not fill with them."""
    learning = Learning(store, settings, cold_start_episodes=0)
    await learning.learn(10)
    await learning.learn(10)
    await store.promote(2, request="r", stage=Stage.CANARY, share=0.1)
    await learning.learn(10)
    assert (await store.read_head()).seq == 2
    await learning.publisher.publish({0: Taught.of(learning.shard)}, at_once=True)  # the worker ends
    assert (await store.read_head()).seq == 3
    monkeypatch.setattr("worker.publisher._CANDIDATE_SECONDS", 0.0)
    await learning.learn(10)
    head = await store.read_head()
    assert (head.seq, head.live, head.canary) == (4, 1, 2)


@pytest.mark.parametrize("mode", ["gate", "direct"])
async def test_a_pin_is_kept(store: Store, settings: Settings, mode: str) -> None:
    """In neither mode does anything replace a version that is pinned."""
    learning = Learning(store, settings, mode=mode)
    await learning.learn(10)
    await store.promote(1, request="r", pin=Pin.PIN)
    await learning.learn(10)
    head = await store.read_head()
    assert (head.seq, head.live) == (2, 1)


async def test_direct_mode_holds_back_what_is_plainly_bad(store: Store, settings: Settings, logged: Logged) -> None:
    """While something speaks against new policies they are stored only, which is said once; then they go live again."""
    learning = Learning(store, settings, mode="direct", cold_start_episodes=0)
    await learning.learn(10)
    learning.complaint = "worth too little"
    await learning.learn(10)
    await learning.learn(10)
    assert (await store.read_head()).live == 1
    learning.complaint = ""
    await learning.learn(10)
    assert (await store.read_head()).live == 4
    [line] = logged.of("snapshot.held_back")
    assert (line["version"], line["live"], line["reason"]) == (2, 1, "worth too little")


async def test_direct_mode_holds_nothing_back_in_the_cold_start(store: Store, settings: Settings) -> None:
    """As long as little is known, an estimate is no reason to keep users from what was learned."""
    learning = Learning(store, settings, mode="direct")
    await learning.learn(10)
    learning.complaint = "worth too little"
    await learning.learn(10)
    assert (await store.read_head()).live == 2
