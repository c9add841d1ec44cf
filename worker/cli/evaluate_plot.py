"""An evaluation as a picture: what was served, and what the policy would have earned, window by window."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from alice_rl.errors import AliceError
from worker.cli.evaluate_report import Report
from worker.evaluation.reading import ScoredWindow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["drawn"]

_SERVED, _TARGET = "#999999", "#0072b2"


def drawn(report: Report, path: Path) -> None:
    """Draw the windows into a file.

    Raises
    ------
    AliceError
        There is nothing to draw with, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise AliceError(
            "a picture takes matplotlib", code="plot_missing", hint="pip install 'alice-rl[plot]'"
        ) from None
    picture = Figure(figsize=(11, 5), dpi=120, layout="constrained")
    axes = picture.subplots()
    windows = [w for w in (report.windows[:-1] or report.windows) if w.target.n]
    _draw(axes, windows)
    title = f"What {report.subject.name} would have earned"
    axes.set_title(title if not report.support_lost else f"{title}: support is lost, believe none of it", loc="left")
    try:
        picture.savefig(path)
    except (OSError, ValueError) as error:
        raise AliceError(
            f"cannot draw into {path}: {error}", code="file_unwritable", hint="name a .png or .svg"
        ) from None


def _draw(axes: Axes, windows: list[ScoredWindow]) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    middles = [datetime.fromtimestamp((w.start_ms + w.end_ms) / 2000, UTC) for w in windows]
    times: list[float] = date2num(middles).tolist()  # type: ignore[no-untyped-call]
    for label, colour, estimates in (
        ("served", _SERVED, [w.served.ips for w in windows]),
        ("estimate (DR), ± 1.96 standard errors", _TARGET, [w.target.dr for w in windows]),
    ):
        values = [e.value if e else float("nan") for e in estimates]
        errors = [1.96 * (e.error or 0.0) if e else 0.0 for e in estimates]
        axes.errorbar(
            times, values, yerr=errors, color=colour, label=label, marker="o", markersize=4, capsize=3, lw=1.5
        )
    axes.set_ylabel("reward per turn")
    axes.xaxis.set_major_locator(locator := AutoDateLocator(tz=UTC))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#eeeeee")
    axes.legend(loc="best", frameon=False)
