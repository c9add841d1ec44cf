"""Which features there are: the `[features]` section, its fingerprint, and the length of `x` that follows from it.

Adding a numeric to the end appends to `x`, which extends a lineage; any other change makes another vector of the same
numbers, and with it another lineage. Either way the fingerprint changes.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from alice_rl.errors import ConfigError

__all__ = ["CategoricalName", "FeatureSettings", "Numeric", "NumericName"]

CategoricalName = Literal["intent", "lang", "guardian_state"]
NumericName = Literal["text_len", "confidence", "recent_latency_ms", "recent_cost_usd"]


class Numeric(Struct, frozen=True, forbid_unknown_fields=True):
    """One numeric feature: `transform(scale * value)` in steps of 1/256."""

    name: NumericName
    transform: Literal["linear", "log1p"] = "linear"
    scale: Annotated[float, Meta(gt=0, le=1e6)] = 1.0


_NUMERICS = (
    Numeric("text_len", "log1p"),
    Numeric("confidence"),
    Numeric("recent_latency_ms", "log1p"),
    Numeric("recent_cost_usd", "linear", 100.0),
)


class FeatureSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The feature specification: part of the lineage, published with every snapshot.

    Examples
    --------
    >>> spec = FeatureSettings()
    >>> spec.dim
    73
    >>> len(spec.fingerprint)
    64
    """

    feature_dim: Annotated[int, Meta(ge=8, le=4096, description="slots of the hashing trick; a power of two")] = 64
    categoricals: Annotated[
        tuple[CategoricalName, ...], Meta(description="context fields that are hashed by name and value")
    ] = ("intent", "lang", "guardian_state")
    interactions: Annotated[
        tuple[tuple[CategoricalName, ...], ...], Meta(description="groups of fields hashed together")
    ] = (("intent", "lang"), ("intent", "guardian_state"))
    numerics: Annotated[
        tuple[Numeric, ...], Meta(description="numeric context fields; new ones go to the end of the list")
    ] = _NUMERICS

    def __post_init__(self) -> None:
        if self.feature_dim & (self.feature_dim - 1):
            below = 1 << (self.feature_dim.bit_length() - 1)
            raise ConfigError(
                f"features.feature_dim = {self.feature_dim} is not a power of two",
                hint=f"the hash's low bits are the index: use {below} or {2 * below}",
            )
        names = [numeric.name for numeric in self.numerics]
        if len(set(names)) != len(names):
            raise ConfigError("features.numerics names a field twice", hint=f"they are {', '.join(names)}")

    @property
    def dim(self) -> int:
        """Length d of `x`: the bias, the hashed slots, then value and missing-indicator of each numeric."""
        return 1 + self.feature_dim + 2 * len(self.numerics)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical specification, hexadecimal."""
        return hashlib.sha256(b"alice-rl features 1\n" + msgspec.json.encode(self, order="sorted")).hexdigest()
