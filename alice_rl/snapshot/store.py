"""The worker's side of Redis: shard checkpoints in, snapshots out, each step one idempotent script."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Self

import msgspec
import redis.asyncio

from alice_rl.snapshot import keys, readiness
from alice_rl.snapshot.canaries import CanaryStore
from alice_rl.snapshot.connection import RedisSettings, address, connect_async, reaching
from alice_rl.snapshot.head import Head, encode_offsets, optional_version
from alice_rl.snapshot.records import (
    Applied,
    HistoryEntry,
    Moved,
    Pin,
    Publication,
    Published,
    Stage,
    StoredSnapshot,
)

__all__ = ["Retention", "Store"]


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of the past is kept.

    Attributes
    ----------
    versions_max : int
        Newest versions kept without expiry, besides live, previous, canary and pinned.
    expire_seconds : int
        Life of a version from the moment nothing keeps it any more.
    history_entries_max : int
        Length of the audit; Redis trims it to about this. The scripts find a repeated promotion or rollback
        among its last 64.
    """

    versions_max: int = 50
    expire_seconds: int = 3600
    history_entries_max: int = 20_000


class Store(CanaryStore):
    """One policy's state in Redis.

    Parameters
    ----------
    client : redis.asyncio.Redis
        Without `decode_responses`.
    policy : str
        Name of the policy.
    retention : Retention
        How much of the past a publish keeps.
    where : str
        Address for error messages, without a password.

    Notes
    -----
    Every method raises `DependencyError` when Redis is away or refuses for a reason in its
    set-up; nothing else is caught. Refusals of the protocol are results (`Applied`), not errors.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis,
        policy: str = "alice",
        *,
        retention: Retention | None = None,
        where: str = "redis",
    ) -> None:
        super().__init__(client, policy, where)
        self._retention = retention if retention is not None else Retention()

    @classmethod
    def from_settings(
        cls, settings: RedisSettings, policy: str = "alice", *, retention: Retention | None = None
    ) -> Self:
        """A store on its own client; nothing is sent yet. Raises `ConfigError` for an unusable URL."""
        return cls(connect_async(settings), policy, retention=retention, where=address(settings.url))

    async def close(self) -> None:
        """Give the connections back; the store is not used afterwards."""
        await self._redis.aclose()

    async def ensure_ready(self) -> None:
        """Check once that Redis answers and never evicts; see `readiness.ensure_ready`."""
        await readiness.ensure_ready(self._redis, self._where)

    async def wait_ready(self, timeout_seconds: float) -> None:
        """Wait, at most so long, until `ensure_ready` passes; see `readiness.wait_ready`."""
        await readiness.wait_ready(self._redis, self._where, timeout_seconds)

    async def read_head(self) -> Head:
        """The head and Redis's clock; an empty `Head` before the first publish."""
        return Head.from_reply(await self._run("read_head", [keys.head(self._policy)], []))

    async def publish(self, publication: Publication) -> Published:
        """Store a snapshot as the next version; live at once unless it is a candidate or a version is pinned.

        After `CAS` the caller reads the head again, packs for the new version and publishes anew.
        """
        status, version, live, note = await self._run(
            "publish",
            [
                keys.head(self._policy),
                keys.meta(self._policy),
                keys.snapshots(self._policy),
                keys.digests(self._policy),
                keys.history(self._policy),
                keys.snapshot_prefix(self._policy),
            ],
            [
                publication.expected_seq,
                uuid.uuid4().hex,
                publication.lineage,
                encode_offsets(publication.offsets),
                publication.digest,
                publication.blob,
                "candidate" if publication.candidate else "live",
                self._retention.versions_max,
                self._retention.expire_seconds,
                self._retention.history_entries_max,
                keys.events(self._policy),
                publication.who,
                publication.why,
                publication.detail,
                publication.takes_over_from,
            ],
        )
        return Published(Applied(status.decode()), int(version), live == b"1", note.decode())

    async def promote(
        self,
        version: int,
        *,
        request: str,
        stage: Stage = Stage.PROD,
        share: float = 0.0,
        expected_live: int | None = None,
        expected: Head | None = None,
        pin: Pin = Pin.KEEP,
        who: str = "",
        why: str = "",
        detail: str = "",
    ) -> Moved:
        """Make a stored version live, or the canary; promoting the live version sets or lifts its pin.

        Parameters
        ----------
        request : str
            Unique per wish, the same on a retry.
        share : float
            Share of requests for a canary, in [0, 1]; 0 is a shadow.
        expected_live : int, optional
            Refuse with `CAS` when another version is live.
        expected : Head, optional
            Refuse with `CAS` when live, canary or pin are not as they were in this head.
        """
        if not request:
            raise ValueError("a promotion needs a request id")
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"share must lie in [0, 1], not {share}")
        reply = await self._run(
            "promote",
            [
                keys.head(self._policy),
                keys.snapshot(self._policy, version),
                keys.digests(self._policy),
                keys.history(self._policy),
            ],
            [
                request,
                version,
                stage.value,
                repr(float(share)),
                "" if expected_live is None else expected_live,
                pin.value,
                self._retention.history_entries_max,
                keys.events(self._policy),
                who,
                why,
                detail,
                "" if expected is None else _standing(expected),
            ],
        )
        return _moved(reply)

    async def rollback(
        self,
        *,
        request: str,
        stage: Stage = Stage.PROD,
        version: int | None = None,
        to: int | None = None,
        who: str = "",
        why: str = "",
        detail: str = "",
    ) -> Moved:
        """Take live back and pin it there (the canary goes too), or withdraw the canary alone.

        Parameters
        ----------
        request : str
            Unique per wish, the same on a retry.
        version : int, optional
            The version to take back; refuse with `CAS` when another one is live (or the canary).
        to : int, optional
            Where production goes back to; by default the head's `previous`.
        """
        if not request:
            raise ValueError("a rollback needs a request id")
        reply = await self._run(
            "rollback",
            [
                keys.head(self._policy),
                keys.digests(self._policy),
                keys.history(self._policy),
                keys.snapshot_prefix(self._policy),
            ],
            [
                request,
                stage.value,
                "" if version is None else version,
                "" if to is None else to,
                self._retention.history_entries_max,
                keys.events(self._policy),
                who,
                why,
                detail,
            ],
        )
        return _moved(reply)

    async def get_snapshot(self, version: int) -> bytes | None:
        """The bytes of one snapshot, None when it expired or never was."""
        with reaching(self._where):
            blob: bytes | None = await self._redis.get(keys.snapshot(self._policy, version))
        return blob

    async def snapshot_exists(self, version: int) -> bool:
        """Whether a version can still be read."""
        with reaching(self._where):
            return bool(await self._redis.exists(keys.snapshot(self._policy, version)))

    async def list_snapshots(self) -> list[StoredSnapshot]:
        """Every version that can still be read, oldest first."""
        with reaching(self._where):
            scored = await self._redis.zrange(keys.snapshots(self._policy), 0, -1, withscores=True)
            digests = await self._redis.hgetall(keys.digests(self._policy))
            pipeline = self._redis.pipeline(transaction=False)
            for name, _ in scored:
                key = keys.snapshot(self._policy, int(name))
                pipeline.strlen(key)
                pipeline.pttl(key)
            answers = await pipeline.execute()
        stored = [
            StoredSnapshot(
                int(name), int(score), digests.get(name, b"").decode(), size, None if ttl < 0 else ttl / 1000
            )
            for (name, score), size, ttl in zip(scored, answers[::2], answers[1::2], strict=True)
            if ttl != -2  # expired, and not yet swept from the list
        ]
        return sorted(stored, key=lambda snapshot: snapshot.version)

    async def history(self, count_max: int = 100, *, until: str = "+") -> list[HistoryEntry]:
        """The newest entries of the audit, newest first; with `until` from the entry of that id backwards."""
        with reaching(self._where):
            entries = await self._redis.xrevrange(keys.history(self._policy), max=until, count=count_max)
        return [_history_entry(entry_id, fields) for entry_id, fields in entries]


def _standing(head: Head) -> str:
    """Live, canary and pin as the script `promote` puts them together."""
    return " ".join("" if version is None else str(version) for version in (head.live, head.canary, head.pinned))


def _moved(reply: list[bytes]) -> Moved:
    status, live, canary = reply
    return Moved(Applied(status.decode()), optional_version(live), optional_version(canary))


def _history_entry(entry_id: bytes, fields: Mapping[bytes, bytes]) -> HistoryEntry:
    texts = {name.decode(): value.decode() for name, value in fields.items()}
    identifier = entry_id.decode()
    return HistoryEntry(identifier, int(identifier.partition("-")[0]), texts.pop("kind"), texts)
