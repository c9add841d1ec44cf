"""How a canary stands: what the worker's side task remembers between two looks, and shows to people."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

__all__ = ["CanaryPoint", "CanaryState"]


class CanaryState(Struct, frozen=True, kw_only=True):
    """The canary under way, or the last one.

    Attributes
    ----------
    version, digest, live_version, live_digest
        The pair that is compared.
    phase : str
        `shadow`: logged, never served. `trial`: serves its share. `approval`: has won, waits for a person. `ended`.
    share : float
        Of requests, while it is a trial.
    opened_ms, share_since_ms : int
        When it was opened, and when it got this share: the log's clock, ms since the epoch.
    offsets : dict of int to int
        As-of offsets of the last look, per partition.
    centre : float
        m0, the live policy's mean reward before.
    verdict : dict, optional
        The gate's last verdict, as `alice_rl.online.canary.Verdict` names its fields.
    window : dict, optional
        The quality gates' last numbers.
    outcome : str, optional
        Once ended: `promoted`, `rolled_back`, `invalid`, `withdrawn`.
    reason : str
        Why it stands where it stands, in words.
    ended_ms, next_after_ms : int, optional
        When it ended, and when the next one may be opened: the log's clock.
    refused : tuple of str
        Digests that are not tried again.
    """

    version: int
    digest: str
    live_version: int
    live_digest: str
    phase: Literal["shadow", "trial", "approval", "ended"]
    share: float
    opened_ms: int
    share_since_ms: int
    offsets: dict[int, int] = {}
    centre: float = 0.0
    verdict: dict[str, Any] | None = None
    window: dict[str, Any] | None = None
    outcome: Literal["promoted", "rolled_back", "invalid", "withdrawn"] | None = None
    reason: str = ""
    ended_ms: int | None = None
    next_after_ms: int = 0
    refused: tuple[str, ...] = ()


class CanaryPoint(Struct, frozen=True, kw_only=True):
    """One look at a canary, for plots and for the replay: the as-of offsets, and what the evidence said there."""

    version: int
    ts_ms: int
    share: float
    offsets: dict[int, int]
    verdict: dict[str, Any]
