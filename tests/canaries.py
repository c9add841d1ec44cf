"""Records of canaries for tests: trials that went well, ill, and not at all, with numbers as the gate has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import msgspec
import numpy as np

from alice_rl.online.canary import Decision, Effect, Verdict
from alice_rl.snapshot.canary_state import CanaryPoint, CanaryState
from alice_rl.snapshot.records import HistoryEntry
from tests.logs import START_MS
from worker.cli.canary_record import CanaryRecord, record_of, verdict_of

__all__ = ["CANARY", "LIVE", "MINUTE_MS", "ended", "entry", "looks", "opened", "state", "stories", "verdict"]

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
            effective=0.45 * requests,
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


def opened(minutes: float = 0.0, *, shares: Sequence[tuple[float, float]] = ((1.0, 0.05),)) -> list[HistoryEntry]:
    """Version 42 opened as a shadow, and then its shares, each from a minute on."""
    published = [
        HistoryEntry(f"{START_MS - 9}-{v}", START_MS - 9, "publish", {"version": str(v), "digest": digest})
        for v, digest in ((41, LIVE), (42, CANARY))
    ]
    moves = ((minutes, 0.0), *shares)
    return [
        *published,
        *(entry("promote", at, stage="canary", version=42, share=s, live=41, canary=42) for at, s in moves),
    ]


def ended(minutes: float, outcome: str, said: Verdict | bool, **fields: Any) -> HistoryEntry:
    """The end of version 42, by the gate with a verdict or by somebody (`False`)."""
    who = {} if said is not False else {"who": "alva@host"}
    if outcome == "promoted":
        return entry(
            "promote",
            minutes,
            gate=said,
            outcome=outcome,
            stage="prod",
            version=42,
            live=42,
            canary="",
            **who,
            **fields,
        )
    moved = {"from": 42, "to": 41, "live": 41, "canary": ""}
    return entry("rollback", minutes, gate=said, outcome=outcome, stage="canary", **moved, **who, **fields)


def stories() -> dict[str, CanaryRecord]:
    """A record for every way that a canary may go, by name."""
    ramp = ((1.0, 0.05), (15.0, 0.25), (35.0, 0.5))
    better, worse, equal = looks(75, 0.06, shares=((0.0, 0.05), *ramp)), looks(6, -0.02, felt=-0.9), looks(40, 0.0)
    won = _last(better, Decision.PROMOTE, "E of D = 24.1 reaches 20: the canary is better")
    lost = _last(worse, Decision.ROLLBACK, "E of H reaches 20: users are worse off")
    void = _last(
        equal[:9], Decision.INVALID, "4.1 % came from the canary, 5 % were sent", canary_requests=369, log_e_ratio=8.0
    )
    held = _last(equal, Decision.HOLD, "neither side has enough evidence")
    low = "its estimated reward 0.3000 per turn is below canary.min_policy_value = 0.4"
    return {
        "promoted": record_of(42, None, [*opened(shares=ramp), ended(75, "promoted", won, why=won.reason)], better),
        "rolled back": record_of(42, None, [*opened(), ended(6, "rolled_back", lost, why=lost.reason)], worse),
        "held": record_of(None, state(verdict=asdict(held), reason=held.reason), opened(), equal),
        "void": record_of(42, None, [*opened(), ended(9, "invalid", void, why=void.reason)], equal[:9]),
        "withdrawn": record_of(42, None, [*opened(shares=()), ended(3, "withdrawn", True, why=low)], []),
        "approval": record_of(
            None,
            state(phase="approval", share=0.5, verdict=asdict(won), reason=won.reason),
            opened(shares=ramp),
            better,
        ),
        "by a person": record_of(
            42, None, [*opened(), ended(20, "rolled_back", False, why="the release is off")], equal[:20]
        ),
        "promoted by a person": record_of(
            None,
            state(phase="ended", outcome="promoted", ended_ms=START_MS + 80 * MINUTE_MS, verdict=asdict(won)),
            [*opened(shares=ramp), ended(80, "promoted", False, why="looks good")],
            better,
        ),
        "shadow": record_of(None, state(phase="shadow", share=0.0, verdict=None, reason=low), opened(shares=()), []),
    }


def _last(points: Sequence[CanaryPoint], decision: Decision, reason: str, **changes: Any) -> Verdict:
    """The verdict at the end of some looks."""
    return replace(verdict_of(points[-1].verdict), decision=decision, reason=reason, **changes)
