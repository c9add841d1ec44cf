"""The watch for drift: looks at a sample of what the shards learn, and tells when reward, success or latency has moved.

    Shard.watch --thinned--> reward, success, latency of a turn --Drifts--> drift.detected

Advice for people, and no part of the fold: it depends on which turns were looked at, it begins anew with every start
of the worker, and neither checkpoints nor policies know of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from alice_rl.episodes import Episode
from alice_rl.log import get_logger
from alice_rl.online.drift import Drift, Drifts, Scale
from alice_rl.reward import COMPONENTS, STEPS, components, reward_range
from alice_rl.shard import Shard
from worker.settings import Settings
from worker.thinning import Thinning

__all__ = ["DriftWatch", "drifts_of", "signals_of"]

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
        self._settings = settings
        self._thinning = Thinning(settings.drift.rows_per_second)
        self._drifts = drifts_of(settings)
        self._lag_ms = settings.lineage.join.horizon_seconds * 1000
        self._clocks: dict[int, int] = {}  # event time that each partition has reached, ms

    def take(self, partition: int, shard: Shard, episodes: Sequence[Episode]) -> None:
        """Look at some of the episodes that a shard is about to learn, unless it lags behind another by the horizon."""
        self._clocks[partition] = shard.watermark_ms
        # Turns of an earlier time, among later ones of other partitions, would look like a change and one back.
        if shard.watermark_ms < max(self._clocks.values()) - self._lag_ms:
            return
        for arm, ts_ms, values in signals_of(self._thinning.of(episodes), self._settings):
            for drift in self._drifts.take(arm, ts_ms, values):
                _tell(drift)


def drifts_of(settings: Settings) -> Drifts:
    """The detectors that the settings ask for: of reward, success and latency, per arm of the route."""
    reward = settings.reward
    scales = {
        "reward": Scale(*reward_range(reward.weights, reward.bounds)),
        "success": Scale(0.0, 1.0),
        "latency_ms": Scale(0.0, reward.latency_ms_max, logarithmic=True),
    }
    return Drifts(scales, settings.route.arms, delta=settings.drift.delta, quiet_rows=settings.drift.quiet_rows)


def signals_of(episodes: Sequence[Episode], settings: Settings) -> Iterator[tuple[str | None, int, dict[str, float]]]:
    """Route, event time (ms) and signals of each episode; no route where the cache answered and none was taken."""
    if not episodes:
        return
    y = components([episode[2] for episode in episodes], settings.reward.bounds) / STEPS  # (N, m)
    rewards = (y @ settings.reward.weights).tolist()
    hits_teach_all = settings.worker.hits_teach_all
    for (decision, ts_ms, *_), row, reward in zip(episodes, y.tolist(), rewards, strict=True):
        route = decision.route if hits_teach_all or not row[_HIT] else None
        values = {"reward": reward, "success": row[_SUCCESS], "latency_ms": row[_LATENCY]}
        yield None if route is None else route.arm, ts_ms, values


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
