"""Savepoints between Redis and files: what is refused, and what is told."""

from __future__ import annotations

import uuid
from pathlib import Path

import msgspec
from msgspec import Struct

from alice_rl.errors import AliceError, ConfigError
from alice_rl.snapshot.format import digest
from alice_rl.snapshot.savepoint import Savepoint, pack, unpack
from alice_rl.snapshot.savepoints import Living, SavepointStore
from alice_rl.snapshot.sealed_zip import has_signature
from worker.cli.inspector import inspecting
from worker.cli.policy_import import operator
from worker.cli.policy_versions import read_file, write_file
from worker.settings import Settings

__all__ = ["Facts", "Restored", "create_savepoint", "read_savepoint", "restore_savepoint"]

_FILE_BYTES_MAX = 1 << 36  # a lineage must fit into a Redis; a wrong file is not to be read to its end


class Facts(Struct, frozen=True, kw_only=True):
    """What a savepoint is.

    Attributes
    ----------
    digest : str
        SHA-256 of the file.
    signed : str
        "no"; "yes" for a signature that was checked; "unchecked" where no key is configured.
    active : bool
        Whether the lineage was the one that publishes; only then head, versions and history are there.
    partitions : dict of int to int
        Per partition, the next offset to fold.
    versions : list of int
    live : int or None
    history_entries : int
    warnings : list of str
        Where the file is not of what is configured here.
    """

    file: str
    size_bytes: int
    digest: str
    signed: str
    policy: str
    lineage: str
    fingerprint: str
    created_at_ms: int
    active: bool
    partitions: dict[int, int]
    versions: list[int]
    live: int | None
    history_entries: int
    warnings: list[str]


class Restored(Struct, frozen=True):
    """What a restore did: `replaced` says in words what lived there, empty for nothing."""

    savepoint: Facts
    replaced: list[str]

    def facts(self) -> dict[str, object]:
        """All of it as one level of names, for JSON."""
        return {**msgspec.to_builtins(self.savepoint, str_keys=True), "replaced": self.replaced}


async def create_savepoint(settings: Settings, file: Path, lineage: str | None, history_max: int) -> Facts:
    """Write a lineage, the configured one when none is named, to a file.

    Raises
    ------
    AliceError
        There is no such lineage, or the file cannot be written.
    DependencyError
        Redis is away, or has lost a part of the lineage.
    """
    async with inspecting(settings, SavepointStore) as store:
        savepoint = await store.save(lineage or settings.policy.lineage, history_max)
    data = pack(savepoint, _key(settings))
    write_file(file, data)
    return _facts(settings, file, savepoint, data)


def read_savepoint(settings: Settings, file: Path) -> tuple[Savepoint, Facts]:
    """A savepoint out of a file, every byte checked.

    Raises
    ------
    SnapshotError
        The file is refused; what is damaged is named.
    """
    data = read_file(file, _FILE_BYTES_MAX)
    savepoint = unpack(data, _key(settings))
    return savepoint, _facts(settings, file, savepoint, data)


async def restore_savepoint(settings: Settings, file: Path, *, force: bool, why: str) -> Restored:
    """Put a lineage back as a file holds it.

    Raises
    ------
    SnapshotError
        The file is refused.
    ConfigError
        It is of another policy than the configured one.
    AliceError
        Something lives there, and `force` was not given.
    DependencyError
        Redis is away, full, or may evict what it holds; nothing has changed then.
    """
    savepoint, facts = read_savepoint(settings, file)
    if savepoint.policy != settings.policy.name:
        raise ConfigError(
            f"{file} is of policy {savepoint.policy!r}, policy.name is {settings.policy.name!r}",
            code="policy_mismatch",
            hint=f"--set policy.name={savepoint.policy} restores it under its own name",
        )
    source = {"file": file.name, "digest": facts.digest, "created_at_ms": savepoint.created_at_ms}
    async with inspecting(settings, SavepointStore) as store:
        await store.ensure_ready()
        living = await store.living(savepoint)
        replaced = [] if living is None else _living_words(savepoint, living)
        if replaced and not force:
            raise _refused(replaced)
        applied = await store.restore(
            savepoint,
            request=uuid.uuid4().hex,
            force=force,
            who=operator(),
            why=why or f"restored from {file.name}",
            detail=msgspec.json.encode({"savepoint": source}).decode(),
        )
    if not applied.done:
        raise _refused(["something was written meanwhile: did a worker start?"])
    return Restored(facts, replaced)


def _refused(lives: list[str]) -> AliceError:
    return AliceError(
        f"nothing was restored, because this Redis is in use: {'; '.join(lives)}",
        code="lineage_lives",
        hint="keep it with alice-rl savepoint create, then restore with --force, which replaces it",
    )


def _living_words(savepoint: Savepoint, living: Living) -> list[str]:
    """What a restore would replace."""
    words = []
    if living.fingerprint is not None or living.partitions:
        partitions = ", ".join(map(str, living.partitions)) or "none yet"
        other = living.fingerprint not in (None, savepoint.fingerprint)
        structure = " of ANOTHER STRUCTURE" if other else ""
        words.append(f"lineage {savepoint.lineage!r}{structure} with partitions {partitions}")
    if living.workers:
        words.append(f"held by {', '.join(living.workers)}")
    if living.head.run_id:
        words.append(f"version {living.head.live} of lineage {living.head.lineage!r} is live")
    if savepoint.active and living.active_lineage not in (None, savepoint.lineage):
        words.append(f"lineage {living.active_lineage!r} is the active one")
    return words


def _facts(settings: Settings, file: Path, savepoint: Savepoint, data: bytes) -> Facts:
    key = _key(settings)
    return Facts(
        file=str(file),
        size_bytes=len(data),
        digest=digest(data),
        signed="no" if not has_signature(data) else "yes" if key else "unchecked",
        policy=savepoint.policy,
        lineage=savepoint.lineage,
        fingerprint=savepoint.fingerprint,
        created_at_ms=savepoint.created_at_ms,
        active=savepoint.active,
        partitions=savepoint.offsets,
        versions=[kept.version for kept in savepoint.versions],
        live=savepoint.live,
        history_entries=len(savepoint.history),
        warnings=_warnings(settings, savepoint),
    )


def _warnings(settings: Settings, savepoint: Savepoint) -> list[str]:
    """Where a savepoint is not of what is configured here."""
    warnings = []
    if savepoint.lineage != settings.policy.lineage:
        warnings.append(
            f"it is of lineage {savepoint.lineage!r}, and a worker here would learn {settings.policy.lineage!r}"
        )
    if savepoint.fingerprint != settings.lineage.fingerprint:
        warnings.append("a worker configured as here is refused: arms, features, bounds, join or buckets differ")
    return warnings


def _key(settings: Settings) -> bytes | None:
    return settings.snapshot.signing_key.encode() or None
