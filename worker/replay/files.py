"""Archives: telemetry as JSON lines in files, plain, gzip or zstd, read as the log of one partition.

The offset of a record is the number of its line, counted from 0; blank lines count and are passed by. A folder is one
log: its files in the order of their names. Lines have no broker's time; only what the events say counts.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import zstandard

from alice_rl.errors import AliceError
from alice_rl.events import EVENT_BYTES_MAX
from worker.replay.bounds import Bound

__all__ = ["ARCHIVES_FROM", "FileRecord", "archive_partition", "read_file", "survey"]

ARCHIVES_FROM = 1 << 20
"""Partitions from here on are archives; topics do not have that many."""

_BLOCK_BYTES = 1 << 20
_PACKED_BYTES = 1 << 10  # of a zstd file at once: few, because a single byte may unpack to 32 KiB
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class FileRecord(NamedTuple):
    """One line of an archive."""

    offset: int
    timestamp: int
    value: bytes | None


class _Stream(Protocol):
    """What bytes are read from."""

    def read(self, size: int = -1, /) -> bytes: ...


class _Zstd:
    """A file of zstd frames; unlike the library's own reader it tells a file that was cut off from one that ends."""

    def __init__(self, packed: _Stream) -> None:
        self._packed = packed
        self._frame: zstandard.ZstdDecompressionObj | None = None

    def read(self, size: int = -1, /) -> bytes:
        """At least `size` bytes, as long as there are so many; nothing at the end."""
        parts: list[bytes] = []
        while sum(map(len, parts)) < size and (chunk := self._packed.read(_PACKED_BYTES)):
            parts.append(b"".join(self._unpacked(chunk)))
        unpacked = b"".join(parts)
        if not unpacked and self._frame is not None:
            raise EOFError("it ends in the middle of a compressed frame")
        return unpacked

    def _unpacked(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            frame = self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(chunk)
            chunk = frame.unused_data if frame.eof else b""
            self._frame = None if frame.eof else frame


class _Stamp(msgspec.Struct):
    ts_ms: int


_stamp = msgspec.json.Decoder(_Stamp).decode


def archive_partition(path: Path) -> int:
    """The partition that an archive is: a number made of its name, so that it is found again under it.

    Examples
    --------
    >>> archive_partition(Path("a/2025.jsonl.gz")) == archive_partition(Path("b/2025.jsonl.gz")) >= ARCHIVES_FROM
    True
    """
    return ARCHIVES_FROM + zlib.crc32(path.name.encode()) % ARCHIVES_FROM


def read_file(path: Path, first: int, end: int) -> Iterator[list[FileRecord]]:
    """The lines `[first, end)` of an archive, some thousand at a time.

    Raises
    ------
    AliceError
        The file cannot be read, or ends in the middle of what was compressed.
    """
    offset = 0
    for lines in _lines(path):
        if offset >= end:
            return
        wanted = range(max(first, offset), min(end, offset + len(lines)))
        records = [FileRecord(at, 0, line) for at in wanted if (line := lines[at - offset].strip())]
        if records:
            yield records
        offset += len(lines)


def survey(path: Path, start: Bound, stop: Bound) -> tuple[int, int]:
    """First offset, and the one after the last, of what lies between two bounds.

    Raises
    ------
    AliceError
        The file cannot be read.

    Notes
    -----
    A time is where the first event at or after it stands, as in Kafka.
    """
    first, end, count = start.offset or 0, stop.offset, 0
    begun, ended = start.time_ms is None, stop.time_ms is None
    for lines in _lines(path):
        if not (begun and ended):
            for at, line in enumerate(lines, count):
                ts_ms = _time_of(line)
                if not begun and ts_ms is not None and ts_ms >= (start.time_ms or 0):
                    first, begun = at, True
                if not ended and ts_ms is not None and ts_ms >= (stop.time_ms or 0):
                    end, ended = at, True
        count += len(lines)
    end = count if end is None else min(end, count)
    return (min(first, end), end) if begun else (end, end)


def _time_of(line: bytes) -> int | None:
    try:
        return _stamp(line).ts_ms
    except msgspec.DecodeError:
        return None


def _lines(path: Path) -> Iterator[list[bytes]]:
    """The lines of an archive, a block's worth at a time.

    Notes
    -----
    A line that is longer than any event may be is cut, and will be rejected as too large: no line can fill the memory.
    """
    carry = b""
    for file in sorted(found for found in path.iterdir() if found.is_file()) if path.is_dir() else [path]:
        with _reading(file) as stream:
            while block := stream.read(_BLOCK_BYTES):
                lines = (carry + block).split(b"\n")
                carry = lines.pop()[: EVENT_BYTES_MAX + 1]
                yield lines
        if carry:
            yield [carry]
            carry = b""


@contextmanager
def _reading(path: Path) -> Iterator[_Stream]:
    """The content of a file, decompressed; what it is packed with is told by its first bytes."""
    try:
        with path.open("rb") as raw:
            magic = raw.read(4)
            raw.seek(0)
            if magic.startswith(_GZIP):
                with gzip.open(raw) as unpacked:
                    yield unpacked
            elif magic == _ZSTD:
                yield _Zstd(raw)
            else:
                yield raw
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise AliceError(
            f"{path} cannot be read to its end: {error}",
            code="file_unreadable",
            hint="what was read before is kept; mend or replace the file, and run the same command again",
        ) from error
