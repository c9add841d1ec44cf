"""Extending a lineage: one step, repeated without harm, after which the configuration of before is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alice_rl.errors import ConfigError
from alice_rl.lineage import Arms, Lineage
from alice_rl.snapshot import keys
from alice_rl.snapshot.records import Applied
from alice_rl.snapshot.store import Store
from tests.integration.store.steps import change, claim, save, state

WIDE = Lineage()
NARROW = WIDE.with_numerics(2)


def structure(lineage: Lineage, name: str = "main") -> tuple[str, str, bytes]:
    """What a store is told of a lineage."""
    return name, lineage.fingerprint, lineage.to_json()


async def upgrade(client: Any, before: Lineage, after: Lineage) -> bytes:
    """Run the script as the store does; its status."""
    script = Store(client)._scripts["upgrade"]
    reply = await script(
        keys=[keys.lineage_config("alice", "main")], args=[before.fingerprint, after.fingerprint, after.to_json()]
    )
    return bytes(reply[0])


async def test_an_upgrade_repeated_writes_nothing(client: Any) -> None:
    """The second time the answer is ALREADY, and every byte in Redis is as it was."""
    store = Store(client)
    await store.declare_lineage(*structure(NARROW))
    assert await upgrade(client, NARROW, WIDE) == b"OK"
    assert await store.lineage_config("main") == structure(WIDE)[1:]
    before = await state(client)
    assert await upgrade(client, NARROW, WIDE) == b"ALREADY"
    assert await state(client) == before


async def test_an_upgrade_lands_on_what_was_compared_or_not_at_all(client: Any) -> None:
    """Over another structure, one whose fingerprint begins alike, or none, it writes nothing."""
    assert await upgrade(client, NARROW, WIDE) == b"CAS"
    assert await state(client) == {}
    key = keys.lineage_config("alice", "main")
    for text in (b"f1 {}", NARROW.fingerprint.encode() + b"0 {}", NARROW.fingerprint.encode()):
        await client.set(key, text)
        assert await upgrade(client, NARROW, WIDE) == b"CAS"
        assert await client.get(key) == text


async def test_declaring_an_extension_extends(client: Any) -> None:
    """The numerics that came are told, once; without `extend` they are told and nothing is written."""
    store = Store(client)
    assert await store.declare_lineage(*structure(NARROW)) == ()
    for _ in range(2):
        told = await store.declare_lineage(*structure(WIDE), extend=False)
        assert told == ("recent_latency_ms", "recent_cost_usd")
        assert await store.lineage_config("main") == structure(NARROW)[1:]
    assert await store.declare_lineage(*structure(WIDE)) == told
    assert await store.declare_lineage(*structure(WIDE)) == ()
    assert await store.lineage_config("main") == structure(WIDE)[1:]


async def test_the_configuration_of_before_is_refused(client: Any) -> None:
    """After an upgrade a checkpoint of the old fingerprint gets LINEAGE, and a start is told what is missing."""
    store = Store(client)
    await store.declare_lineage(*structure(NARROW))
    token = await claim(store)
    assert await save(store, token, change("c1", None, 10), NARROW.fingerprint) is Applied.OK
    await store.declare_lineage(*structure(WIDE))
    before = await state(client)
    assert await save(store, token, change("c2", 10, 20), NARROW.fingerprint) is Applied.LINEAGE
    with pytest.raises(ConfigError, match="recent_latency_ms, recent_cost_usd") as caught:
        await store.declare_lineage(*structure(NARROW))
    assert caught.value.code == "lineage_extended"
    assert await state(client) == before
    assert await save(store, token, change("c2", 10, 20), WIDE.fingerprint) is Applied.OK


async def test_two_workers_extend_at_once(client: Any) -> None:
    """The same extension is written by one of them; of a shorter and a longer one the longer stands."""
    store, other = Store(client), Store(client)
    await store.declare_lineage(*structure(NARROW))
    middle = structure(WIDE.with_numerics(3))
    assert sorted(await asyncio.gather(upgrade(client, NARROW, WIDE), upgrade(client, NARROW, WIDE))) == [
        b"ALREADY",
        b"OK",
    ]
    await client.delete(keys.lineage_config("alice", "main"))
    await store.declare_lineage(*structure(NARROW))
    results = await asyncio.gather(
        store.declare_lineage(*middle), other.declare_lineage(*structure(WIDE)), return_exceptions=True
    )
    assert await store.lineage_config("main") == structure(WIDE)[1:]
    assert not isinstance(results[1], BaseException)
    assert not isinstance(results[0], BaseException) or getattr(results[0], "code", "") == "lineage_extended"


async def test_an_upgrade_that_was_overtaken_is_compared_anew(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody extends between the comparison and the write: the write is refused, and tried on what stands then."""
    store = Store(client)
    await store.declare_lineage(*structure(NARROW))
    compared = store.lineage_change

    async def overtaken(*arguments: Any) -> Any:
        found = await compared(*arguments)
        if found[0] == NARROW.fingerprint:
            assert await upgrade(client, NARROW, WIDE.with_numerics(3)) == b"OK"
        return found

    monkeypatch.setattr(store, "lineage_change", overtaken)
    assert await store.declare_lineage(*structure(WIDE)) == ("recent_cost_usd",)


async def test_another_structure_is_refused_with_a_free_name(client: Any) -> None:
    """The hint names a lineage that does not exist yet, or one that was begun with this very configuration."""
    store = Store(client)
    await store.declare_lineage(*structure(NARROW))
    arms = Lineage(arms=Arms(tool=("none", "maps")))
    with pytest.raises(ConfigError, match=r'tool\.arms: \+"maps"') as caught:
        await store.declare_lineage(*structure(arms))
    assert "replay --lineage main-2 " in caught.value.hint
    await store.declare_lineage(*structure(NARROW, "main-2"))
    with pytest.raises(ConfigError, match="replay --lineage main-3 "):
        await store.declare_lineage(*structure(arms))
    await store.declare_lineage(*structure(arms, "main-3"))
    with pytest.raises(ConfigError, match="replay --lineage main-3 "):
        await store.declare_lineage(*structure(arms))


async def test_one_structure_under_two_fingerprints_is_refused(client: Any) -> None:
    """Where the settings are equal and the fingerprints are not, the format has changed: that is another lineage."""
    store = Store(client)
    await store.declare_lineage("main", "f0", WIDE.to_json())
    with pytest.raises(ConfigError, match="older format") as caught:
        await store.declare_lineage(*structure(WIDE))
    assert caught.value.code == "lineage_mismatch"
