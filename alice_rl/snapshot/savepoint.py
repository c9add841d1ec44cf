"""A savepoint: one lineage, whole, as a value and as the bytes of a file; nothing here does I/O.

    manifest.json                     what the file is, and size and SHA-256 of every entry
    lineage.txt                       fingerprint, a space, and the configuration as JSON
    known.msgpack                     fields of `meta` that mark partitions as known
    shards/<partition>.msgpack        the HASH of a shard, field for field as Redis has it
    head.msgpack                      the head HASH
    snapshots/<version>.safetensors   the versions that were kept
    history.msgpack                   the newest of the audit, oldest first

The last three are there when the lineage was the active one. Who holds which partition is left out: that is over when a
savepoint is restored.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from alice_rl.snapshot.head import optional_version
from alice_rl.snapshot.records import ShardRecord
from alice_rl.snapshot.sealed_zip import MANIFEST, Checksum, pack_zip, refusal, unpack_zip

__all__ = ["FORMAT", "KeptVersion", "Savepoint", "pack", "unpack"]

FORMAT = 1
"""Version of the format that is written; all up to it are read."""

_CONFIG, _KNOWN, _HEAD, _HISTORY = "lineage.txt", "known.msgpack", "head.msgpack", "history.msgpack"
_Fields = dict[bytes, bytes]
_T = TypeVar("_T")


class KeptVersion(Struct, frozen=True):
    """A version with its bytes; `published_ms` by Redis's clock, ms since the epoch."""

    version: int
    published_ms: int
    digest: str
    blob: bytes


class Savepoint(Struct, frozen=True, kw_only=True):
    """One lineage as Redis held it.

    Attributes
    ----------
    policy, lineage : str
    created_at_ms : int
        Redis's clock, ms since the epoch.
    active : bool
        Whether this lineage was the one that publishes.
    config : bytes
        Fingerprint, a space, and the configuration as JSON.
    known : dict of bytes to bytes
        Fields of `meta` that mark this lineage's partitions as known.
    shards : dict of int to dict of bytes to bytes
        The HASH of every partition.
    head : dict of bytes to bytes
        Empty when the lineage was not active, or nothing was published yet.
    versions : tuple of KeptVersion
        Oldest first.
    history : tuple of (bytes, dict of bytes to bytes)
        Identifier and fields of the audit's newest entries, oldest first.
    """

    policy: str
    lineage: str
    created_at_ms: int
    active: bool
    config: bytes
    known: _Fields
    shards: dict[int, _Fields]
    head: _Fields = {}
    versions: tuple[KeptVersion, ...] = ()
    history: tuple[tuple[bytes, _Fields], ...] = ()

    @property
    def fingerprint(self) -> str:
        """The lineage's fingerprint."""
        return self.config.partition(b" ")[0].decode()

    @property
    def offsets(self) -> dict[int, int]:
        """As-of offsets: per partition, the next to fold."""
        return {partition: ShardRecord.from_hash(fields).next for partition, fields in sorted(self.shards.items())}

    @property
    def live(self) -> int | None:
        """The version that was live."""
        return optional_version(self.head.get(b"live"))


class _Listed(Struct, frozen=True):
    """A version, as the manifest lists it."""

    version: int
    published_ms: int
    digest: str


class _Manifest(Struct, frozen=True, kw_only=True):
    """What a savepoint says about itself."""

    format: int
    policy: str
    lineage: str
    fingerprint: str
    created_at_ms: int
    active: bool
    offsets: dict[int, int]
    live: int | None
    versions: tuple[_Listed, ...]
    entries: dict[str, Checksum]


