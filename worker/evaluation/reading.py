"""A stretch of the log, scored: for a target, and for whoever served, by windows of event time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from alice_rl.clock import ClockState
from alice_rl.episodes import Episode
from alice_rl.intake import index_of
from alice_rl.online.ope import Estimates, Pane
from alice_rl.online.windows import merged, windows
from alice_rl.reward import reward_range
from alice_rl.shard import Shard
from alice_rl.shard_state import Mark
from worker.cli.progress import Show
from worker.evaluation.scoring import Scoring
from worker.evaluation.target import ServedTarget, Target
from worker.replay.plan import Span
from worker.replay.span import records_of
from worker.settings import Settings

__all__ = ["Scored", "ScoredWindow", "read_scored", "scored_windows"]


class ScoredWindow(NamedTuple):
    """What was said of the turns decided in `[start_ms, end_ms)`, of the target and of whoever served."""

    start_ms: int
    end_ms: int
    target: Estimates
    served: Estimates


class Scored(Struct):
    """What a stretch of the log says about a target.

    Attributes
    ----------
    records, episodes : int
        What was read, and joined.
    seen : int
        Episodes that the target has learned from.
    slide_ms : int
        Event time of a pane.
    target, served : dict of int to Pane
        By ordinal.
    """

    records: int
    episodes: int
    seen: int
    slide_ms: int
    target: dict[int, Pane]
    served: dict[int, Pane]


async def read_scored(
    settings: Settings,
    spans: Sequence[Span],
    target: Target,
    *,
    learned: Mapping[int, int],
    unseen_only: bool,
    slide_ms: int,
    show: Show,
) -> Scored:
    """Read spans of the log, and score their episodes.

    Parameters
    ----------
    settings : Settings
        Of the lineage that joins them, and of the reward.
    spans : sequence of Span
    target : Target
    learned : mapping of int to int
        By partition, the offset up to which the target has learned.
    unseen_only : bool
        Whether to leave out what it has learned from.
    slide_ms : int
    show : Show

    Notes
    -----
    The same fold as the worker's joins them, so what is late, double or out of order counts as it does there. Each
    partition has a reward model of its own, of its own earlier turns.
    """
    total = Scored(0, 0, 0, slide_ms, {}, {})
    for span in spans:
        scorings = [Scoring(who, settings.reward, slide_ms) for who in (target, ServedTarget())]
        shard = Shard(settings.lineage, Mark(span.first, ClockState()), span.source)
        known = learned.get(span.partition, 0)

        def take(
            episodes: Sequence[Episode], scorings: list[Scoring] = scorings, shard: Shard = shard, known: int = known
        ) -> None:
            total.episodes += len(episodes)
            if shard.next < known:
                total.seen += len(episodes)
                if unseen_only:
                    return
            for scoring in scorings:
                scoring.take(episodes)

        shard.watch = take
        async for records in records_of(settings, span, span.first):
            cut = index_of(records, known)  # what was learned from, and what was not, are shown apart
            for part in (records[:cut], records[cut:]):
                shard.feed(part)
            total.records += len(records)
            show(total.records)
        for panes, scoring in zip((total.target, total.served), scorings, strict=True):
            for ordinal, pane in scoring.panes.items():
                panes[ordinal] = panes.get(ordinal, Pane()) + pane
    return total


def scored_windows(scored: Scored, settings: Settings, per_window: int | None, alpha: float) -> list[ScoredWindow]:
    """The windows of a stretch, the last of them over everything; only that one without `per_window`."""
    least, most = reward_range(settings.reward.weights, settings.reward.bounds)

    def said(pane: Pane) -> Estimates:
        return pane.estimates(least=least, most=most, alpha=alpha)

    found = []
    if per_window is not None:
        pairs = zip(
            windows(scored.target, scored.slide_ms, per_window),
            windows(scored.served, scored.slide_ms, per_window),
            strict=True,
        )
        found = [ScoredWindow(t.start_ms, t.end_ms, said(t.pane), said(s.pane)) for t, s in pairs]
    first, last = min(scored.target, default=0), max(scored.target, default=-1)
    whole = said(merged(scored.target)), said(merged(scored.served))
    return [*found, ScoredWindow(first * scored.slide_ms, (last + 1) * scored.slide_ms, *whole)]
