"""What a canary costs the fold, and how soon a client is rid of one that was rolled back."""

from __future__ import annotations

import asyncio
import uuid
from time import perf_counter, sleep

import msgspec

from alice_rl.snapshot import PolicyClient
from alice_rl.snapshot.connection import RedisSettings
from alice_rl.snapshot.format import digest, pack
from alice_rl.snapshot.records import Publication, Stage
from alice_rl.snapshot.store import Store
from tests.benchmarks import workload
from tests.benchmarks.timing import Finding, Rates, Ratio, interleave, rate_of
from tests.logs import LogRecord, in_trial
from tests.services import RedisServer
from tests.snapshots import make_snapshot

__all__ = ["measure_canaries"]

_SECTION = "Canaries"
_CONTEXT = {"intent": "weather", "lang": "sv", "text_len": 34}


def measure_canaries(*, quick: bool) -> tuple[list[Finding], Rates]:
    """The fold of turns that are part of a trial, and rollbacks that a client hears of."""
    structure = workload.lineage()
    _, plain = workload.partition_log(8_000 if quick else 30_000)
    tried = [LogRecord(r.offset, r.timestamp, _in_trial(r.value or b"", r.offset)) for r in plain]
    contestants = {
        name: rate_of(lambda log=log: workload.fold(log, structure), len(log))  # type: ignore[misc]
        for name, log in (("plain", plain), ("tried", tried))
    }
    rates = interleave(contestants, 3 if quick else 7)
    with RedisServer() as server:
        seconds = asyncio.run(_rollbacks(server.url, 3 if quick else 15))
    name = "from a rollback until the client serves without the canary, seconds"
    return [
        Finding(_SECTION, "fold while a canary is tried / fold", rates.ratio("tried", "plain")),
        Finding(_SECTION, name, Ratio.of(seconds), "<= 1", "rollback_seconds"),
    ], rates


def _in_trial(value: bytes, offset: int) -> bytes:
    return msgspec.json.encode(in_trial(msgspec.json.decode(value), share=0.05, treated=offset % 20 == 0))


async def _rollbacks(url: str, rounds: int) -> list[float]:
    """Seconds between a rollback and the last decision by the canary, of a client with default settings."""
    store = Store.from_settings(RedisSettings(url=url), "alice")
    snapshot = make_snapshot()
    lineage = snapshot.manifest.lineage
    await store.declare_lineage(lineage, "fingerprint", b"{}")
    await store.activate_lineage(lineage)
    for version in (1, 2):
        blob = pack(make_snapshot(version))
        await store.publish(
            Publication(
                expected_seq=version - 1,
                lineage=lineage,
                offsets={0: version},
                digest=digest(blob),
                blob=blob,
                candidate=version == 2,
            )
        )
    taken = []
    with PolicyClient.from_url(url) as client:
        for _ in range(rounds):
            await store.promote(2, request=uuid.uuid4().hex, stage=Stage.CANARY, share=0.5)
            taken.append(await asyncio.to_thread(_rid_of, client, store, asyncio.get_running_loop()))
    await store.close()
    return taken


def _rid_of(client: PolicyClient, store: Store, loop: asyncio.AbstractEventLoop) -> float:
    """Roll back; seconds until the client has served by the canary for the last time."""
    while client.stats()["canary_version"] is None:
        sleep(0.001)
    rollback = store.rollback(request=uuid.uuid4().hex, stage=Stage.CANARY)
    asyncio.run_coroutine_threadsafe(rollback, loop).result()
    decided = perf_counter()
    while client.decide(_CONTEXT).policy.canary_digest is not None:
        pass
    return perf_counter() - decided
