"""Rewards per (query class, cache tier) -> shrunk means -> the best tier, and a decaying exploration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from alice_rl.online.exploration import greedy, with_floor

__all__ = ["distribution", "epsilon", "means"]

FloatArray = npt.NDArray[np.float64]


def epsilon(n: float, start: float, floor: float, half_after: float) -> float:
    """Share of exploration after `n` turns: `floor + (start - floor) / (1 + n / half_after)`.

    Parameters
    ----------
    n : float >= 0
        Turns of this query class; decayed turns bring exploration back.
    start, floor : float in [0, 1]
        Share at `n = 0`, and the share it decays to.
    half_after : float
        Turns after which half of `start - floor` is gone; 0 gives `floor` from the first turn on.

    Notes
    -----
    The 1/n decay is what keeps regret logarithmic; the floor is what keeps later turns usable for evaluating
    other policies.

    References
    ----------
    Auer, Cesa-Bianchi & Fischer (2002), "Finite-time analysis of the multiarmed bandit problem", Figure 3
    (epsilon_n-greedy).

    Examples
    --------
    >>> [round(epsilon(n, 0.5, 0.1, 100), 6) for n in (0, 100, 300)]
    [0.5, 0.3, 0.2]
    """
    return floor + (start - floor) / (1.0 + n / half_after) if half_after > 0.0 else floor


def means(n: npt.ArrayLike, total: npt.ArrayLike, pooled_counts: float) -> FloatArray:
    """Mean reward per (query class, tier), shrunk towards the tier's overall mean; also for an unseen class.

    Parameters
    ----------
    n, total : array_like, shape (Q, T)
        Turns and summed reward.
    pooled_counts : float >= 0
        Weight of the overall mean, in turns.

    Returns
    -------
    ndarray, shape (Q+1, T)
        `(total + h overall) / (n + h)`; the last row is the unseen class's, the overall means themselves.
        Where nothing is known, the next wider mean stands in: of the tier, of all tiers, 0.

    Examples
    --------
    >>> means([[4, 0], [0, 0]], [[4.0, 0.0], [0.0, 0.0]], 2.0).tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    >>> means([[1, 3], [3, 1]], [[1.0, 0.0], [0.0, 2.0]], 1.0).tolist()
    [[0.625, 0.125], [0.0625, 1.25], [0.25, 0.5]]
    """
    turns, rewards = np.asarray(n, dtype=np.float64), np.asarray(total, dtype=np.float64)
    grand = _mean(rewards.sum(), turns.sum(), np.zeros(()))  # ()
    overall = _mean(rewards.sum(axis=0), turns.sum(axis=0), grand)  # (T,)
    unseen = np.zeros((1, turns.shape[1]))
    turns, rewards = np.vstack([turns, unseen]), np.vstack([rewards, unseen])  # (Q+1, T)
    return _mean(rewards + pooled_counts * overall, turns + pooled_counts, overall)


def distribution(means: Sequence[float], eps: float) -> list[float]:
    """Epsilon-greedy over the available tiers: the best one (ties split), mixed with `eps` spread evenly.

    Parameters
    ----------
    means : sequence of float, length K
        Mean rewards of the available tiers.
    eps : float in [0, 1]
        Share of exploration.

    Examples
    --------
    >>> [round(p, 3) for p in distribution([0.2, 0.9, 0.9], 0.3)]
    [0.1, 0.45, 0.45]
    """
    return with_floor(greedy(means), eps)


def _mean(total: npt.ArrayLike, n: npt.ArrayLike, fallback: FloatArray) -> FloatArray:
    """`total / n`, and `fallback` where there are no turns."""
    turns = np.asarray(n, dtype=np.float64)
    return np.divide(total, turns, where=turns > 0.0, out=np.broadcast_to(fallback, turns.shape).copy())
