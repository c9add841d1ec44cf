"""An evaluation as a picture: what was served, what the policy would have earned, and on what that rests."""

from __future__ import annotations

from itertools import pairwise
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING

from alice_rl.online.ope import Estimate, Estimates
from worker.cli.evaluate_report import Report
from worker.cli.output import number_words
from worker.cli.picture import BLUE, GREY, INK, RED, dress, moment, save, time_axis
from worker.evaluation.reading import ScoredWindow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["drawn", "figure"]

_Z = 1.96
_MARKED_MAX = 60  # so few windows are shown one by one


def drawn(report: Report, path: Path) -> None:
    """Draw the windows into a file.

    Raises
    ------
    AliceError
        The file cannot be written.
    """
    save(figure(report), path)


def figure(report: Report) -> Figure:
    """The picture of an evaluation."""
    from matplotlib.figure import Figure

    *parts, whole = report.windows
    windows = [window for window in parts or [whole] if window.target.n]
    picture = Figure(figsize=(11, 7), dpi=120, layout="constrained")
    value, weight, size = picture.subplots(3, 1, sharex=True, height_ratios=(5, 1.7, 1.3))
    lost = report.support_lost
    picture.suptitle(_title(report), x=0.01, ha="left", fontweight="bold", color=RED if lost else INK)
    _draw_values(value, windows, whole)
    _draw_weights(weight, windows)
    _draw_sizes(size, windows)
    for axes in (value, weight, size):
        dress(axes)
    time_axis(size)
    return picture


def _title(report: Report) -> str:
    said, name = report.windows[-1].target, report.subject.name
    if not said.n:
        return f"{name}: no turn can be used"
    if report.support_lost:
        return f"{name}: support is lost, believe no estimate (mean weight {said.mean_weight:.3f}, should be 1)"
    told = "nothing can be said" if said.dr is None else f"{said.dr.value:.3f} per turn"
    return f"What {name} would have earned: {told}, from {number_words(said.n)} turns"


def _draw_values(axes: Axes, windows: list[ScoredWindow], whole: ScoredWindow) -> None:
    interval = whole.target.interval
    kinds = (
        (GREY, "served", [window.served for window in windows]),
        (BLUE, "the policy (DR), ± 1.96 standard errors of one look", [window.target.dr for window in windows]),
    )
    for colour, label, estimates in kinds:
        _draw_line(axes, windows, estimates, colour, label)
    low, high = axes.get_ylim()
    if interval is not None and isfinite(interval.lower) and isfinite(interval.upper):
        axes.axhspan(interval.lower, interval.upper, color=BLUE, alpha=0.08, lw=0, label="all windows, at any time")
        for bound in (interval.lower, interval.upper):
            axes.axhline(bound, color=BLUE, lw=0.8, ls=":")
    room = 0.12 * (high - low)
    axes.set_ylim(low - room, high + room)  # the interval may be as wide as the reward's range
    axes.set_ylabel("reward per turn")
    _legend(axes, ncols=3)


def _draw_weights(axes: Axes, windows: list[ScoredWindow]) -> None:
    means = [_weight(window.target) for window in windows]
    axes.axhline(1.0, color=INK, lw=1.0)
    _draw_line(axes, windows, means, BLUE, "")
    lost = [(_middle(window), window.target.mean_weight or 0.0) for window in windows if window.target.support_lost]
    if lost:
        axes.plot(*zip(*lost, strict=True), color=RED, marker="X", markersize=9, lw=0, label="support lost")
        _legend(axes, ncols=1)
    axes.set_ylabel("mean weight\n(should be 1)")


def _draw_sizes(axes: Axes, windows: list[ScoredWindow]) -> None:
    times = [_middle(window) for window in windows]
    # Windows that slide overlap; their bars must not.
    apart = [after - before for before, after in pairwise(times)]
    width = 0.8 * min([moment(window.end_ms) - moment(window.start_ms) for window in windows[:1]] + apart, default=1.0)
    axes.bar(times, [window.target.n for window in windows], width, color="#dddddd", label="all")
    axes.bar(times, [window.target.effective for window in windows], width, color=BLUE, label="effective")
    if windows:
        axes.set_yscale("log")
        axes.set_ylim(bottom=1.0)
        _legend(axes, ncols=2)
    axes.set_ylabel("turns")


def _draw_line(
    axes: Axes, windows: list[ScoredWindow], estimates: list[Estimate | None], colour: str, label: str
) -> None:
    times = [_middle(window) for window in windows]
    values = [nan if estimate is None else estimate.value for estimate in estimates]
    errors = [0.0 if estimate is None else _Z * (estimate.error or 0.0) for estimate in estimates]
    low = [value - error for value, error in zip(values, errors, strict=True)]
    high = [value + error for value, error in zip(values, errors, strict=True)]
    if len(windows) > _MARKED_MAX:
        axes.fill_between(times, low, high, color=colour, alpha=0.2, lw=0)
        axes.plot(times, values, color=colour, lw=1.6, label=label)
    else:
        axes.errorbar(times, values, errors, color=colour, label=label, marker="o", ms=4, capsize=2, elinewidth=1)


def _legend(axes: Axes, ncols: int) -> None:
    """Above the axes, where no data is."""
    above = (1.0, 0.99)
    axes.legend(loc="lower right", bbox_to_anchor=above, borderaxespad=0.0, frameon=False, fontsize=9, ncols=ncols)


def _weight(said: Estimates) -> Estimate | None:
    return None if said.mean_weight is None else Estimate(said.mean_weight, said.mean_weight_error)


def _middle(window: ScoredWindow) -> float:
    return moment((window.start_ms + window.end_ms) / 2)
