"""An evaluation as words and as facts."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from alice_rl.online.ope import Bounds, Estimate
from worker.cli.evaluate_subject import Subject
from worker.cli.output import number_words
from worker.cli.status_view import columns, time_words
from worker.evaluation.reading import Scored, ScoredWindow

__all__ = ["Report", "told"]

_WINDOWS_SHOWN_MAX = 500


class Report(NamedTuple):
    """What was found; the last window is the whole stretch."""

    subject: Subject
    scored: Scored
    windows: list[ScoredWindow]
    alpha: float
    unseen_only: bool

    @property
    def support_lost(self) -> bool:
        """Whether the mean weight of the whole stretch tells that the propensities are wrong."""
        return self.windows[-1].target.support_lost

    def facts(self) -> dict[str, Any]:
        """The report as JSON values."""
        *parts, whole = self.windows
        return {
            "policy": self.subject.name,
            "version": self.subject.version,
            "records": self.scored.records,
            "episodes": self.scored.episodes,
            "episodes_learned_from": self.scored.seen,
            "unseen_only": self.unseen_only,
            "rejected": dict(sorted(self.scored.rejected.items())),
            "alpha": self.alpha,
            "support_lost": self.support_lost,
            "whole": _facts(whole),
            "windows": [_facts(window) for window in parts],
        }


def told(report: Report) -> RenderableType:
    """The report on a terminal."""
    *parts, whole = report.windows
    names = ("turns", "unfit", "ESS", "mean w", "IPS", "SNIPS", "DR", "clipped", "at any time", "served")
    table = columns("window from", *names, text=1)
    for window in parts[-_WINDOWS_SHOWN_MAX:]:
        table.add_row(time_words(window.start_ms), *_cells(window))
    table.add_row("all", *_cells(whole))
    return Group(table, *map(Text, _remarks(report)))


def _cells(window: ScoredWindow) -> list[str]:
    said = window.target
    return [
        number_words(said.n),
        number_words(said.unfit),
        f"{said.effective:,.0f}",
        "-" if said.mean_weight is None else f"{said.mean_weight:.3f}{' !' if said.support_lost else ''}",
        *(_value(estimate) for estimate in (said.ips, said.snips, said.dr)),
        _between(said.clipped),
        _between(said.interval),
        _value(window.served),
    ]


def _value(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:.3f}" if estimate.error is None else f"{estimate.value:.3f} ± {estimate.error:.3f}"


def _between(bounds: Bounds | None) -> str:
    return "-" if bounds is None else f"{bounds.lower:.2f} .. {bounds.upper:.2f}"


def _remarks(report: Report) -> list[str]:
    """What a reader of the table should know."""
    said, scored = report.windows[-1].target, report.scored
    remarks = [
        "± is the standard error of one look. 'At any time' holds at every look; each end errs with probability "
        f"{report.alpha:g}."
    ]
    if scored.seen and not report.unseen_only:
        remarks.append(
            f"The policy has learned from {number_words(scored.seen)} of {number_words(scored.episodes)} episodes, or "
            "may have, and these flatter it; --unseen-only leaves them out."
        )
    if said.unfit:
        remarks.append(
            f"{number_words(said.unfit)} turns have no usable propensities (the rules served them) and do not count."
        )
    if scored.rejected:
        reasons = ", ".join(f"{number_words(n)} {reason}" for reason, n in scored.rejected.most_common())
        remarks.append(f"Rejected, and in none of the figures: {reasons}.")
    if not said.n:
        remarks.append("No turn of this stretch can be used: there is nothing to be said.")
    elif report.support_lost:
        remarks.append(
            f"SUPPORT IS LOST: the mean weight is {said.mean_weight:.3f}, not 1. This log was served without exploring "
            "(p = 1), what the policy does is too rare in it, or its p is not that of the draw. Believe no estimate."
        )
    elif lost := sum(window.target.support_lost for window in report.windows[:-1]):
        remarks.append(
            f"In {number_words(lost)} windows (!) the mean weight is too far from 1; believe no estimate of these."
        )
    return remarks


def _facts(window: ScoredWindow) -> dict[str, Any]:
    return {
        "start_ms": window.start_ms,
        "end_ms": window.end_ms,
        **_finite(asdict(window.target)),
        "served": None if window.served is None else asdict(window.served),
    }


def _finite(value: Any) -> Any:
    """The same without infinities, which JSON has no word for."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not isfinite(value) else value
