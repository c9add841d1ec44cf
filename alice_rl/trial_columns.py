"""Episodes to columns of trials: who was compared when each was decided, who served, and how the weights differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from alice_rl.episodes import Episode
from alice_rl.events import PolicyStamp, SlotChoice
from alice_rl.online.trial import U_UNIT
from alice_rl.reward import OutcomeLike

__all__ = ["SHARE_MIN", "Trial", "TrialColumns", "trials_of", "tried"]

SHARE_MIN = 1 / 256
"""The smallest share of either side that makes a trial: what is rarer would need longer than anybody waits."""

_P_TOLERANCE = 1e-6  # relative; a probability may have been through another language's formatting
_COMPARED = attrgetter("stage", "digest", "canary_digest", "canary_share", "holdout_share")
_SLOTS = tuple(map(attrgetter, ("route", "tool", "cache")))

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


class Trial(NamedTuple):
    """Who is compared, at what share: digests of two policies, or `rules` and `policy` for the hold-out."""

    control: str
    treatment: str
    share: float


class TrialColumns(NamedTuple):
    """N requests of one trial, in log order.

    `trial`; `ts_ms` (N,) when each was decided and `told_ms` (N,) when its outcome was known; `treated` (N,) whether
    the treatment served; `u` (N,) difference of the weights, in steps; `fit` (N,) whether its probabilities are all
    told; `outcomes`, N of them; `rows` (N,) where they stand among the episodes.
    """

    trial: Trial
    ts_ms: IntArray
    told_ms: IntArray
    treated: BoolArray
    u: IntArray
    fit: BoolArray
    outcomes: list[OutcomeLike]
    rows: list[int]


def tried(share: float) -> bool:
    """Whether both sides of a split are served often enough to be compared."""
    return SHARE_MIN <= share <= 1 - SHARE_MIN


def trials_of(episodes: Sequence[Episode]) -> Iterator[TrialColumns]:
    """The trials that the episodes were part of; most logs have none.

    Notes
    -----
    What has no comparable share is of no trial: a shadow, for one. A fallback decision has no propensities, and belongs
    to the hold-out's trial alone, if it was drawn for that.
    """
    stamps = [episode[0].policy for episode in episodes]
    groups: dict[tuple[object, ...], list[int]] = {}  # by what is compared: a handful, interpreted once each
    for row, stamp in enumerate(stamps):
        if stamp.canary_digest is not None or stamp.holdout_share is not None:
            groups.setdefault(_COMPARED(stamp), []).append(row)
    by_trial: dict[Trial, list[int]] = {}
    for rows in groups.values():
        for trial in _trials(stamps[rows[0]]):
            by_trial[trial] = sorted(by_trial[trial] + rows) if trial in by_trial else rows
    for trial, rows in by_trial.items():
        yield _columns(trial, rows, [episodes[row] for row in rows], [stamps[row] for row in rows])


def _trials(stamp: PolicyStamp) -> Iterator[Trial]:
    share, holdout = stamp.canary_share, stamp.holdout_share
    if stamp.canary_digest is not None and share is not None and stamp.stage != "fallback" and tried(share):
        yield Trial(stamp.digest or "", stamp.canary_digest, share)
    if holdout is not None and tried(holdout):
        yield Trial("rules", "policy", 1 - holdout)


def _columns(trial: Trial, rows: list[int], episodes: Sequence[Episode], stamps: Sequence[PolicyStamp]) -> TrialColumns:
    decisions, times, outcomes, told = zip(*episodes, strict=True)
    if trial.control == "rules":
        treated = np.array([stamp.stage != "fallback" for stamp in stamps], dtype=np.bool_)
        u, fit = np.zeros(len(rows), dtype=np.int64), np.ones(len(rows), dtype=np.bool_)
    else:
        treated = np.array([stamp.stage == "canary" for stamp in stamps], dtype=np.bool_)
        slots = [list(map(slot, decisions)) for slot in _SLOTS]
        u, fit = _weight_differences(slots, trial.share, treated)
        fit &= bool(trial.control)
    ts_ms, told_ms = np.array(times, dtype=np.int64), np.array(told, dtype=np.int64)
    return TrialColumns(trial, ts_ms, told_ms, treated, u, fit, list(outcomes), rows)


def _weight_differences(
    slots: Sequence[Sequence[SlotChoice | None]], share: float, treated: BoolArray
) -> tuple[IntArray, BoolArray]:
    """`u` of what was served, in steps, jointly over the slots; and where the probabilities are told and agree."""
    served, control, treatment = np.ones((3, len(treated)))
    for choices in slots:  # a slot that the turn did not use is certain; a probability that is absent is not a number
        served *= np.array([1.0 if choice is None else choice.p for choice in choices], dtype=np.float64)
        control *= np.array([1.0 if choice is None else choice.p_live for choice in choices], dtype=np.float64)
        treatment *= np.array([1.0 if choice is None else choice.p_canary for choice in choices], dtype=np.float64)
    mixed = share * treatment + (1 - share) * control
    side = np.where(treated, treatment, control)
    fit = (mixed > 0.0) & (np.abs(served - side) <= _P_TOLERANCE * np.maximum(served, side))
    u = np.divide(treatment - control, mixed, out=np.zeros_like(mixed), where=fit)
    return np.rint(u * U_UNIT).astype(np.int64), fit
