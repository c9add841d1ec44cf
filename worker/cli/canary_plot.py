"""A canary as a picture: what users felt and what the policies differ by, the evidence, and the share, over time."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alice_rl.errors import AliceError
from alice_rl.online.canary import GateRules, Verdict
from worker.cli import picture
from worker.cli.canary_record import CanaryRecord, Step, verdict_of
from worker.cli.canary_words import share_words
from worker.cli.output import number_words
from worker.cli.picture import BLUE, GREY, INK, RED, moment

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure", "save"]

_POLICIES, _ARMS, _RATIO, _INK = BLUE, "#d55e00", GREY, INK
_ENDS = {"promoted": "#009e73", "rolled_back": RED, "invalid": "#8e44ad", "withdrawn": "#555555"}
_MARKED_MAX = 30  # so few looks are shown one by one
_LOG_SHOWN_LEAST = -4.0  # of an e-value's decimal logarithm: below that it says no more


def save(path: Path, record: CanaryRecord, rules: GateRules, title: str) -> None:
    """Draw a canary into a file.

    Raises
    ------
    AliceError
        There is nothing to draw, or the file cannot be written.
    """
    if not record.points:
        raise AliceError(
            f"no look at version {record.version} is kept, so there is nothing to draw",
            code="no_points",
            hint="the newest 2,000 looks of all canaries are kept; a look counts once outcomes are due",
        )
    picture.save(figure(record, rules, title), path)


def figure(record: CanaryRecord, rules: GateRules, title: str) -> Figure:
    """The picture of a canary that was looked at once at least."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(11, 7.5), dpi=120, layout="constrained")
    effect, proof, share = drawn.subplots(3, 1, sharex=True, height_ratios=(5, 3, 1.2))
    times = [moment(point.ts_ms) for point in record.points]
    verdicts = [verdict_of(point.verdict) for point in record.points]
    drawn.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", wrap=True)
    _draw_effect(effect, times, verdicts, rules)
    _draw_evidence(proof, times, verdicts, rules)
    _draw_share(share, record, times)
    for axes in (effect, proof, share):
        _mark_steps(axes, record, named=axes is effect)
        picture.dress(axes)
    picture.time_axis(share)
    _count_requests(effect, times, verdicts)
    return drawn


