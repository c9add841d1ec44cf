"""Episodes to panes: each turn weighed by how likely a target would have served it, by event time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from alice_rl.episodes import Episode
from alice_rl.online.earlier_means import EarlierMeans
from alice_rl.online.ope import Estimates, Pane
from alice_rl.online.windows import merged
from alice_rl.reward import STEPS, RewardSettings, components, reward_range
from worker.evaluation.target import Target, served_probability

__all__ = ["Scoring"]


class Scoring:
    """The panes of one target.

    Parameters
    ----------
    target : Target
    reward : RewardSettings
    slide_ms : int
        Event time of a pane.

    Attributes
    ----------
    panes : dict of int to Pane
        By ordinal: pane i has the turns that were decided from `i slide_ms` on.
    """

    def __init__(self, target: Target, reward: RewardSettings, slide_ms: int) -> None:
        self.panes: dict[int, Pane] = {}
        self._target = target
        self._weights = reward.weights / STEPS
        self._bounds = reward.bounds
        self._range = reward_range(reward.weights, reward.bounds)
        self._slide_ms = slide_ms
        self._means = EarlierMeans()

    def take(self, episodes: Iterable[Episode]) -> None:
        """Score the next episodes, in log order; those without propensities are counted as unfit."""
        chosen = list(episodes)
        rewards = components([episode[2] for episode in chosen], self._bounds) @ self._weights if chosen else []
        for (decision, ts_ms, *_), r in zip(chosen, np.asarray(rewards).tolist(), strict=True):
            pane = self.panes.setdefault(ts_ms // self._slide_ms, Pane())
            served = served_probability(decision)
            if served is None:
                pane.unfit += 1
                continue
            w = self._target.probability(decision) / served
            intent, route = decision.context.intent, decision.route
            cell = (intent, "" if route is None else route.arm)
            q = self._means.expect(cell)
            expected = sum(p * self._means.expect((intent, arm)) for arm, p in self._target.routes(decision).items())
            v = q if route is None else expected
            pane.add(w, r, v + w * (r - q))
            self._means.learn(cell, r)

    def estimates(self, pane: Pane | None = None, alpha: float = 0.05) -> Estimates:
        """What a pane says, or all of them together."""
        least, most = self._range
        return (merged(self.panes) if pane is None else pane).estimates(least=least, most=most, alpha=alpha)
