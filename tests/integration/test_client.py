"""The client against a real Redis: hot reload, outages, canaries."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from alice_rl.events import Context, Decision
from alice_rl.feature_spec import FeatureSettings
from alice_rl.lineage import SLOTS
from alice_rl.snapshot import Policy, PolicyClient, digest, pack, unpack
from alice_rl.snapshot.connection import RedisSettings
from alice_rl.snapshot.reader import HeadReader
from alice_rl.snapshot.records import Applied, Publication, Stage
from alice_rl.snapshot.store import Store
from tests.services import RedisServer, unique_name
from tests.snapshots import make_snapshot

CONTEXT = {"intent": "weather", "lang": "sv", "guardian_state": "NORMAL", "text_len": 34, "confidence": 0.91}


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "the condition did not come about"
        time.sleep(0.01)


def serves(client: PolicyClient, version: int) -> bool:
    """Whether the client decides by this version."""
    return client.version == version


class Publisher:
    """The worker's side of one policy, a connection for each step."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.policy = unique_name("policy")
        self.folded = 0

    def _run(self, work: Callable[[Store], Any]) -> Any:
        async def main() -> Any:
            store = Store.from_settings(RedisSettings(url=self.url), self.policy)
            try:
                await store.activate_lineage("main")
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(main())

    def publish(self, seed: int, *, candidate: bool = False, features: FeatureSettings | None = None) -> str:
        """Publish the snapshot of `seed` under the next version; its digest."""
        self.folded += 1

        async def work(store: Store) -> str:
            seq = (await store.read_head()).seq
            snapshot = make_snapshot(
                seed, features=features, policy=self.policy, version=seq + 1, offsets={0: self.folded}
            )
            blob = pack(snapshot)
            done = await store.publish(
                Publication(
                    expected_seq=seq,
                    lineage="main",
                    offsets={0: self.folded},
                    digest=digest(blob),
                    blob=blob,
                    candidate=candidate,
                )
            )
            assert done.applied is Applied.OK
            return digest(blob)

        told: str = self._run(work)
        return told

    def promote(self, version: int, stage: Stage, share: float = 0.0) -> None:
        """Make a version live or the canary."""
        self._run(lambda store: store.promote(version, request=unique_name(), stage=stage, share=share))

    def rollback(self) -> None:
        """Take the live version back."""
        self._run(lambda store: store.rollback(request=unique_name()))

    def policies(self) -> dict[int, Policy]:
        """Every stored version, compiled."""

        async def work(store: Store) -> dict[int, bytes | None]:
            return {found.version: await store.get_snapshot(found.version) for found in await store.list_snapshots()}

        return {version: Policy(unpack(blob)) for version, blob in self._run(work).items()}


@pytest.fixture
def publisher(redis_url: str) -> Publisher:
    return Publisher(redis_url)


def test_a_published_policy_is_served_without_a_restart(publisher: Publisher) -> None:
    """The rules decide until the first publish; each publish, and a rollback, reaches the client by itself."""
    with PolicyClient.from_url(publisher.url, publisher.policy, poll_seconds=0.1) as client:
        assert client.decide(CONTEXT).policy.stage == "fallback"
        first = publisher.publish(1)
        assert client.wait_ready(20)
        assert (client.version, client.digest) == (1, first)
        second = publisher.publish(2)
        until(lambda: client.version == 2)
        decision = client.decide(CONTEXT)
        assert (decision.policy.stage, decision.policy.digest) == ("live", second)
        publisher.rollback()
        until(lambda: client.version == 1)
        assert client.stats()["seq"] == 2


def test_a_policy_with_more_numerics_is_served_without_a_restart(publisher: Publisher) -> None:
    """The client builds its features from the policy's own manifest: an extended lineage reaches it like any policy."""
    wide = FeatureSettings()
    publisher.publish(1, features=FeatureSettings(numerics=wide.numerics[:2]))
    with PolicyClient.from_url(publisher.url, publisher.policy, poll_seconds=0.1) as client:
        assert client.wait_ready(20)
        client.decide(CONTEXT)
        digest_of_wide = publisher.publish(2, features=wide)
        until(lambda: client.version == 2)
        decision = client.decide(CONTEXT)
        assert (decision.policy.stage, decision.policy.digest) == ("live", digest_of_wide)
        context = msgspec.convert(decision.to_event()["context"], Context)
        expected = publisher.policies()[2].distribution("route", context)
        assert decision.route is not None
        assert decision.route.p == pytest.approx(expected[decision.route.arm])


def test_a_hint_brings_a_policy_before_the_next_poll(publisher: Publisher) -> None:
    """With a minute between polls, pub/sub wakes the client."""
    publisher.publish(1)
    with PolicyClient.from_url(publisher.url, publisher.policy, poll_seconds=60.0) as client:
        assert client.wait_ready(20)
        # A hint from before the subscription is lost, as pub/sub has it: publish until one arrives.
        give_up_at = time.monotonic() + 20.0
        while client.version == 1 and time.monotonic() < give_up_at:
            publisher.publish(2)
            time.sleep(0.1)
        assert client.version is not None
        assert client.version > 1


