"""A policy from a file into Redis: checked, given the next version number, and published."""

from __future__ import annotations

import getpass
import socket
from dataclasses import replace

import msgspec
from msgspec import Struct

from alice_rl.errors import DependencyError, SnapshotError
from alice_rl.snapshot.format import Snapshot, digest, pack, unpack
from alice_rl.snapshot.head import Head
from alice_rl.snapshot.records import Applied, Publication, Published
from alice_rl.snapshot.store import Store
from worker.cli.inspector import inspecting
from worker.settings import Settings

__all__ = ["Imported", "import_policy", "operator"]

_ATTEMPTS = 20  # a worker that publishes every second takes a version number away now and then


class Imported(Struct, frozen=True, kw_only=True):
    """What became of an import."""

    version: int
    digest: str
    live: bool
    pinned: int | None
    source_version: int
    source_digest: str
    candidate: bool

    @property
    def words(self) -> str:
        """The same in words."""
        if self.live:
            return "live"
        return "stored as a candidate" if self.candidate else f"stored, not live: version {self.pinned} is pinned"


async def import_policy(settings: Settings, blob: bytes, name: str, *, live: bool, why: str) -> Imported:
    """Store a policy as a new version.

    Parameters
    ----------
    settings : Settings
    blob : bytes
        The file.
    name : str
        The file's name, for the audit.
    live : bool
        Make it live, unless a version is pinned.
    why : str
        Reason, for the audit.

    Raises
    ------
    SnapshotError
        The file is refused, it belongs to another lineage, or Redis would not take it.
    ConfigError
        The configured lineage is not the one that Redis knows by its name.
    """
    snapshot = unpack(blob, settings.snapshot.signing_key.encode() or None)
    _check_lineage(snapshot, settings)
    source = {"file": name, "version": snapshot.manifest.version, "digest": digest(blob)}
    async with inspecting(settings, Store) as store:
        lineage = await _lineage(store, settings)
        for _ in range(_ATTEMPTS):
            head = await store.read_head()
            packed = pack(_renumbered(snapshot, head.seq + 1), settings.snapshot.signing_key.encode() or None)
            published = await store.publish(
                Publication(
                    expected_seq=head.seq,
                    lineage=lineage,
                    # Not the file's own: the head's offsets say how far a worker has published, and must not move.
                    offsets=head.offsets if head.lineage == lineage else {},
                    digest=digest(packed),
                    blob=packed,
                    candidate=not live,
                    who=operator(),
                    why=why or f"imported from {name}",
                    detail=msgspec.json.encode({"imported": source}).decode(),
                )
            )
            if published.applied.done:
                return _imported(published, head, snapshot, blob, packed, live=live)
            if published.applied is not Applied.CAS:
                raise SnapshotError(
                    f"Redis did not take the policy: {published.applied.value} {published.note}".rstrip(),
                    code="publish_refused",
                    hint="the active lineage is not the configured one" if published.applied is Applied.LINEAGE else "",
                )
    raise DependencyError("other publishers were quicker every time", code="publish_contended", hint="try again")


def _imported(
    published: Published, head: Head, snapshot: Snapshot, blob: bytes, packed: bytes, *, live: bool
) -> Imported:
    return Imported(
        version=published.version,
        digest=digest(packed),
        live=published.live,
        pinned=head.pinned,
        source_version=snapshot.manifest.version,
        source_digest=digest(blob),
        candidate=not live,
    )


def _check_lineage(snapshot: Snapshot, settings: Settings) -> None:
    manifest, lineage = snapshot.manifest, settings.lineage
    if manifest.lineage_fingerprint == lineage.fingerprint:
        return
    differing = [
        slot for slot in ("route", "tool", "cache") if getattr(manifest.arms, slot) != getattr(lineage.arms, slot)
    ]
    reasons = [f"{slot}.arms" for slot in differing]
    reasons += ["features"] if manifest.features_fingerprint != lineage.features.fingerprint else []
    where = ", ".join(reasons) or "reward bounds, join or buckets"
    raise SnapshotError(
        f"the policy belongs to another lineage: it differs in {where}",
        code="lineage_mismatch",
        hint="import it with the configuration that it was learned under",
    )


async def _lineage(store: Store, settings: Settings) -> str:
    """The name to publish under; into an empty Redis the configured lineage is declared first, as a worker would."""
    name, lineage = settings.policy.lineage, settings.lineage
    structure = name, lineage.fingerprint, lineage.to_json()
    if await store.declare_lineage(*structure, extend=False):
        _, change = await store.lineage_change(*structure)
        raise change.refusal(name, await store.replay_name(name, lineage.fingerprint))
    await store.activate_lineage(name, only_if_none=True)
    return name


def _renumbered(snapshot: Snapshot, version: int) -> Snapshot:
    """The same policy under another version."""
    return replace(snapshot, manifest=msgspec.structs.replace(snapshot.manifest, version=version))


def operator() -> str:
    """Who gives the command, for the audit: user and host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
