"""The head: which snapshot serves, and the as-of offsets it quotes, as values; nothing here does I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import orjson

__all__ = ["Head", "decode_offsets", "encode_offsets", "optional_version"]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Which snapshot serves, as Redis had it at `now_ms`.

    Attributes
    ----------
    run_id : str
        Identity of this head's life; a Redis that was wiped gets another one. Empty before the first publish.
    seq : int
        Version of the newest snapshot, live or not; 0 before the first publish.
    live, canary, previous, pinned : int or None
        Versions, None for none.
    live_digest, canary_digest : str
        Digests of those two, empty for none.
    canary_share : float
        Share of requests that the canary serves, in [0, 1].
    lineage : str
        Lineage of the newest snapshot.
    offsets : dict of int to int
        As-of offsets `{partition: next_offset}` of the newest snapshot.
    now_ms : int
        Redis's clock when the head was read, ms since the epoch.

    Notes
    -----
    A reader adopts what *differs* in `(run_id, seq, live_digest, ...)`: a failover may move `seq` back.
    """

    run_id: str = ""
    seq: int = 0
    live: int | None = None
    live_digest: str = ""
    canary: int | None = None
    canary_digest: str = ""
    canary_share: float = 0.0
    previous: int | None = None
    pinned: int | None = None
    lineage: str = ""
    offsets: dict[int, int] = {}
    now_ms: int = 0

    @classmethod
    def from_reply(cls, reply: list[Any]) -> Head:
        """Read the reply of the script `read_head`.

        Examples
        --------
        >>> head = Head.from_reply([b"1767225600123", [b"seq", b"7", b"live", b"6", b"canary", b""]])
        >>> head.seq, head.live, head.canary, head.now_ms
        (7, 6, None, 1767225600123)
        """
        now_ms, flat = reply
        fields = {name.decode(): value.decode() for name, value in _pairs(flat)}
        return cls(
            run_id=fields.get("run_id", ""),
            seq=int(fields.get("seq") or 0),
            live=optional_version(fields.get("live")),
            live_digest=fields.get("live_digest", ""),
            canary=optional_version(fields.get("canary")),
            canary_digest=fields.get("canary_digest", ""),
            canary_share=float(fields.get("canary_share") or 0.0),
            previous=optional_version(fields.get("previous")),
            pinned=optional_version(fields.get("pinned")),
            lineage=fields.get("lineage", ""),
            offsets=decode_offsets(fields.get("offsets", "")),
            now_ms=int(now_ms),
        )


def encode_offsets(offsets: Mapping[int, int]) -> bytes:
    """As-of offsets as JSON, partitions in order; the same offsets give the same bytes.

    Examples
    --------
    >>> encode_offsets({2: 5, 0: 17})
    b'{"0":17,"2":5}'
    """
    return orjson.dumps({str(partition): offsets[partition] for partition in sorted(offsets)})


def decode_offsets(text: str | bytes) -> dict[int, int]:
    """As-of offsets from JSON; nothing is no offsets.

    Examples
    --------
    >>> decode_offsets('{"0":17,"2":5}')
    {0: 17, 2: 5}
    """
    return {int(partition): offset for partition, offset in orjson.loads(text).items()} if text else {}


def optional_version(text: str | bytes | None) -> int | None:
    """A version, or None for an empty or absent field."""
    return int(text) if text else None


def _pairs(flat: list[bytes]) -> Iterable[tuple[bytes, bytes]]:
    """Fields and values of a HASH as the scripts reply it: one flat list."""
    return zip(flat[::2], flat[1::2], strict=True)
