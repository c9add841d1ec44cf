"""The `[drift]` section: how the worker watches for changes of what users get."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["DriftSettings"]


class DriftSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[drift]` section; what it finds is advice, and no part of what is learned."""

    enabled: Annotated[
        bool, Meta(description="whether the worker watches reward, success and latency for changes of their means")
    ] = True
    delta: Annotated[
        float,
        Meta(gt=0, lt=1, description="sensitivity: the smaller, the fewer false alarms, and the later true ones"),
    ] = 1e-4
    rows_per_second: Annotated[
        int,
        Meta(ge=1, le=10_000, description="turns that a worker looks at per second, every k-th where there are more"),
    ] = 500
    quiet_rows: Annotated[
        int,
        Meta(
            ge=0, le=10**9, description="a change is not told again within so many turns of its arm that were looked at"
        ),
    ] = 5000
