"""A stretch of the log, scored: for a target, and for whoever served, by windows of event time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct, structs

from alice_rl.clock import ClockState
from alice_rl.episodes import Episode
from alice_rl.intake import Record, index_of
from alice_rl.online.ope import Estimate, Estimates, Pane
from alice_rl.online.windows import merged, windows
from alice_rl.reward import reward_range
from alice_rl.shard import Shard
from alice_rl.shard_state import Mark
from worker.evaluation.scoring import Scoring
from worker.evaluation.target import ServedTarget, Target
from worker.replay.plan import Span
from worker.replay.span import records_of
from worker.settings import Settings

__all__ = ["Learned", "Scored", "ScoredWindow", "coarser", "read_scored", "scored_windows"]

_COARSER = (1, 5, 15, 60, 360, 1440, 10_080)  # of minutes, these are what people count in
_REJECTED = "rejected."


class ScoredWindow(NamedTuple):
    """What was said of the turns decided in `[start_ms, end_ms)`, of the target, and what whoever served has earned."""

    start_ms: int
    end_ms: int
    target: Estimates
    served: Estimate | None


class Learned(NamedTuple):
    """What a policy has learned from.

    `offsets` are those up to which it has read each partition. For a file that it has not read as such, nobody knows
    which lines it had in a topic; then it has learned from everything up to its own time, `created_at_ms`.
    """

    offsets: Mapping[int, int] = {}
    created_at_ms: int = 0

    def before(self, span: Span) -> tuple[int, int]:
        """An offset and an event time, ms: an episode is known to be new to the policy from both on."""
        if span.path and self.offsets and span.partition not in self.offsets:
            return 0, self.created_at_ms + 1
        return self.offsets.get(span.partition, 0), 0


class Scored(Struct):
    """What a stretch of the log says about a target.

    Attributes
    ----------
    records, episodes : int
        What was read, and joined.
    seen : int
        Episodes that the target has learned from, or may have.
    rejected : Counter
        Records that are no events, by reason: one whose propensities cannot be right is never repaired.
    slide_ms : int
        Event time of a pane.
    target, served : dict of int to Pane
        By ordinal.
    """

    records: int
    episodes: int
    seen: int
    rejected: Counter[str]
    slide_ms: int
    target: dict[int, Pane]
    served: dict[int, Pane]


async def read_scored(
    settings: Settings,
    spans: Sequence[Span],
    target: Target,
    *,
    learned: Learned,
    unseen_only: bool,
    slide_ms: int,
    show: Callable[[int], object],
) -> Scored:
    """Read spans of the log, and score their episodes.

    Parameters
    ----------
    settings : Settings
        Of the lineage that joins them, and of the reward.
    spans : sequence of Span
    target : Target
    learned : Learned
        What the target has learned from.
    unseen_only : bool
        Whether to leave that out.
    slide_ms : int
    show : callable
        Told how many records were read.

    Notes
    -----
    The same fold as the worker's joins them, so what is late, double or out of order counts as it does there. Each
    partition has a reward model of its own, of its own earlier turns.
    """
    total = Scored(0, 0, 0, Counter(), slide_ms, {}, {})
    for span in spans:
        scored = _Span(settings, span, target, learned, slide_ms, unseen_only=unseen_only)
        async for records in records_of(settings, span, span.first):
            scored.feed(records)
            total.records += len(records)
            show(total.records)
        scored.add_to(total)
    return total


class _Span:
    """One span under way."""

    def __init__(
        self, settings: Settings, span: Span, target: Target, learned: Learned, slide_ms: int, *, unseen_only: bool
    ) -> None:
        self._scorings = [Scoring(who, settings.reward, slide_ms) for who in (target, ServedTarget())]
        self._known, self._known_ms = learned.before(span)
        self._unseen_only = unseen_only
        self._old = False  # what is being fed
        self._episodes = self._seen = 0
        self._shard = Shard(settings.lineage, Mark(span.first, ClockState()), span.source)
        self._shard.watch = self._take

    def feed(self, records: Sequence[Record]) -> None:
        """Read the next records; those on both sides of where the target has read to apart."""
        at = index_of(records, self._known)
        for part in (records[:at], records[at:]):
            self._old = bool(part) and part[-1].offset < self._known
            if part:
                self._shard.feed(part)

    def add_to(self, total: Scored) -> None:
        """Add what was found."""
        total.episodes += self._episodes
        total.seen += self._seen
        reasons = ((name, n) for name, n in self._shard.counts.items() if name.startswith(_REJECTED))
        total.rejected.update({name.removeprefix(_REJECTED): n for name, n in reasons})
        for panes, scoring in zip((total.target, total.served), self._scorings, strict=True):
            for ordinal, pane in scoring.panes.items():
                panes[ordinal] = panes.get(ordinal, Pane()) + pane

    def _take(self, episodes: Sequence[Episode]) -> None:
        new = [] if self._old else [episode for episode in episodes if episode[1] >= self._known_ms]
        self._episodes += len(episodes)
        self._seen += len(episodes) - len(new)
        for scoring in self._scorings:
            scoring.take(new if self._unseen_only else episodes)


def coarser(scored: Scored, panes_max: int) -> Scored:
    """The same with panes of more event time, so few that from the first to the last there is room for `panes_max`.

    Examples
    --------
    >>> scored = Scored(3, 3, 0, Counter(), 60_000, {0: Pane(), 3: Pane(), 9: Pane()}, {})
    >>> found = coarser(scored, panes_max=3)
    >>> found.slide_ms, sorted(found.target)
    (300000, [0, 1])
    """
    first, last = min(scored.target, default=0), max(scored.target, default=0)
    factor = next((f for f in _COARSER if last // f - first // f < panes_max), (last - first) // panes_max + 1)

    def regrouped(panes: Mapping[int, Pane]) -> dict[int, Pane]:
        found: dict[int, Pane] = {}
        for ordinal, pane in panes.items():
            found[ordinal // factor] = found.get(ordinal // factor, Pane()) + pane
        return found

    slide_ms, panes = scored.slide_ms * factor, (regrouped(scored.target), regrouped(scored.served))
    return structs.replace(scored, slide_ms=slide_ms, target=panes[0], served=panes[1])


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
        found = [ScoredWindow(t.start_ms, t.end_ms, said(t.pane), s.pane.ips) for t, s in pairs]
    first, last = min(scored.target, default=0), max(scored.target, default=-1)
    whole = said(merged(scored.target)), merged(scored.served).ips
    return [*found, ScoredWindow(first * scored.slide_ms, (last + 1) * scored.slide_ms, *whole)]
