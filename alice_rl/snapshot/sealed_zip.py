"""A zip whose every byte is accounted for: any tool opens it, and a flipped bit anywhere is refused.

`manifest.json` comes first and lists size and SHA-256 of every other entry, so that damage has a name. The zip's
comment is the seal: "alice-rl savepoint", with a key " hmac-sha256=" and the HMAC of all bytes before it, then
" sha256=" and, as the last 64 bytes of the file, the SHA-256 of all bytes before them. So headers and directory,
which no entry covers, are sealed, too.

References
----------
PKWARE, "APPNOTE.TXT", 4.3.16 "End of central directory record". RFC 2104, "HMAC".
"""

from __future__ import annotations

import hashlib
import hmac
import io
import re
from collections.abc import Mapping
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import msgspec
from msgspec import Struct

from alice_rl.errors import SnapshotError

__all__ = ["MANIFEST", "Checksum", "has_signature", "pack_zip", "refusal", "unpack_zip"]

MANIFEST = "manifest.json"
_TITLE, _HMAC, _SHA256 = b"alice-rl savepoint", b" hmac-sha256=", b" sha256="
_HEX_BYTES = 64
_SEAL = re.compile(_TITLE + rb"(?:" + _HMAC + rb"([0-9a-f]{64}))?" + _SHA256 + rb"[0-9a-f]{64}\Z")
_SEAL_BYTES_MAX = len(_TITLE + _HMAC + _SHA256) + 2 * _HEX_BYTES
_MANIFEST_BYTES_MAX = 64 << 20
_LEVEL = 1  # sums are integers with many zero bytes: the quickest level takes nearly all there is to gain
_READABLE = 0o644 << 16  # where unzip looks for the mode of the file that it makes


class Checksum(Struct, frozen=True):
    """What an entry must be: SHA-256, hexadecimal, and size in bytes."""

    sha256: str
    size: int

    @classmethod
    def of(cls, content: bytes) -> Checksum:
        """The checksum of a content.

        Examples
        --------
        >>> Checksum.of(b"").size
        0
        """
        return cls(hashlib.sha256(content).hexdigest(), len(content))


class _Written(Struct):
    format: int


class _Listing(Struct):
    entries: dict[str, Checksum]


def refusal(message: str, code: str = "corrupt", hint: str = "take another savepoint") -> SnapshotError:
    """The error for a file that must not be used."""
    return SnapshotError(message, code=code, hint=hint)


def pack_zip(manifest: bytes, entries: Mapping[str, bytes], key: bytes | None = None) -> bytes:
    """Manifest and entries as a sealed zip; with a key it is signed, too."""
    signed = _TITLE + (_HMAC + b"0" * _HEX_BYTES if key is not None else b"")
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name, content in {MANIFEST: manifest, **entries}.items():
            info = ZipInfo(name)  # dated 1980, so that equal contents are equal files
            info.external_attr = _READABLE
            archive.writestr(info, content, ZIP_DEFLATED, _LEVEL)
        archive.comment = signed + _SHA256 + b"0" * _HEX_BYTES
    data = buffer.getvalue()[: -len(_SHA256) - _HEX_BYTES]
    if key is not None:
        data = data[:-_HEX_BYTES]
        data += hmac.digest(key, data, "sha256").hex().encode()
    data += _SHA256
    return data + hashlib.sha256(data).hexdigest().encode()


def unpack_zip(data: bytes, format_max: int, key: bytes | None = None) -> tuple[bytes, dict[str, bytes]]:
    """The manifest and the entries of a sealed zip.

    Parameters
    ----------
    data : bytes
    format_max : int
        Newest `format` in the manifest that the caller reads.
    key : bytes, optional
        Shared secret; with one, only what was signed with it is accepted.

    Raises
    ------
    SnapshotError
        With `code` one of corrupt, newer_format, unsigned, bad_signature; a damaged entry is named.
    """
    seal = _SEAL.search(data[-_SEAL_BYTES_MAX:])
    sealed = seal is not None and hashlib.sha256(data[:-_HEX_BYTES]).hexdigest().encode() == data[-_HEX_BYTES:]
    if sealed and key is not None:
        _check_signature(data, key)
    archive = _opened(data)
    manifest = _entry(archive, MANIFEST, None)
    if sealed:
        _check_format(manifest, format_max)
    entries = {name: _entry(archive, name, checksum) for name, checksum in _listed(manifest).items()}
    if not sealed:
        raise refusal("every entry is sound, but the zip's headers, directory or seal are damaged")
    if archive.namelist() != [MANIFEST, *entries]:
        raise refusal(f"the zip holds other entries than {MANIFEST} lists")
    return manifest, entries


def has_signature(data: bytes) -> bool:
    """Whether a sealed zip carries a signature, right or wrong."""
    seal = _SEAL.search(data[-_SEAL_BYTES_MAX:])
    return seal is not None and seal[1] is not None


def _check_signature(data: bytes, key: bytes) -> None:
    if not has_signature(data):
        raise refusal("the file is not signed, and a signing key is configured", "unsigned")
    end = len(data) - _HEX_BYTES - len(_SHA256)
    content, signature = data[: end - _HEX_BYTES], data[end - _HEX_BYTES : end]
    if not hmac.compare_digest(hmac.digest(key, content, "sha256").hex().encode(), signature):
        raise refusal("the file was signed with another key", "bad_signature")


def _check_format(manifest: bytes, format_max: int) -> None:
    """Refuse a newer format before anything is read that it may have changed."""
    try:
        written = msgspec.json.decode(manifest, type=_Written).format
    except msgspec.DecodeError as error:
        raise refusal(f"{MANIFEST} cannot be read: {error}") from None
    if written > format_max:
        raise refusal(
            f"format {written} is newer than {format_max}, which this version reads", "newer_format", "update alice-rl"
        )


def _listed(manifest: bytes) -> dict[str, Checksum]:
    try:
        return msgspec.json.decode(manifest, type=_Listing).entries
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refusal(f"{MANIFEST} is damaged: {error}") from None


def _opened(data: bytes) -> ZipFile:
    try:
        return ZipFile(io.BytesIO(data))
    except Exception as error:  # a damaged zip makes zipfile raise whatever its fields happen to say
        raise refusal(f"not a savepoint, or cut off: {error}") from None


def _entry(archive: ZipFile, name: str, checksum: Checksum | None) -> bytes:
    """One entry, as the manifest lists it."""
    try:
        info = archive.getinfo(name)
        size_max = _MANIFEST_BYTES_MAX if checksum is None else checksum.size
        content = archive.read(info) if info.file_size <= size_max else b""
    except Exception as error:  # as above
        reason = "is missing" if isinstance(error, KeyError) else f"is damaged: {error}"
        raise refusal(f"entry {name} {reason}") from None
    if checksum is not None and Checksum.of(content) != checksum:
        raise refusal(f"entry {name} is damaged: it does not match its checksum")
    return content
