"""The gate and a canary's story on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from alice_rl.online.canary import Effect, Verdict
from worker.cli.canary_gate import Evidence, GateSeen
from worker.cli.canary_story import Story
from worker.cli.canary_words import share_words
from worker.cli.output import age_words, number_words
from worker.cli.status_view import columns, facts, headed, time_words

if TYPE_CHECKING:
    from worker.replay.canary import Replayed

__all__ = ["gate_view", "replay_view", "story_view"]

_DIGEST_SHOWN = 12
_PROSE_WIDTH = 100
_PHASES = {
    "none": "no canary",
    "shadow": "shadow: its choices are logged, it serves nobody",
    "trial": "on trial",
    "approval": "has won, waits for a person",
    "by_hand": "opened by hand",
}


def gate_view(seen: GateSeen) -> RenderableType:
    """What the gate is doing now."""
    rows = [
        ("policy", f"{seen.policy}, canary.mode {seen.mode}"),
        ("phase", _PHASES[seen.phase]),
        ("live", _version_words(seen.live, seen.live_digest)),
        ("canary", _version_words(seen.canary, seen.canary_digest) if seen.canary is not None else ""),
        ("share", _share_words(seen)),
        ("requests", _requests_words(seen.verdict)),
        ("why", seen.why),
        ("next", seen.next),
        ("cool-down", f"until {time_words(seen.next_after_ms)}" if seen.next_after_ms else ""),
        ("pinned", f"to version {seen.pinned}" if seen.pinned is not None else ""),
        ("before", _last_words(seen)),
        ("log's clock", time_words(seen.log_ms)),
    ]
    parts: list[RenderableType] = [facts([row for row in rows if row[1]])]
    if seen.verdict is not None and seen.evidence is not None and seen.verdict.requests:
        parts += [_effects(seen.verdict), _evidence(seen.evidence)]
    if seen.window:
        parts.append(_window(seen.window))
    return Group(*parts)


def _version_words(version: int | None, digest: str) -> str:
    return "none" if version is None else f"version {version}, {digest[:_DIGEST_SHOWN]}"


def _share_words(seen: GateSeen) -> str:
    if seen.canary is None:
        return ""
    words = f"{share_words(seen.share)} of the requests"
    if seen.share_since_ms is None or seen.opened_ms is None:
        return words
    lasted = "" if seen.log_ms is None else f", {age_words((seen.log_ms - seen.share_since_ms) / 1000)} ago"
    return f"{words} since {time_words(seen.share_since_ms)}{lasted}; opened {time_words(seen.opened_ms)}"


def _requests_words(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    counted, served = number_words(verdict.requests), number_words(verdict.canary_requests)
    worth = f"effective sample of the policies' comparison {number_words(verdict.effective)}"
    return f"{counted} whose outcomes were awaited to the end, {served} of them the canary's; {worth}"


def _last_words(seen: GateSeen) -> str:
    last = seen.last
    if last is None:
        return ""
    outcome = (last.outcome or "ended").replace("_", " ")
    return f"version {last.version} {outcome} {time_words(last.ended_ms)}: {last.reason or 'no reason is known'}"


def _effects(verdict: Verdict) -> RenderableType:
    table = columns("canary minus live, reward per request", "estimate", "from", "to")
    named = (("what users felt (H)", verdict.arms), ("what the policies differ by (D)", verdict.policies))
    for name, effect in named:
        table.add_row(name, *_effect_words(effect))
    return headed("Effect", table)


def _effect_words(effect: Effect) -> tuple[str, str, str]:
    return f"{effect.estimate:+.4f}", f"{effect.lower:+.4f}", f"{effect.upper:+.4f}"


def _evidence(evidence: Evidence) -> RenderableType:
    table = columns("that the canary", "e-value", "it takes")
    for words, value, enough in (
        ("is better: promote", evidence.promote, evidence.enough),
        ("is worse: roll back", evidence.rollback, evidence.enough),
        ("has not the requests that it was sent: void", evidence.ratio, evidence.enough_ratio),
    ):
        shown = f"{value:.3g}" if value < 1e6 else f"{value:.1e}"
        table.add_row(words, Text(shown, "bold" if value >= enough else ""), number_words(enough))
    return headed("Evidence", table)


def _window(window: Mapping[str, Any]) -> RenderableType:
    """What the newest turns that were not learned from say of each policy: the quality gates' numbers."""
    table = columns("policy", "reward per turn", "standard error", "unseen turns", "effective", "mean weight")
    for name, one in window.items():
        variance = one.get("variance")
        table.add_row(
            name,
            _number_words(one.get("value")),
            "-" if variance is None else f"{sqrt(variance):.4f}",
            number_words(one.get("episodes")),
            number_words(one.get("effective")),
            _number_words(one.get("mean_weight")),
        )
    return headed("Quality window, estimated from turns that others served", table)


def _number_words(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def story_view(story: Story) -> RenderableType:
    """A story, as prose that is no wider than can be read."""
    parts: list[RenderableType] = [_Prose(story.headline, "bold")]
    for passage in story.passages:
        parts.append(Text(f"\n{passage.title}", "bold cyan"))
        parts += [_Prose(line, indent=2) for line in passage.lines]
    return Group(*parts)


class _Prose:
    """A paragraph no wider than can be read, and without blanks at the ends of its lines."""

    def __init__(self, text: str, style: str = "", indent: int = 0) -> None:
        self._text, self._style, self._indent = text, style, indent

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(20, min(options.max_width, _PROSE_WIDTH) - self._indent)
        for line in wrap(self._text, width, break_long_words=False, break_on_hyphens=False):
            yield Text(" " * self._indent + line, self._style)


def replay_view(replayed: list[Replayed], missing: int) -> RenderableType:
    """How the recorded verdicts compare with those that the log gives again."""
    if not replayed:
        return Text("\nNo verdict has been recorded yet that could be reached again.")
    table = columns("step", "the log's clock", "recorded", "replayed", "requests", text=4)
    lines = []
    for one in replayed:
        differs = "" if not one.parts else "bold red"
        table.add_row(
            one.look.what.replace("_", " "),
            time_words(one.look.ts_ms),
            one.look.verdict.decision,
            Text(one.verdict.decision, differs or "green"),
            number_words(one.verdict.requests),
        )
        if one.parts:
            lines.append(f"{one.look.what} at {time_words(one.look.ts_ms)} parts in {', '.join(one.parts)}.")
    equal = not lines
    if missing:
        lines.append(f"{missing} more lie before the savepoint, and cannot be reached from it.")
    told = Text("Equal: the log gives the same verdicts at the same offsets.", "bold green")
    return Group(
        headed("The verdicts, reached again from the log", table),
        *map(Text, lines),
        told if equal else Text("NOT equal.", "bold red"),
    )
