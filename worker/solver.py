"""Sums to a snapshot: weigh the buckets by their age, and solve the three slots.

Everything that is a choice rather than data enters here: reward weights, half-life, priors, exploration. The same sums
and the same settings give the same snapshot, whoever solves them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from alice_rl.features import UNIT
from alice_rl.online import epsilon_greedy, linucb, thompson
from alice_rl.online.decay import Bucket, weight
from alice_rl.online.moments import Tally
from alice_rl.online.trial import TrialSums
from alice_rl.reward import COMPONENTS, STEPS
from alice_rl.shard import Shard
from alice_rl.slots import Exploration
from alice_rl.snapshot.format import Manifest, Snapshot
from alice_rl.sums import Sums, digest
from alice_rl.trials import Trial
from worker.settings import Settings

__all__ = ["Taught", "solve_policy"]

FloatArray = npt.NDArray[np.float64]
_M = len(COMPONENTS)
_SCALE_MIN = 1.0  # centre the hashed indicators, but do not stretch the rare ones: that would undo their ridge


class Taught(NamedTuple):
    """What one partition has taught by its offset `next`."""

    next: int
    watermark_ms: int
    digest: str
    buckets: Mapping[Bucket, Sums]
    episodes: int
    trials: Mapping[Trial, TrialSums] = MappingProxyType({})

    @classmethod
    def of(cls, shard: Shard) -> Taught:
        """What a shard has taught, and what its trials have shown whose outcomes were all awaited."""
        return cls(
            shard.next,
            shard.watermark_ms,
            shard.digest(),
            shard.buckets,
            shard.counts["episodes"],
            shard.trials.closed(),
        )


def solve_policy(taught: Mapping[int, Taught], settings: Settings, version: int) -> Snapshot:
    """The policy of everything that the partitions have taught.

    Parameters
    ----------
    taught : mapping of partition to Taught
    settings : Settings
    version : int
        The version that the snapshot will be published as.
    """
    lineage, now_ms = settings.lineage, max(part.watermark_ms for part in taught.values())
    half_life_ms = None if settings.decay.half_life_hours is None else settings.decay.half_life_hours * 3_600_000
    span_ms = lineage.bucket_seconds * 1000
    # In a fixed order, because sums of weighted terms are rounded.
    ordered = sorted((bucket, partition) for partition, part in taught.items() for bucket in part.buckets)
    weighed = [(taught[p].buckets[bucket], weight(bucket, now_ms, span_ms, half_life_ms)) for bucket, p in ordered]
    weights = settings.reward.weights
    ridge = _ridge_sums(weighed, settings)
    route = linucb.solve(
        *ridge,
        weights,
        x_unit=1 / UNIT,
        y_unit=1 / STEPS,
        lam=settings.route.lam,
        alpha=settings.route.alpha,
        young_rounds=settings.route.young_rounds,
        regularization=settings.route.regularization,
        scale_min=_SCALE_MIN,
    )
    intents, counts = _tally(weighed, "tool", Tally(len(lineage.arms.tool), 2))
    tool = thompson.posterior(
        counts[..., 0], counts[..., 1], settings.tool.alpha_prior, settings.tool.beta_prior, settings.tool.pooled_counts
    )
    classes, moments = _tally(weighed, "cache", Sums(lineage).cache)
    n, total = moments[..., 0], moments[..., 1 : 1 + _M] @ (weights / STEPS)
    unseen = np.zeros((1, n.shape[1]))
    manifest = Manifest(
        policy=settings.policy.name,
        version=version,
        created_at_ms=now_ms,
        lineage=settings.policy.lineage,
        lineage_fingerprint=lineage.fingerprint,
        offsets={partition: part.next for partition, part in sorted(taught.items())},
        features=lineage.features,
        features_fingerprint=lineage.features.fingerprint,
        arms=lineage.arms,
        intents=tuple(intents),
        classes=tuple(classes),
        cache_class=lineage.cache_class,
        weights=dict(zip(COMPONENTS, weights.tolist(), strict=True)),
        bounds=lineage.bounds,
        exploration=Exploration.of(settings.route, settings.tool, settings.cache),
        max_share=settings.quotas.max_share,
        guardian=settings.guardian,
        counts={
            "episodes": sum(part.episodes for part in taught.values()),
            **_turns("route", lineage.arms.route, ridge.n),
            **_turns("tool", lineage.arms.tool, counts.sum(axis=(0, 2))),
            **_turns("cache", lineage.arms.cache, n.sum(axis=0)),
        },
        moments_digest=digest({str(partition): part.digest for partition, part in taught.items()}),
        mean_reward={
            "route": _means(lineage.arms.route, ridge.B[:, 0] / UNIT @ (weights / STEPS), ridge.n),
            "tool": _means(lineage.arms.tool, counts[..., 0].sum(axis=0), counts.sum(axis=(0, 2))),
            "cache": _means(lineage.arms.cache, total.sum(axis=0), n.sum(axis=0)),
        },
        holdout_share=settings.rules.holdout_share,
    )
    return Snapshot(
        manifest,
        route_theta=route.theta,
        route_factor=route.factor,
        route_alpha=route.alpha,
        route_noise=route.noise_variance,
        tool_a=tool[0],
        tool_b=tool[1],
        cache_mean=epsilon_greedy.means(n, total, settings.cache.pooled_counts),
        cache_n=np.vstack([n, unseen]),
    )


class _RidgeSums(NamedTuple):
    """Weighted `n` (K,), `G` (K, d, d), `B` (K, d, m) and `Y` (K, m, m)."""

    n: FloatArray
    G: FloatArray
    B: FloatArray
    Y: FloatArray


def _ridge_sums(weighed: Iterable[tuple[Sums, float]], settings: Settings) -> _RidgeSums:
    zero = Sums(settings.lineage).route
    totals = _RidgeSums(*(np.zeros(part.shape) for part in (zero.n, zero.G, zero.B, zero.Y)))
    for sums, w in weighed:
        for total, part in zip(totals, (sums.route.n, sums.route.G, sums.route.B, sums.route.Y), strict=True):
            total += w * part
    return totals


def _tally(weighed: Iterable[tuple[Sums, float]], slot: str, empty: Tally) -> tuple[list[str], FloatArray]:
    """The weighted rows of one tally over all buckets: names in order, and an array of shape (I, K, width)."""
    rows: dict[str, FloatArray] = {}
    for sums, w in weighed:
        tally: Tally = getattr(sums, slot)
        for name, row in zip(tally.names, tally.sums, strict=True):
            rows[name] = rows[name] + w * row if name in rows else w * row
    names = sorted(rows)
    return names, np.array([rows[name] for name in names]).reshape(len(names), *empty.sums.shape[1:])


def _means(arms: tuple[str, ...], total: FloatArray, n: FloatArray) -> dict[str, float]:
    """What each arm has brought per turn: reward, or for a tool its success rate; an arm without turns is left out."""
    return {arm: float(t / m) for arm, t, m in zip(arms, total, n, strict=True) if m > 0}


def _turns(slot: str, arms: tuple[str, ...], n: FloatArray) -> dict[str, int]:
    """The turns behind each arm, weighed by their age and rounded."""
    return {f"{slot}.{arm}": round(float(m)) for arm, m in zip(arms, n, strict=True)}
