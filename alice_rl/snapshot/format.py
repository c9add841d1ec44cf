"""A policy as bytes: a `safetensors` file whose metadata holds one JSON manifest, sealed against every
flipped bit.

    8 bytes, little-endian    length of the header header, JSON              "__metadata__": {"manifest": ...,
    "sha256": ..., "signature": ...}, then each tensor's place tensors                   float64,
    little-endian

Any safetensors reader opens it, and nothing in it executes. The header is written in one canonical form (keys
in order, no spaces, ASCII), so that equal snapshots have equal bytes, and a header in any other form is
refused. `sha256` covers the manifest, the tensors and the signature; the signature, an HMAC-SHA256, covers
the manifest and the tensors.

References
----------
safetensors, "Format". RFC 2104, "HMAC".
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, fields
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors.numpy
from msgspec import Struct
from safetensors import SafetensorError

from alice_rl.errors import AliceError, SnapshotError
from alice_rl.snapshot.manifest import FORMAT, Manifest

__all__ = ["FORMAT", "Manifest", "Snapshot", "digest", "pack", "unpack"]

FloatArray = npt.NDArray[np.float64]
_LENGTH_BYTES = 8


@dataclass(frozen=True, eq=False, slots=True)
class Snapshot:
    """A policy: its manifest and its numbers, read-only.

    Attributes
    ----------
    manifest : Manifest
    route_theta : ndarray, shape (K, d)
        Coefficients, reward per unit of `x`.
    route_factor : ndarray, shape (K, d, d)
        `|route_factor[k] @ x|` is the confidence width for unit noise.
    route_alpha : ndarray, shape (K,)
        Multiplier of the width in the upper confidence bound.
    route_noise : ndarray, shape (K,)
        Variance of the reward around `theta.x`: `sqrt` of it times the width is the posterior's standard
        deviation.
    tool_a, tool_b : ndarray, shape (I+1, T)
        Beta posteriors per intent; the last row is for an intent that was never seen.
    cache_mean, cache_n : ndarray, shape (C+1, R)
        Mean reward and turns per query class and tier; the last row is for a class that was never seen.

    Notes
    -----
    Arrays that are writeable are copied, so that nobody can change a snapshot from outside.
    """

    manifest: Manifest
    route_theta: FloatArray
    route_factor: FloatArray
    route_alpha: FloatArray
    route_noise: FloatArray
    tool_a: FloatArray
    tool_b: FloatArray
    cache_mean: FloatArray
    cache_n: FloatArray

    def __post_init__(self) -> None:
        for name, array in self.tensors().items():
            copied = np.array if _is_writeable(array) else np.ascontiguousarray
            own = copied(array, dtype=np.float64)
            own.setflags(write=False)
            object.__setattr__(self, name, own)

    def tensors(self) -> dict[str, FloatArray]:
        """The arrays by name, in order of their names."""
        return {name: getattr(self, name) for name in sorted(_TENSORS)}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Snapshot):
            return NotImplemented
        pairs = zip(self.tensors().values(), other.tensors().values(), strict=True)
        return self.manifest == other.manifest and all(np.array_equal(mine, theirs) for mine, theirs in pairs)

    __hash__ = None  # type: ignore[assignment]


_TENSORS = tuple(field.name for field in fields(Snapshot) if field.name != "manifest")
_POSITIVE = ("tool_a", "tool_b")
_NOT_NEGATIVE = ("route_alpha", "route_noise", "cache_n")


def pack(snapshot: Snapshot, key: bytes | None = None) -> bytes:
    """The snapshot as bytes; equal snapshots have equal bytes.

    Parameters
    ----------
    snapshot : Snapshot
    key : bytes, optional
        Shared secret to sign with.

    Raises
    ------
    SnapshotError
        It could not be unpacked again: shapes that disagree with the manifest, numbers that are not finite.
    """
    _check(snapshot)
    manifest = _manifest_json(snapshot.manifest)
    tensors = snapshot.tensors()
    content = _content(manifest, tensors)
    metadata = {"manifest": manifest}
    if key is not None:
        metadata["signature"] = _signature(content, key)
    metadata["sha256"] = _checksum(content, metadata.get("signature", ""))
    saved = safetensors.numpy.save({name: array.astype("<f8", copy=False) for name, array in tensors.items()})
    header, body = _split(saved)
    # The library writes metadata in the order of a hash table that differs between processes.
    return _header({"__metadata__": metadata, **json.loads(header)}) + body


def unpack(data: bytes, key: bytes | None = None) -> Snapshot:
    """The snapshot in the bytes.

    Parameters
    ----------
    data : bytes
    key : bytes, optional
        Shared secret; with one, only what was signed with it is accepted.

    Raises
    ------
    SnapshotError
        With `code` one of corrupt, newer_format, unsigned, bad_signature, fingerprint_mismatch,
        shape_mismatch, not_finite.
    """
    metadata, tensors = _parsed(data)
    manifest_json = metadata["manifest"]
    _check_format(manifest_json)
    content, signature = _content(manifest_json, tensors), metadata.get("signature", "")
    if not hmac.compare_digest(metadata["sha256"].encode(), _checksum(content, signature).encode()):
        raise SnapshotError("the content does not match its checksum", code="corrupt")
    if key is not None:
        if not signature:
            raise SnapshotError("the snapshot is not signed, and a signing key is configured", code="unsigned")
        if not hmac.compare_digest(signature.encode(), _signature(content, key).encode()):
            raise SnapshotError("the snapshot was signed with another key", code="bad_signature")
    manifest = _read_manifest(manifest_json)
    if set(tensors) != set(_TENSORS):
        raise SnapshotError(f"the tensors are {', '.join(sorted(tensors))}", code="shape_mismatch")
    snapshot = Snapshot(manifest, **tensors)
    _check(snapshot)
    return snapshot


def digest(data: bytes) -> str:
    """SHA-256 of a snapshot's bytes, hexadecimal: what decisions quote.

    Examples
    --------
    >>> digest(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


def _manifest_json(manifest: Manifest) -> str:
    """The manifest as text, from which the same manifest is read: NaN, say, has no JSON."""
    try:
        text = manifest.to_json()
    except UnicodeEncodeError as error:
        raise SnapshotError(f"the manifest cannot be written as UTF-8: {error}", code="corrupt") from None
    if _read_manifest(text) != manifest:
        raise SnapshotError("the manifest is another one when it is read back", code="corrupt")
    return text


def _read_manifest(text: str) -> Manifest:
    try:
        return msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, AliceError) as error:
        raise SnapshotError(f"the manifest cannot be read: {error}", code="corrupt") from None


