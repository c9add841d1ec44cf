"""The gates that are compared: this project's, and what is in use elsewhere. Each sees the same canaries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from alice_rl.online.canary import Decision, GateRules, decide, weigh
from alice_rl.online.confidence import Counts, Sample
from tests.gate_sim.worlds import CENTRE, LOOK, Seen

__all__ = ["GATES", "Ended", "Gate"]

FloatArray = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]

_ALPHA = 0.05  # a side
_Z = 1.6448536269514722  # of the normal distribution, at that alpha
_THRESHOLD = 0.02  # relative
_CANARY_MIN = 500
_Z_MIN = 30  # canary requests from which a normal approximation is taken for good enough, as a rule
_RUNS_AT_ONCE = 50  # bounds memory


class Ended(NamedTuple):
    """How many canaries came to each end, ndarray of bool, shape (runs,), and after how many requests."""

    promoted: BoolArray
    rolled_back: BoolArray
    invalid: BoolArray
    requests: FloatArray


Gate = Callable[[Seen], Ended]


def fixed_threshold(seen: Seen) -> Ended:
    """Once the canary has served 500: promoted unless it is more than 2 % worse."""
    so_far = seen.summed()
    ready = so_far.canary >= _CANARY_MIN
    good = _rates(so_far)[0] >= (1 - _THRESHOLD) * _rates(so_far)[1]
    return _ended(ready & good, ready & ~good)


def repeated_z(seen: Seen) -> Ended:
    """A z-test of the pooled rates at every look."""
    z = _z(seen.summed())
    ready = seen.summed().canary >= _Z_MIN
    return _ended(ready & (z > _Z), ready & (z < -_Z))


def one_look(seen: Seen) -> Ended:
    """The same test once, at the end: what a z-test is made for."""
    z = _z(seen.summed())
    last = np.zeros(z.shape, dtype=np.bool_)
    last[:, -1] = True
    return _ended(last & (z > _Z), last & (z < -_Z))


def this_gate(seen: Seen) -> Ended:
    """The gate of `alice_rl.online.canary`, by its own functions."""
    parts = []
    for at in range(0, len(seen.canary), _RUNS_AT_ONCE):
        some = seen._replace(**{n: getattr(seen, n)[at : at + _RUNS_AT_ONCE] for n in seen._fields if n != "share"})
        parts.append(_by_evidence(some))
    return Ended(*(np.concatenate(column) for column in zip(*parts, strict=True)))


GATES: dict[str, Gate] = {
    "fixed threshold": fixed_threshold,
    "z-test at every look": repeated_z,
    "z-test, one look": one_look,
    "this gate": this_gate,
}


def _by_evidence(seen: Seen) -> Ended:
    policies, arms, counts = [], [], []
    for share in np.unique(seen.share).tolist():
        here = seen.at(share).summed()
        n = here.canary + here.live
        arms.append(_sample(n, here.canary, here.canary_good, here.live, here.live_good, share))
        # Where the policies agree, u is 0.
        canary, canary_good = here.canary - here.canary_same, here.canary_good - here.canary_same_good
        live, live_good = here.live - here.live_same, here.live_good - here.live_same_good
        policies.append(_sample(n, canary, canary_good, live, live_good, share))
        counts.append(Counts(here.canary.astype(np.float64), n.astype(np.float64), share))
    decisions = decide(weigh(policies, arms, counts), GateRules(alpha=_ALPHA))
    return _ended(decisions == Decision.PROMOTE, decisions == Decision.ROLLBACK, decisions == Decision.INVALID)


def _sample(
    n: FloatArray, canary: FloatArray, good: FloatArray, live: FloatArray, live_good: FloatArray, share: float
) -> Sample:
    """The sums of `u (r - m0)` for rewards of 0 and 1, with `u` 1/share for the canary and -1/(1 - share) for live."""
    up, down = 1 / share, -1 / (1 - share)
    won, lost = 1 - CENTRE, -CENTRE
    total = up * (good * won + (canary - good) * lost) + down * (live_good * won + (live - live_good) * lost)
    squares = up**2 * (good * won**2 + (canary - good) * lost**2)
    squares = squares + down**2 * (live_good * won**2 + (live - live_good) * lost**2)
    corners = [u * r for u in (up, down) for r in (won, lost)]
    return Sample(n, total, squares, min(corners), max(corners))


def _rates(so_far: Seen) -> tuple[FloatArray, FloatArray]:
    return so_far.canary_good / np.maximum(so_far.canary, 1), so_far.live_good / np.maximum(so_far.live, 1)


def _z(so_far: Seen) -> FloatArray:
    canary, live = _rates(so_far)
    pooled = (so_far.canary_good + so_far.live_good) / np.maximum(so_far.canary + so_far.live, 1)
    variance = pooled * (1 - pooled) * (1 / np.maximum(so_far.canary, 1) + 1 / np.maximum(so_far.live, 1))
    z: FloatArray = (canary - live) / np.sqrt(np.maximum(variance, 1e-12))
    return z


def _ended(promoted: BoolArray, rolled_back: BoolArray, invalid: BoolArray | None = None) -> Ended:
    """The first end of each run, out of what each look would have said; ndarrays, shape (runs, looks)."""
    void = np.zeros_like(promoted) if invalid is None else invalid
    over = promoted | rolled_back | void
    first = over.argmax(axis=1)
    rows = np.arange(len(over))
    ends = over.any(axis=1)
    return Ended(
        ends & promoted[rows, first],
        ends & rolled_back[rows, first] & ~promoted[rows, first],
        ends & void[rows, first],
        (first + 1.0) * LOOK,
    )
