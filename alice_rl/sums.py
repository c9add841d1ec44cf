"""All that one stretch of event time has taught: the additive sums of the three slots.

`Sums` is what a bucket of a shard holds, what a checkpoint stores, and what shards add up to before a policy is solved.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from alice_rl.lineage import Lineage
from alice_rl.online.moments import RidgeMoments, Tally
from alice_rl.reward import COMPONENTS

__all__ = ["CACHE_WIDTH", "Sums", "digest"]

_M = len(COMPONENTS)
CACHE_WIDTH = 1 + _M + _M * (_M + 1) // 2
"""Integers per (query class, tier): n, sum y, and the upper triangle of sum y y'."""

_LENGTH = struct.Struct("<I")


class Sums:
    """Sums of the three slots.

    Attributes
    ----------
    route : RidgeMoments
        Per route arm.
    tool : Tally
        Successes and failures per (intent, tool).
    cache : Tally
        n, sums and products of the reward components per (query class, tier).
    """

    def __init__(self, lineage: Lineage) -> None:
        self.lineage = lineage
        self.route = RidgeMoments(len(lineage.arms.route), lineage.features.dim, _M)
        self.tool = Tally(len(lineage.arms.tool), 2)
        self.cache = Tally(len(lineage.arms.cache), CACHE_WIDTH)
        self._digest: str | None = None

    def changed(self) -> None:
        """To be called after the sums were added to: forgets the digest."""
        self._digest = None

    def digest(self) -> str:
        """SHA-256 of the canonical bytes, hexadecimal."""
        return self._digest or self.sealed()[1]

    def sealed(self) -> tuple[bytes, str]:
        """The canonical bytes and their digest."""
        data = self.to_bytes()
        self._digest = self._digest or hashlib.sha256(data).hexdigest()
        return data, self._digest

    def grow(self, lineage: Lineage) -> None:
        """Go on as sums of a lineage with numerics appended; they are zero in all that was added so far."""
        self.lineage = lineage
        self.route.grow(lineage.features.dim)
        self.changed()

    def __add__(self, other: Sums) -> Sums:
        total = Sums(self.lineage)
        total.route = self.route + other.route
        total.tool = self.tool + other.tool
        total.cache = self.cache + other.cache
        return total

    def to_bytes(self) -> bytes:
        """The canonical form: a JSON header with the names in order, then little-endian int64.

        Notes
        -----
        Equal sums have equal bytes, whatever the order in which they were added.
        """
        tools, tool_sums = self.tool.sorted()
        classes, cache_sums = self.cache.sorted()
        header = msgspec.json.encode({"tool": tools, "cache": classes})
        parts = (*self.route.arrays(), tool_sums, cache_sums)
        flat = np.concatenate([part.ravel() for part in parts]).astype("<i8", copy=False)
        return _LENGTH.pack(len(header)) + header + flat.tobytes()

    @classmethod
    def from_bytes(cls, lineage: Lineage, data: bytes) -> Sums:
        """The sums that `to_bytes` wrote, for the same lineage."""
        sums = cls(lineage)
        start = _LENGTH.size + _LENGTH.unpack_from(data)[0]
        names: dict[str, list[str]] = msgspec.json.decode(data[_LENGTH.size : start])
        flat: npt.NDArray[np.int64] = np.frombuffer(data, dtype="<i8", offset=start).astype(np.int64)
        route = sum(part.size for part in sums.route.arrays())
        tool = route + len(names["tool"]) * len(lineage.arms.tool) * 2
        sums.route.load(flat[:route])
        sums.tool.load(names["tool"], flat[route:tool].reshape(-1, len(lineage.arms.tool), 2))
        sums.cache.load(names["cache"], flat[tool:].reshape(-1, len(lineage.arms.cache), CACHE_WIDTH))
        return sums


def digest(parts: Mapping[str, str]) -> str:
    """SHA-256 over named digests, in the order of their names; hexadecimal.

    Notes
    -----
    A digest of digests: when one bucket changes, the others need not be hashed again.
    """
    lines = "".join(f"{name} {parts[name]}\n" for name in sorted(parts))
    return hashlib.sha256(b"alice-rl sums 1\n" + lines.encode()).hexdigest()
