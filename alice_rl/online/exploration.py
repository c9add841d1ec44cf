"""Scores -> an explicit distribution over the available arms -> one seeded draw, its probability known.

A deterministic argmax gives importance weighting nothing to work with; a distribution with a floor costs
about 1 % of the reward and makes every logged turn evidence about every other policy.

Plain Python floats and lists: at 3 to 30 arms a list costs a fraction of an array's overhead, and the client
decides in microseconds. Every function sees the *available* arms only, in the caller's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import erfc, exp, hypot, sqrt, tau
from struct import Struct

import numpy as np

__all__ = ["capped", "draw", "greedy", "igw", "linear_thompson", "uniform", "uniforms", "with_floor"]

_FOUR_WORDS = Struct("<4Q")
_STEP = 2.0**-53  # a double holds 53 bits; more would round some draws up to 1

# Gauss-Legendre on [0, 1]; panels of two standard deviations make the error of `linear_thompson` about 1e-10.
_LEGENDRE = np.stack(np.polynomial.legendre.leggauss(8), axis=1).tolist()
_NODES: list[tuple[float, float]] = [(0.5 + 0.5 * node, 0.5 * weight) for node, weight in _LEGENDRE]
_PANEL = 2.0
_REACH = 7.0  # standard deviations at which a normal distribution has ended: 1.3e-12 lies beyond
_SD_MIN = 1e-6  # in units of the largest sd; next to that arm, what is narrower is a constant either way


def greedy(scores: Sequence[float]) -> list[float]:
    """All probability on the best score; exact ties share it evenly.

    Raises
    ------
    ValueError
        When there is no arm.

    Examples
    --------
    >>> greedy([0.1, 0.7, 0.7])
    [0.0, 0.5, 0.5]
    """
    best = max(scores)
    share = 1.0 / sum(score == best for score in scores)
    return [share if score == best else 0.0 for score in scores]


def with_floor(pi: Sequence[float], eps: float) -> list[float]:
    """`(1 - eps) pi + eps / K`: no available arm is served less often than `eps / K`.

    Parameters
    ----------
    pi, eps : sequence of float, float in [0, 1]
        Distribution over the available arms, and the share that is spread evenly.

    Examples
    --------
    >>> with_floor([1.0, 0.0], 0.5)
    [0.75, 0.25]
    """
    keep, floor = 1.0 - eps, eps / len(pi)
    return [keep * p + floor for p in pi]


def capped(pi: Sequence[float], caps: Sequence[float]) -> list[float]:
    """The distribution nearest to `pi` in proportion that gives no arm more than its cap (water-filling).

    Parameters
    ----------
    pi, caps : sequence of float, length K
        Distribution over the available arms, and the largest share of each; 1 or more is no cap.

    Returns
    -------
    list of float, length K
        `min(cap, t * pi)` with the one `t >= 1` that makes it sum to 1. Where the arms with room have no
        probability of their own, they share the rest evenly up to their caps.

    Notes
    -----
    Arms below their cap only gain, so a floor applied before survives wherever the cap is not below it.
    Infeasible caps (sum below 1) cannot all hold: every arm gets `cap / sum(caps)`, over its cap by one
    common factor; with all caps 0, `pi` is returned as it is. Serving somebody is more useful than serving
    nobody.

    Examples
    --------
    >>> capped([0.8, 0.15, 0.05], [0.6, 1.0, 1.0])
    [0.6, 0.3, 0.1]
    >>> capped([1.0, 0.0, 0.0], [0.5, 0.1, 1.0])
    [0.5, 0.1, 0.4]
    >>> capped([0.5, 0.5], [0.25, 0.5])  # infeasible
    [0.3333333333333333, 0.6666666666666666]
    """
    if all(p <= cap for p, cap in zip(pi, caps, strict=True)):
        return list(pi)
    total = sum(caps)
    if total <= 1.0:
        return [cap / total for cap in caps] if total > 0.0 else list(pi)
    out, room, left = list(pi), list(range(len(pi))), 1.0
    while True:
        mass = sum(pi[k] for k in room)
        for k in room:
            out[k] = left * (pi[k] / mass if mass > 0.0 else 1.0 / len(room))
        full = {k for k in room if out[k] > caps[k]}
        if not full:
            return out
        for k in full:
            out[k] = caps[k]
        left = max(left - sum(caps[k] for k in full), 0.0)
        room = [k for k in room if k not in full]


def draw(pi: Sequence[float], u: float) -> int:
    """The arm that `u` selects by the inverse cumulative distribution; never an arm of probability 0.

    Parameters
    ----------
    pi : sequence of float, length K
        Distribution. Its running sum may end a rounding error below `u`: the last arm that can be drawn is.
    u : float in [0, 1)
        Uniform, see `uniforms`.

    Raises
    ------
    ValueError
        No arm has a positive probability.

    Examples
    --------
    >>> [draw([0.0, 0.25, 0.75, 0.0], u) for u in (0.0, 0.25, 0.999999)]
    [1, 2, 2]
    """
    total, last = 0.0, -1
    for k, p in enumerate(pi):
        if p > 0.0:
            total += p
            last = k
            if u < total:
                return k
    if last < 0:
        raise ValueError("no arm has a positive probability")
    return last


def uniforms(decision_id: str, salt: bytes) -> tuple[float, float, float, float]:
    """Four independent uniforms for one decision: canary split, route draw, tool draw, cache draw.

    Parameters
    ----------
    decision_id, salt : str, bytes
        Who knows both can repeat the draw. One salt per policy, so that policies over the same ids draw
        apart.

    Returns
    -------
    tuple of float
        `(canary, route, tool, cache)`, each a multiple of 2^-53 in [0, 1).

    Raises
    ------
    ValueError
        When the salt is longer than 64 bytes.

    Notes
    -----
    Disjoint words of one cryptographic digest: the canary split tells nothing about any arm's draw, and the
    whole costs about a microsecond.

    Examples
    --------
    >>> [round(u, 4) for u in uniforms("0198c0de-0000-7000-8000-000000000001", b"alice")]
    [0.5435, 0.5747, 0.7894, 0.1677]
    """
    digest = blake2b(decision_id.encode(), digest_size=32, key=salt).digest()
    canary, route, tool, cache = _FOUR_WORDS.unpack(digest)
    return (canary >> 11) * _STEP, (route >> 11) * _STEP, (tool >> 11) * _STEP, (cache >> 11) * _STEP


def uniform(decision_id: str, salt: bytes, purpose: bytes) -> float:
    """One uniform more for a decision, independent of `uniforms` and of those for other purposes.

    Parameters
    ----------
    decision_id, salt : str, bytes
        As for `uniforms`, which has the errors, too.
    purpose : bytes, at most 16

    Examples
    --------
    >>> round(uniform("0198c0de-0000-7000-8000-000000000001", b"alice", b"holdout"), 4)
    0.1789
    """
    digest = blake2b(decision_id.encode(), digest_size=8, key=salt, person=purpose).digest()
    return (int.from_bytes(digest, "little") >> 11) * _STEP


def igw(means: Sequence[float], sds: Sequence[float], gamma: float) -> list[float]:
    """Inverse-gap weighting: `1 / (K + gamma gap / sd)` to each arm behind the best, the rest to the best.

    Parameters
    ----------
    means, sds : sequence of float, length K
        Posterior of each arm's expected reward; an sd may be 0.
    gamma : float >= 0
        0 is the uniform distribution; larger is greedier. Exact ties share what the others leave.

    Notes
    -----
    Foster and Rakhlin raise `gamma` with time, for gaps in units of reward. Here the unit is the sd of the
    difference, so a gap grows by itself as the posterior narrows, and one constant serves.

    References
    ----------
    Foster & Rakhlin (2020), "Beyond UCB: optimal and efficient contextual bandits with regression oracles",
    Algorithm 1.

    Examples
    --------
    >>> igw([1.0, 0.0], [0.3, 0.4], 4.0)
    [0.9, 0.1]
    """
    K, best = len(means), max(means)
    leader_sd = max(sd for mean, sd in zip(means, sds, strict=True) if mean == best)
    out = [0.0] * K
    for k, (mean, sd) in enumerate(zip(means, sds, strict=True)):
        scale = hypot(sd, leader_sd)
        if mean < best and scale > 0.0:
            out[k] = 1.0 / (K + gamma * (best - mean) / scale)
    leaders = [k for k in range(K) if means[k] == best]
    rest = (1.0 - sum(out)) / len(leaders)
    for k in leaders:
        out[k] = rest
    return out


def linear_thompson(means: Sequence[float], sds: Sequence[float]) -> list[float]:
    """P(arm is best) under independent normal posteriors: Thompson sampling without the sampling.

    Parameters
    ----------
    means, sds : sequence of float, length K
        Posterior of each arm's expected reward; an sd may be 0.

    Returns
    -------
    list of float, length K
        Sums to 1; equal posteriors have equal probabilities; an arm that cannot win (below 1e-12) has 0.

    Notes
    -----
    `pi_k = int f_k(t) prod_{j != k} F_j(t) dt`, Gauss-Legendre on panels as wide as the narrowest posterior
    still in play. Below the highest lower end some `F_j` is 0, and beyond an arm's upper end its `F` is 1, so
    it leaves; what the last arm has left is its own tail, in closed form. Error about 1e-10; tens of
    microseconds for three arms, growing with the square of the arms that compete.

    Examples
    --------
    >>> [round(p, 6) for p in linear_thompson([1.0, 0.0], [0.6, 0.8])]
    [0.841345, 0.158655]
    """
    widest, top = max(sds), max(means)
    if widest <= 0.0:
        return greedy(means)
    arms = [((mean - top) / widest, max(sd / widest, _SD_MIN)) for mean, sd in zip(means, sds, strict=True)]
    t = max(mean - _REACH * sd for mean, sd in arms)
    live = [k for k, (mean, sd) in enumerate(arms) if mean + _REACH * sd > t]
    mass = [0.0] * len(arms)
    while len(live) > 1:
        h = _PANEL * min(arms[k][1] for k in live)
        for node, weight in _NODES:
            _add_node(mass, arms, live, t + h * node, h * weight)
        t += h
        live = [k for k in live if arms[k][0] + _REACH * arms[k][1] > t]
    for k in live:
        mass[k] += 0.5 * erfc((t - arms[k][0]) / (arms[k][1] * sqrt(2.0)))
    first: dict[tuple[float, float], float] = {}
    # Rounding depends on an arm's place in the product; equal arms are to be equal to the last bit.
    mass = [first.setdefault(arm, p) for arm, p in zip(arms, mass, strict=True)]
    total = sum(mass)
    return [p / total for p in mass]


def _add_node(mass: list[float], arms: list[tuple[float, float]], live: list[int], t: float, w: float) -> None:
    """Add one quadrature node's share of `f_k / F_k * prod_j F_j` to the mass of every arm in play."""
    product, hazards = w, []
    for k in live:
        mean, sd = arms[k]
        z = (t - mean) / sd
        below = 0.5 * erfc(-z / sqrt(2.0))
        product *= below
        hazards.append(exp(-0.5 * z * z) / (sd * sqrt(tau) * below))
    for k, hazard in zip(live, hazards, strict=True):
        mass[k] += hazard * product
