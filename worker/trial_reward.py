"""What a request is worth in a trial, out of the canary's own manifest: so a verdict is a function of the log and of
the snapshot, and of no worker's settings.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from alice_rl.online.canary import Reward
from alice_rl.reward import COMPONENTS, STEPS, RewardBounds, reward_range
from alice_rl.snapshot.manifest import Manifest

__all__ = ["mean_reward_of", "reward_of", "reward_with"]

_SLOTS = ("cache", "route")  # every turn asks a cache; a turn that it answers may not teach the route


def reward_of(manifest: Manifest) -> Reward:
    """Weights per fixed-point step, range, and the mean reward before the trial as its centre.

    Parameters
    ----------
    manifest : Manifest
        The canary's.
    """
    return reward_with(manifest.weights, manifest.bounds, mean_reward_of(manifest))


def reward_with(given: Mapping[str, float], bounds: RewardBounds, centre: float) -> Reward:
    """The same out of its parts, where they are kept longer than the manifest.

    Parameters
    ----------
    given : mapping of str to float
        Weight per natural unit of each component.
    bounds : RewardBounds
    centre : float
        m0.

    Examples
    --------
    >>> reward = reward_with({"success": 2.0, "latency_ms": -0.001}, RewardBounds(latency_ms_max=500.0), centre=1.2)
    >>> reward.least, reward.most, reward.centre
    (-0.5, 2.0, 1.2)
    """
    weights = np.array([given.get(name, 0.0) for name in COMPONENTS])  # (m,), per natural unit
    least, most = reward_range(weights, bounds)
    return Reward(weights=weights / STEPS, centre=centre, least=least, most=most)


def mean_reward_of(manifest: Manifest) -> float:
    """Reward per turn of all that was learned, as far as the manifest tells; else 0."""
    for slot in _SLOTS:
        means = manifest.mean_reward.get(slot, {})
        turns = {arm: manifest.counts.get(f"{slot}.{arm}", 0) for arm in means}
        if total := sum(turns.values()):
            return sum(means[arm] * n for arm, n in turns.items()) / total
    return 0.0
