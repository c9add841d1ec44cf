"""The snapshots that a head names, read once."""

from __future__ import annotations

from typing import NamedTuple

from alice_rl.errors import SnapshotError
from alice_rl.snapshot.format import Manifest, Snapshot, digest, unpack
from alice_rl.snapshot.head import Head
from alice_rl.snapshot.policy import Policy
from alice_rl.snapshot.store import Store

__all__ = ["Known", "KnownPolicies", "Standing"]


class Known(NamedTuple):
    """A stored policy."""

    version: int
    digest: str
    snapshot: Snapshot
    policy: Policy

    @property
    def manifest(self) -> Manifest:
        """What the snapshot says about itself."""
        return self.snapshot.manifest

    @property
    def episodes(self) -> int:
        """How much it has learned from."""
        return self.manifest.counts.get("episodes", 0)


class Standing(NamedTuple):
    """The policies of a head. A text in the place of one says why it cannot be read; None, that it is not needed."""

    live: Known | str | None
    canary: Known | str | None
    newest: Known | str | None


class KnownPolicies:
    """Reads the policies of heads, and keeps those of the last one.

    Parameters
    ----------
    store : Store
    signing_key : str
        With one, only what was signed with it is read.
    """

    def __init__(self, store: Store, signing_key: str) -> None:
        self._store = store
        self._key = signing_key.encode() or None
        self._kept: dict[tuple[str, int], Known | str] = {}

    async def of(self, head: Head, *, candidate: bool, window: bool) -> Standing:
        """The policies of a head that are needed.

        Parameters
        ----------
        head : Head
        candidate : bool
            Whether a canary may be opened: then the newest and the live one are, if they are not the same.
        window : bool
            Whether all are to be estimated.
        """
        newest = head.seq if (candidate or window) and head.seq not in (0, head.live) else None
        live = head.live if window or newest is not None else None
        standing = Standing(*[await self._read(head, version) for version in (live, head.canary, newest)])
        named = {(head.run_id, version) for version in (head.live, head.canary, head.seq) if version is not None}
        self._kept = {at: known for at, known in self._kept.items() if at in named}
        return standing

    async def _read(self, head: Head, version: int | None) -> Known | str | None:
        if version is None:
            return None
        expected = {head.live: head.live_digest, head.canary: head.canary_digest}.get(version)
        kept = self._kept.get((head.run_id, version))
        if isinstance(kept, Known) and expected in (None, kept.digest):
            return kept
        # What cannot be read is read again: its copy in Redis may be mended.
        found = self._unpacked(version, expected, await self._store.get_snapshot(version))
        self._kept[head.run_id, version] = found
        return found

    def _unpacked(self, version: int, expected: str | None, blob: bytes | None) -> Known | str:
        if blob is None:
            return f"the bytes of version {version} are gone from Redis"
        found = digest(blob)
        if expected not in (None, found):
            return f"version {version} does not have the digest that the head names"
        try:
            snapshot = unpack(blob, self._key)
            return Known(version, found, snapshot, Policy(snapshot))
        except SnapshotError as error:
            return f"version {version} cannot be read: {error.message}"