def test_polling_alone_brings_a_policy(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pub/sub is a black hole, the poll finds the new policy."""

    def wait_in_vain(self: HeadReader, timeout_seconds: float) -> bool:
        time.sleep(timeout_seconds)
        return False

    monkeypatch.setattr(HeadReader, "wait_for_hint", wait_in_vain)
    with PolicyClient.from_url(publisher.url, publisher.policy, poll_seconds=0.1) as client:
        publisher.publish(1)
        assert client.wait_ready(20)
        publisher.publish(2)
        until(lambda: client.version == 2)


def test_a_canary_serves_its_share_with_exact_propensities(publisher: Publisher) -> None:
    """Every decision quotes both policies' probabilities of its arm, to the last bit, and the split is the share."""
    publisher.publish(1)
    publisher.publish(2, candidate=True)
    publisher.promote(2, Stage.CANARY, 0.3)
    n = 4000
    with PolicyClient.from_url(publisher.url, publisher.policy, poll_seconds=0.1) as client:
        assert client.wait_ready(20)
        decisions = [client.decide(CONTEXT, decision_id=f"d-{i}") for i in range(n)]
        publisher.promote(2, Stage.PROD)
        until(lambda: client.version == 2 and client.stats()["canary_version"] is None)
    stages = Counter(decision.policy.stage for decision in decisions)
    assert abs(stages["canary"] / n - 0.3) < 5 * (0.3 * 0.7 / n) ** 0.5
    assert stages["live"] + stages["canary"] == n
    policies = publisher.policies()
    for decision in decisions[:500]:
        for slot in SLOTS:
            choice = getattr(decision, slot)
            p_live, p_canary = (policies[v].distribution(slot, decision.context)[choice.arm] for v in (1, 2))
            assert (choice.p_live, choice.p_canary) == (p_live, p_canary)
            assert choice.p == (p_canary if decision.policy.stage == "canary" else p_live)


def test_an_outage_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    """Redis is killed: the last good policy serves; Redis is back: the next one is adopted; each is logged once."""
    with caplog.at_level("INFO", logger="alice_rl"), RedisServer(appendonly=True, appendfsync="always") as server:
        publisher = Publisher(server.url)
        publisher.publish(1)
        with PolicyClient.from_url(server.url, publisher.policy, poll_seconds=0.1, timeout_seconds=0.3) as client:
            assert client.wait_ready(20)
            server.kill()
            until(lambda: client.stats()["breaker"] != "closed")
            assert client.decide(CONTEXT).policy.version == 1
            server.restart()
            publisher.publish(2)
            until(lambda: client.version == 2)
            assert client.stats()["breaker"] == "closed"
    lines = [record.getMessage().split()[0] for record in caplog.records]
    assert lines.count("breaker.opened") == lines.count("breaker.closed") == 1


def test_a_frozen_redis_does_not_hold_up_decisions() -> None:
    """While Redis accepts connections and never answers, deciding stays a matter of microseconds."""
    with RedisServer() as server:
        publisher = Publisher(server.url)
        publisher.publish(1)
        with PolicyClient.from_url(server.url, publisher.policy, poll_seconds=0.05, timeout_seconds=0.2) as client:
            assert client.wait_ready(20)
            server.pause()
            try:
                until(lambda: client.stats()["breaker"] != "closed")
                started = time.monotonic()
                for _ in range(1000):
                    assert client.decide(CONTEXT).policy.version == 1
                assert time.monotonic() - started < 2.0
            finally:
                server.resume()
            until(lambda: client.stats()["breaker"] == "closed")


def test_a_redis_that_is_away_at_the_start_is_awaited() -> None:
    """The client starts without Redis, decides by the rules, and adopts once Redis is there."""
    with RedisServer(appendonly=True, appendfsync="always") as server:
        publisher = Publisher(server.url)
        publisher.publish(1)
        server.kill()
        with PolicyClient.from_url(server.url, publisher.policy, poll_seconds=0.05, timeout_seconds=0.3) as client:
            assert client.decide(CONTEXT).policy.stage == "fallback"
            server.restart()
            assert client.wait_ready(30)


def test_threads_decide_while_policies_are_adopted(publisher: Publisher) -> None:
    """Under concurrent publishing every decision carries one version's stamp and that version's probabilities."""
    publisher.publish(1)
    decisions: list[list[Decision]] = [[], [], []]
    with PolicyClient.from_url(publisher.url, publisher.policy, poll_seconds=0.05) as client:
        assert client.wait_ready(20)
        done = threading.Event()

        def decide(mine: list[Decision]) -> None:
            while not done.is_set():
                mine.append(client.decide(CONTEXT | {"text_len": len(mine) % 50}))

        threads = [threading.Thread(target=decide, args=(mine,)) for mine in decisions]
        for thread in threads:
            thread.start()
        for seed in range(2, 7):
            publisher.publish(seed)
            until(partial(serves, client, seed))
        done.set()
        for thread in threads:
            thread.join()
    policies = publisher.policies()
    sampled = [decision for mine in decisions for decision in mine[:: max(1, len(mine) // 200)]]
    for decision in sampled:
        for slot in SLOTS:
            choice = getattr(decision, slot)
            policy = policies[decision.policy.version or 0]
            assert choice.p == policy.distribution(slot, decision.context)[choice.arm]
