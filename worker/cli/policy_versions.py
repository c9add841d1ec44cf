"""Versions out of Redis and policies out of files."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from alice_rl.errors import AliceError, SnapshotError
from alice_rl.snapshot.format import digest
from alice_rl.snapshot.head import Head
from alice_rl.snapshot.store import Store
from worker.cli.inspector import inspecting
from worker.settings import Settings

__all__ = ["Listing", "VersionSeen", "read_file", "read_version", "version_of", "versions", "write_file"]

_FILE_BYTES_MAX = 1 << 30  # Redis holds no longer text; a wrong file is not to be read to its end


class VersionSeen(Struct, frozen=True, kw_only=True):
    """One stored version; `stage` is live, canary, previous or stored."""

    version: int
    digest: str
    size_bytes: int
    published_ms: int
    age_seconds: float
    stage: str
    pinned: bool
    expires_in_seconds: float | None


class Listing(Struct, frozen=True):
    """The stored versions of a policy, the newest first."""

    policy: str
    versions: list[VersionSeen]


async def versions(settings: Settings) -> Listing:
    """Every version that can still be read."""
    async with inspecting(settings, Store) as store:
        head, stored = await store.read_head(), await store.list_snapshots()
    seen = [
        VersionSeen(
            version=one.version,
            digest=one.digest,
            size_bytes=one.size_bytes,
            published_ms=one.published_ms,
            age_seconds=(head.now_ms - one.published_ms) / 1000,
            stage=_stage(head, one.version),
            pinned=head.pinned == one.version,
            expires_in_seconds=one.expires_in_seconds,
        )
        for one in reversed(stored)
    ]
    return Listing(settings.policy.name, seen)


def _stage(head: Head, version: int) -> str:
    named = {head.previous: "previous", head.canary: "canary", head.live: "live"}
    return named.get(version, "stored")


async def read_version(settings: Settings, name: str) -> bytes:
    """The bytes of a version, by its number or by what the head calls it.

    Raises
    ------
    SnapshotError
        There is none, or its bytes are not those that were published.
    """
    async with inspecting(settings, Store) as store:
        version = version_of(await store.read_head(), name)
        blob = await store.get_snapshot(version)
        published = {one.version: one.digest for one in await store.list_snapshots()}
    if blob is None:
        raise SnapshotError(
            f"version {version} is not stored, or not any more",
            code="version_missing",
            hint="alice-rl policy list shows what is there",
        )
    if published.get(version, digest(blob)) != digest(blob):
        raise SnapshotError(
            f"version {version} has digest {digest(blob)[:12]} but was published as {published[version][:12]}",
            code="corrupt",
            hint="its bytes were changed in Redis; take another version",
        )
    return blob


def version_of(head: Head, name: str) -> int:
    """The version that a number or one of the head's names means.

    Raises
    ------
    SnapshotError
        There is no version of that name.
    """
    if name.isdecimal():
        return int(name)
    version = {"live": head.live, "canary": head.canary, "previous": head.previous, "newest": head.seq or None}[name]
    if version is None:
        nothing = head.seq == 0
        raise SnapshotError(
            "nothing was published yet" if nothing else f"there is no {name} version",
            code="nothing_published" if nothing else "version_missing",
            hint="start alice-rl worker, or alice-rl policy import"
            if nothing
            else "alice-rl policy list shows what is there",
        )
    return version


def read_file(path: Path, bytes_max: int = _FILE_BYTES_MAX) -> bytes:
    """The bytes of a file.

    Raises
    ------
    AliceError
        It cannot be read.
    """
    try:
        if path.stat().st_size > bytes_max:
            raise SnapshotError(f"{path} is larger than {bytes_max >> 20} MiB", code="corrupt", hint="")
        return path.read_bytes()
    except OSError as error:
        raise AliceError(f"cannot read {path}: {error.strerror}", code="file_unreadable") from error


def write_file(path: Path, blob: bytes) -> None:
    """Write a file that is either complete or not there.

    Raises
    ------
    AliceError
        It cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with partial.open("xb") as file:
                file.write(blob)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise AliceError(
            f"cannot write {path}: {error.strerror}",
            code="file_unwritable",
            hint="does its folder exist, and may you write there?",
        ) from error
