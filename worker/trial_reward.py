"""What a request is worth in a trial, out of the canary's own manifest: so a verdict is a function of the log and of
the snapshot, and of no worker's settings.
"""

from __future__ import annotations

import numpy as np

from alice_rl.online.canary import Reward
from alice_rl.reward import COMPONENTS, STEPS
from alice_rl.snapshot.manifest import Manifest

__all__ = ["mean_reward_of", "reward_of"]

_SLOTS = ("cache", "route")  # every turn asks a cache; a turn that it answers may not teach the route


def reward_of(manifest: Manifest) -> Reward:
    """Weights per fixed-point step, range, and the mean reward before the trial as its centre.

    Parameters
    ----------
    manifest : Manifest
        The canary's.
    """
    weights = np.array([manifest.weights.get(name, 0.0) for name in COMPONENTS])  # (m,), per natural unit
    bounds = {"latency_ms": manifest.bounds.latency_ms_max, "cost_usd": manifest.bounds.cost_usd_max}
    extremes = weights * np.array([bounds.get(name, 1.0) for name in COMPONENTS])
    return Reward(
        weights=weights / STEPS,
        centre=mean_reward_of(manifest),
        least=float(np.minimum(extremes, 0.0).sum()),
        most=float(np.maximum(extremes, 0.0).sum()),
    )


def mean_reward_of(manifest: Manifest) -> float:
    """Reward per turn of all that was learned, as far as the manifest tells; else 0."""
    for slot in _SLOTS:
        means = manifest.mean_reward.get(slot, {})
        turns = {arm: manifest.counts.get(f"{slot}.{arm}", 0) for arm in means}
        if total := sum(turns.values()):
            return sum(means[arm] * n for arm, n in turns.items()) / total
    return 0.0
