"""Records of canaries for tests: trials that went well, ill, and not at all, with numbers as the gate has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import msgspec
import numpy as np

from alice_rl.online.canary import Decision, Effect, Verdict
from alice_rl.snapshot.canary_state import CanaryPoint, CanaryState
from alice_rl.snapshot.records import HistoryEntry
from tests.logs import START_MS

__all__ = ["CANARY", "LIVE", "MINUTE_MS", "entry", "looks", "state", "verdict"]

LIVE, CANARY = "ab" * 32, "cd" * 32
MINUTE_MS = 60_000


def verdict(decision: Decision = Decision.HOLD, **changes: Any) -> Verdict:
    """A verdict that holds; `changes` replace its fields."""
    given: dict[str, Any] = {
        "reason": "neither is sure enough",
        "requests": 40_000,
        "canary_requests": 2_010,
        "effective": 18_000.0,
        "policies": Effect(0.004, -0.021, 0.029),
        "arms": Effect(0.01, -0.06, 0.08),
        "log_e_promote": -0.4,
        "log_e_rollback": -1.2,
        "log_e_ratio": -0.9,
    }
    return Verdict(decision=decision, **given | changes)


def state(**changes: Any) -> CanaryState:
    """A canary that is on trial at 5 % for ten minutes; `changes` replace its fields."""
    given: dict[str, Any] = {
        "version": 42,
        "digest": CANARY,
        "live_version": 41,
        "live_digest": LIVE,
        "phase": "trial",
        "share": 0.05,
        "opened_ms": START_MS,
        "share_since_ms": START_MS + MINUTE_MS,
        "offsets": {0: 1000},
        "centre": 1.25,
        "verdict": msgspec.to_builtins(asdict(verdict())),
    }
    return CanaryState(**given | changes)


def entry(kind: str, minutes: float, *, gate: Verdict | bool | None = True, **fields: Any) -> HistoryEntry:
    """An entry of the audit, so many minutes after the opening; `gate`: its verdict, or whether the gate did it."""
    ts_ms = START_MS + round(minutes * MINUTE_MS)
    detail: dict[str, Any] = {"ts_ms": ts_ms, "offsets": {"0": round(1000 * minutes)}}
    if isinstance(gate, Verdict):
        detail["verdict"] = asdict(gate)
    outcome = fields.pop("outcome", None)
    detail |= {"outcome": outcome} if outcome else {}
    given = {"who": "gate" if gate else "alva@host", "detail": msgspec.json.encode(detail).decode() if gate else ""}
    return HistoryEntry(f"{ts_ms}-0", ts_ms, kind, given | {name: str(value) for name, value in fields.items()})


def looks(
    count: int, effect: float, *, shares: Sequence[tuple[float, float]] = ((0.0, 0.05),), felt: float | None = None
) -> list[CanaryPoint]:
    """Looks a minute apart at a canary that differs by `effect`: ranges narrow, evidence grows, as it would.

    Parameters
    ----------
    count : int
    effect : float
        What the policies differ by.
    shares : sequence of (float, float)
        From which minute on, which share.
    felt : float, optional
        What users felt; the same by default.
    """
    rng, points, requests, mine = np.random.default_rng(7), [], 0, 0
    noise = np.zeros(2)
    for minute in range(1, count + 1):
        share = [share for since, share in shares if since <= minute][-1]
        requests, mine = requests + 1000, mine + round(1000 * share)
        noise += rng.normal(size=2)
        widths = 1.6 * np.sqrt(np.array([1 / requests * 4, 1 / mine]) * (3 + np.log(requests)))
        truth = np.array([effect, effect if felt is None else felt])
        (policies, arms), widths = (truth + noise / np.sqrt(minute) * widths / 6).tolist(), widths.tolist()
        seen = verdict(
            requests=requests,
            canary_requests=mine,
            policies=Effect(policies, policies - widths[0], policies + widths[0]),
            arms=Effect(arms, arms - widths[1], arms + widths[1]),
            log_e_promote=_log_e(policies, widths[0]),
            log_e_rollback=max(_log_e(-policies, widths[0]), _log_e(-arms, widths[1])) - 0.7,
            log_e_ratio=-0.5 * float(np.log1p(minute)),
        )
        ts_ms = START_MS + minute * MINUTE_MS
        points.append(
            CanaryPoint(version=42, ts_ms=ts_ms, share=share, offsets={0: 1000 * minute}, verdict=asdict(seen))
        )
    return points


def _log_e(effect: float, width: float) -> float:
    ratio = effect / width * 3
    return float(np.sign(ratio) * ratio * ratio / 2 - 0.5)