def _draw_effect(axes: Axes, times: list[float], verdicts: list[Verdict], rules: GateRules) -> None:
    kinds: tuple[tuple[str, str, Callable[[Verdict], Any]], ...] = (
        (_ARMS, "what users felt (H)", lambda verdict: verdict.arms),
        (_POLICIES, "what the policies differ by (D)", lambda verdict: verdict.policies),
    )
    bounds, estimates = [], []
    marker = "o" if len(times) < _MARKED_MAX else ""
    for colour, label, of in kinds:
        lower, upper = [of(v).lower for v in verdicts], [of(v).upper for v in verdicts]
        axes.fill_between(times, lower, upper, color=colour, alpha=0.15, linewidth=0)
        axes.plot(times, lower, color=colour, linewidth=0.6, alpha=0.6)
        axes.plot(times, upper, color=colour, linewidth=0.6, alpha=0.6)
        estimate = [of(v).estimate for v in verdicts]
        axes.plot(times, estimate, color=colour, linewidth=1.8, label=label, marker=marker, markersize=4)
        estimates += estimate[len(estimate) // 4 :]
        bounds.append((lower, upper))
    axes.axhline(0.0, color=_INK, linewidth=1.0)
    if rules.margin:
        axes.axhline(-rules.margin, color=_INK, linewidth=0.8, linestyle=":")
        axes.annotate(
            "margin", (0.995, -rules.margin), xycoords=("axes fraction", "data"), ha="right", va="top", size=8
        )
    axes.set_ylim(*_range(bounds, estimates))
    axes.set_ylabel("reward per request,\ncanary minus live")
    axes.legend(loc="lower right", edgecolor="none", framealpha=0.85, fontsize=9, ncols=2)


def _range(bounds: list[tuple[list[float], list[float]]], estimates: list[float]) -> tuple[float, float]:
    """What is shown: intervals are as wide as the reward's own range at first, and what comes later is what matters."""
    last = [side[-1] for pair in bounds for side in pair]
    least, most = min(0.0, *last, *estimates), max(0.0, *last, *estimates)
    room = 0.5 * (most - least) or 1.0
    lowest, highest = min(min(lower) for lower, _ in bounds), max(max(upper) for _, upper in bounds)
    pad = 0.1 * room
    return max(least - room, min(lowest, least) - pad), min(most + room, max(highest, most) + pad)


def _draw_evidence(axes: Axes, times: list[float], verdicts: list[Verdict], rules: GateRules) -> None:
    lines = (
        (_POLICIES, "better: promote", [v.log_e_promote for v in verdicts]),
        (_ARMS, "worse: roll back", [v.log_e_rollback for v in verdicts]),
        (_RATIO, "split is not as told: void", [v.log_e_ratio for v in verdicts]),
    )
    for colour, label, values in lines:
        axes.plot(times, np.maximum(np.array(values) / log(10), _LOG_SHOWN_LEAST), color=colour, label=label)
    for alpha, colour, words in ((rules.alpha, _INK, "enough"), (rules.alpha_ratio, _RATIO, "enough to void")):
        needed = -log(alpha) / log(10)
        axes.axhline(needed, color=colour, linewidth=0.9, linestyle="--")
        axes.annotate(
            f"{words}: {number_words(1 / alpha)} to 1",
            (0.005, needed),
            xycoords=("axes fraction", "data"),
            va="bottom",
            size=8,
            color=colour,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
        )
    top = max(-log(rules.alpha_ratio) / log(10) * 1.25, *(max(v) / log(10) * 1.1 for *_, v in lines))
    axes.set_ylim(_LOG_SHOWN_LEAST - 1.5, top)
    axes.yaxis.set_major_formatter(lambda value, _: f"$10^{{{value:g}}}$" if value == int(value) else "")
    axes.set_ylabel("evidence\n(e-value)")
    axes.legend(loc="lower right", edgecolor="none", framealpha=0.85, fontsize=9, ncols=3)


def _draw_share(axes: Axes, record: CanaryRecord, times: list[float]) -> None:
    given = [(moment(step.ts_ms), 100 * step.share) for step in record.steps if step.by_gate]
    given = given or list(zip(times, [100 * point.share for point in record.points], strict=True))
    if record.end is None:
        given.append((times[-1], given[-1][1]))
    shares = [share for _, share in given]
    axes.fill_between([at for at, _ in given], 0, shares, step="post", color="#cccccc", linewidth=0)
    axes.set_ylim(0, max(60.0, *shares))
    axes.set_ylabel("share, %")


def _mark_steps(axes: Axes, record: CanaryRecord, *, named: bool) -> None:
    """A line at every step; the steps' names stand at the top of the first picture."""
    # What a person did stands in the audit by Redis's clock, which a log may be far from.
    last_ms = max(point.ts_ms for point in record.points)
    times = [moment(step.ts_ms if step.by_gate else min(step.ts_ms, last_ms)) for step in record.steps]
    ends = (*times, *(moment(point.ts_ms) for point in record.points))
    crowded = (max(ends) - min(ends)) / 20
    for at, step in enumerate(record.steps):
        colour = _ENDS.get(step.what, "#777777")
        axes.axvline(times[at], color=colour, linewidth=2.0 if step.ends else 0.8)
        if named and (
            step.ends or times[min(at + 1, len(times) - 1)] - times[at] > crowded or step is record.steps[-1]
        ):
            words = _step_words(step)
            axes.annotate(
                f" {words}" if not step.ends else f"{words} ",
                (times[at], 0.985),
                xycoords=("data", "axes fraction"),
                ha="right" if step.ends else "left",
                va="top",
                size=10 if step.ends else 8,
                color=colour,
                fontweight="bold" if step.ends else "normal",
            )


def _step_words(step: Step) -> str:
    if step.ends:
        return step.what.replace("_", " ")
    return f"against {step.live}" if step.what == "live" else share_words(step.share) if step.share else "shadow"


def _count_requests(axes: Axes, times: list[float], verdicts: list[Verdict]) -> None:
    """Requests that counted, along the top."""
    picked = sorted({round(at) for at in np.linspace(0, len(times) - 1, min(len(times), 6))})
    top = axes.secondary_xaxis("top")
    top.set_xticks([times[at] for at in picked], [number_words(verdicts[at].requests) for at in picked], size=8)
    top.set_xlabel("requests whose outcomes were awaited to the end", size=8)
    top.spines["top"].set_visible(False)
    top.tick_params(length=2)