def _check(snapshot: Snapshot) -> None:
    """Refuse what could not be served."""
    manifest, tensors = snapshot.manifest, snapshot.tensors()
    if manifest.features.fingerprint != manifest.features_fingerprint:
        raise SnapshotError(
            f"features {manifest.features_fingerprint[:12]} are {manifest.features.fingerprint[:12]} in this code",
            code="fingerprint_mismatch",
        )
    for name, shape in manifest.shapes().items():
        if tensors[name].shape != shape:
            raise SnapshotError(f"{name} has shape {tensors[name].shape}, not {shape}", code="shape_mismatch")
        if not np.isfinite(tensors[name]).all():
            raise SnapshotError(f"{name} holds a number that is not finite", code="not_finite")
        least = tensors[name].min(initial=np.inf)
        if (name in _POSITIVE and least <= 0.0) or (name in _NOT_NEGATIVE and least < 0.0):
            raise SnapshotError(f"{name} holds {least}, which is out of range", code="corrupt")


def _check_format(manifest_json: str) -> None:
    """Refuse a newer format before anything is read that it may have changed."""
    try:
        written = msgspec.json.decode(manifest_json, type=_Written).format
    except msgspec.DecodeError as error:
        raise SnapshotError(f"the manifest cannot be read: {error}", code="corrupt") from None
    if written > FORMAT:
        raise SnapshotError(
            f"format {written} is newer than {FORMAT}, which this version reads",
            code="newer_format",
            hint="update alice-rl here first; the last good snapshot stays in use",
        )


class _Written(Struct):
    format: int


def _parsed(data: bytes) -> tuple[dict[str, str], dict[str, FloatArray]]:
    """Metadata and tensors of a canonical file."""
    try:
        tensors: dict[str, Any] = safetensors.numpy.load(data)
        raw, _ = _split(data)
        header = json.loads(raw)
        canonical = _header(header)
        metadata: dict[str, str] = header.get("__metadata__", {})
        "".join(metadata.values()).encode()  # JSON can spell what is no text: a lone surrogate
    except (SafetensorError, ValueError, KeyError, RecursionError) as error:
        raise SnapshotError(f"not a safetensors file: {error}", code="corrupt") from None
    if canonical != data[: len(canonical)] or len(canonical) != _LENGTH_BYTES + len(raw):
        raise SnapshotError("the header is not in its canonical form", code="corrupt")
    if not {"manifest", "sha256"} <= set(metadata) <= {"manifest", "sha256", "signature"}:
        raise SnapshotError(f"the metadata are {sorted(metadata)}, not a snapshot's", code="corrupt")
    if any(array.dtype != np.float64 for array in tensors.values()):
        raise SnapshotError("a tensor is not float64", code="shape_mismatch")
    return metadata, tensors


def _split(data: bytes) -> tuple[bytes, bytes]:
    """The header without its length, and the tensors."""
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    return data[_LENGTH_BYTES:end], data[end:]


def _header(header: dict[str, Any]) -> bytes:
    """Length and canonical JSON, padded with spaces so that the tensors start at a multiple of eight."""
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def _content(manifest_json: str, tensors: dict[str, FloatArray]) -> bytes:
    """All that is sealed: the manifest, then name, type, shape and bytes of every tensor."""
    manifest = manifest_json.encode()
    parts = [b"alice-rl snapshot %d\n%d\n" % (FORMAT, len(manifest)), manifest]
    for name in sorted(tensors):
        array = tensors[name]
        parts += [
            f"\n{name} {array.dtype.name} {list(array.shape)}\n".encode(),
            array.astype("<f8", copy=False).tobytes(),
        ]
    return b"".join(parts)


def _signature(content: bytes, key: bytes) -> str:
    return hmac.digest(key, content, "sha256").hex()


def _checksum(content: bytes, signature: str) -> str:
    return hashlib.sha256(content + signature.encode()).hexdigest()


def _is_writeable(array: object) -> bool:
    return not isinstance(array, np.ndarray) or array.flags.writeable
