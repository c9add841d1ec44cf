"""The watch for drift: looks at a sample of what the shards learn, and tells when reward, success or latency has moved.

    Shard.watch --thinned--> reward, success, latency of a turn --Drifts--> drift.detected

Advice for people, and no part of the fold: it depends on which turns were looked at, it begins anew with every start
of the worker, and neither checkpoints nor policies know of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from alice_rl.episodes import Episode
from alice_rl.log import get_logger
from alice_rl.online.drift import Drift, Drifts, Scale
from alice_rl.reward import COMPONENTS, STEPS, components, reward_range
from alice_rl.shard import Shard
from worker.settings import Settings
from worker.thinning import Thinning

__all__ = ["DriftWatch"]

logger = get_logger(__name__)

_SUCCESS, _LATENCY, _HIT = (COMPONENTS.index(name) for name in ("success", "latency_ms", "cache_hit"))
_DIGITS = 6


class DriftWatch:
    """Detectors over the turns of all partitions that a worker holds, in the order in which they are learned.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self._weights, self._bounds = settings.reward.weights, settings.reward.bounds
        self._hits_teach_all = settings.lineage.hits_teach_all
        self._thinning = Thinning(settings.drift.rows_per_second)
        self._drifts = Drifts(
            {
                "reward": Scale(*reward_range(self._weights, self._bounds)),
                "success": Scale(0.0, 1.0),
                "latency_ms": Scale(0.0, self._bounds.latency_ms_max, logarithmic=True),
            },
            settings.route.arms,
            delta=settings.drift.delta,
            quiet_rows=settings.drift.quiet_rows,
        )

    def take(self, partition: int, shard: Shard, episodes: Sequence[Episode]) -> None:
        """Look at some of the episodes that a shard is about to learn."""
        chosen = self._thinning.of(episodes)
        if not chosen:
            return
        y = components([episode[2] for episode in chosen], self._bounds) / STEPS  # (N, m)
        rewards = (y @ self._weights).tolist()
        for episode, row, reward in zip(chosen, y.tolist(), rewards, strict=True):
            values = {"reward": reward, "success": row[_SUCCESS], "latency_ms": row[_LATENCY]}
            for drift in self._drifts.take(self._arm(episode, row[_HIT] > 0), episode[1], values):
                _tell(drift)

    def _arm(self, episode: Episode, hit: bool) -> str | None:
        """The route that the turn took; None when the cache answered, and no route was taken."""
        route = episode[0].route
        return None if route is None or (hit and not self._hits_teach_all) else route.arm


def _tell(drift: Drift) -> None:
    logger.warning(
        "drift.detected",
        signal=drift.signal,
        arm=drift.arm,
        before=round(drift.before, _DIGITS),
        after=round(drift.after, _DIGITS),
        since=_iso(drift.since_ms),
        at=_iso(drift.at_ms),
        rows=drift.rows,
    )


def _iso(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1000, UTC).isoformat(timespec="seconds")