def pack(savepoint: Savepoint, key: bytes | None = None) -> bytes:
    """The savepoint as the bytes of a zip; with a key they are signed. Equal savepoints have equal bytes."""
    entries = {_CONFIG: savepoint.config, _KNOWN: msgspec.msgpack.encode(savepoint.known)}
    for partition, fields in savepoint.shards.items():
        entries[_shard_name(partition)] = msgspec.msgpack.encode(fields)
    if savepoint.active:
        entries[_HEAD] = msgspec.msgpack.encode(savepoint.head)
        entries |= {_version_name(kept.version): kept.blob for kept in savepoint.versions}
        entries[_HISTORY] = msgspec.msgpack.encode(savepoint.history)
    manifest = _manifest(savepoint, {name: Checksum.of(content) for name, content in entries.items()})
    return pack_zip(msgspec.json.encode(manifest), entries, key)


def unpack(data: bytes, key: bytes | None = None) -> Savepoint:
    """The savepoint in the bytes, every one of them checked.

    Parameters
    ----------
    data : bytes
    key : bytes, optional
        Shared secret; with one, only what was signed with it is accepted.

    Raises
    ------
    SnapshotError
        With `code` one of corrupt, newer_format, unsigned, bad_signature; a damaged entry is named.
    """
    text, entries = unpack_zip(data, FORMAT, key)
    try:
        manifest = msgspec.json.decode(text, type=_Manifest)
    except msgspec.DecodeError as error:
        raise refusal(f"{MANIFEST} cannot be read: {error}") from None
    try:
        savepoint = _savepoint(manifest, entries)
        described = _manifest(savepoint, manifest.entries)
    except (KeyError, ValueError) as error:  # a field that a shard must have, or a number that is none
        raise refusal(f"the entries are not a savepoint's: {error!r}") from None
    if described != msgspec.structs.replace(manifest, format=FORMAT) or set(entries) != _names(savepoint):
        raise refusal(f"{MANIFEST} does not say what the entries hold")
    return savepoint


def _savepoint(manifest: _Manifest, entries: dict[str, bytes]) -> Savepoint:
    policy_wide: dict[str, Any] = {}
    if manifest.active:
        policy_wide = {
            "head": _decoded(entries, _HEAD, _Fields),
            "versions": tuple(
                KeptVersion(one.version, one.published_ms, one.digest, entries[_version_name(one.version)])
                for one in manifest.versions
            ),
            "history": _decoded(entries, _HISTORY, tuple[tuple[bytes, _Fields], ...]),
        }
    return Savepoint(
        policy=manifest.policy,
        lineage=manifest.lineage,
        created_at_ms=manifest.created_at_ms,
        active=manifest.active,
        config=entries[_CONFIG],
        known=_decoded(entries, _KNOWN, _Fields),
        shards={partition: _decoded(entries, _shard_name(partition), _Fields) for partition in manifest.offsets},
        **policy_wide,
    )


def _manifest(savepoint: Savepoint, entries: dict[str, Checksum]) -> _Manifest:
    return _Manifest(
        format=FORMAT,
        policy=savepoint.policy,
        lineage=savepoint.lineage,
        fingerprint=savepoint.fingerprint,
        created_at_ms=savepoint.created_at_ms,
        active=savepoint.active,
        offsets=savepoint.offsets,
        live=savepoint.live,
        versions=tuple(_Listed(kept.version, kept.published_ms, kept.digest) for kept in savepoint.versions),
        entries=entries,
    )


def _decoded(entries: dict[str, bytes], name: str, kind: type[_T] | Any) -> _T:
    try:
        decoded: _T = msgspec.msgpack.decode(entries[name], type=kind)
    except msgspec.DecodeError as error:
        raise refusal(f"entry {name} cannot be read: {error}") from None
    return decoded


def _names(savepoint: Savepoint) -> set[str]:
    """The entries that a savepoint has."""
    names = {_CONFIG, _KNOWN, *map(_shard_name, savepoint.shards)}
    if savepoint.active:
        names |= {_HEAD, _HISTORY, *(_version_name(kept.version) for kept in savepoint.versions)}
    return names


def _shard_name(partition: int) -> str:
    return f"shards/{partition}.msgpack"


def _version_name(version: int) -> str:
    return f"snapshots/{version}.safetensors"
