"""Canaries of which the truth is known: what a look after every hundred requests would have seen.

Rewards are 0 or 1. Live succeeds with the baseline's rate; where the policies disagree, the canary succeeds with
another one, so that it is better by `effect` overall.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["CENTRE", "LOOK", "Seen", "World", "play"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

LOOK = 100
"""Requests between two looks."""

_PER_USER = 50
_USERS_LUCK = (1.5, 3.5)  # of a Beta distribution with the mean CENTRE

CENTRE = 0.30
"""Rate of success before the canary began."""


class World(NamedTuple):
    """A kind of canary.

    `effect` is relative; `overlap` the share of requests on which both policies do the same; `falling` how much of its
    rate the baseline has lost at the end; `ramp` whether the share goes 5 %, 25 %, 50 % instead of 5 %; `broken` the
    part of the canary's successes that its serving spoils, whatever the policy; `lossy` the part of the canary's
    failures that are never told; `sticky` assigns whole users of fifty requests to a side, who differ in their luck.
    """

    name: str
    effect: float = 0.0
    overlap: float = 0.0
    falling: float = 0.0
    ramp: bool = False
    broken: float = 0.0
    lossy: float = 0.0
    sticky: bool = False


class Seen(NamedTuple):
    """Requests told and successes up to each look, ndarrays of shape (runs, looks), by what served; and the shares.

    `*_same` are those on which the policies agree. `share` (looks,) is in force before a look; the counts are of each
    share apart, in `by_share`.
    """

    share: FloatArray
    canary: IntArray
    canary_good: IntArray
    canary_same: IntArray
    canary_same_good: IntArray
    live: IntArray
    live_good: IntArray
    live_same: IntArray
    live_same_good: IntArray

    def at(self, share: float) -> Seen:
        """What was told while a share was in force."""
        on = self.share == share
        return self._replace(**{name: getattr(self, name) * on for name in self._fields if name != "share"})

    def summed(self) -> Seen:
        """The counts up to each look, instead of since the one before."""
        return self._replace(**{name: getattr(self, name).cumsum(axis=1) for name in self._fields if name != "share"})


def play(world: World, runs: int, requests: int, seed: int) -> Seen:
    """Many canaries of one kind; counts since the look before.

    Parameters
    ----------
    world : World
    runs, requests : int
        How many canaries, and of how many requests.
    seed : int
    """
    rng, looks = np.random.default_rng(seed), requests // LOOK
    if world.sticky:
        return _by_users(rng, runs, looks)
    shape = (runs, looks)
    baseline = CENTRE * (1 - world.falling * np.arange(looks) / looks)
    share = np.full(looks, 0.05)
    if world.ramp:
        share[looks // 3 : 2 * looks // 3], share[2 * looks // 3 :] = 0.25, 0.50
    better = world.effect / (1 - world.overlap) if world.overlap < 1 else 0.0
    same = rng.binomial(LOOK, world.overlap, shape)
    counts: list[IntArray] = []
    for requests_here, gain in ((LOOK - same, better), (same, 0.0)):
        canary = rng.binomial(requests_here, share)
        live = requests_here - canary
        canary_good = rng.binomial(canary, baseline * (1 + gain) * (1 - world.broken))
        live_good = rng.binomial(live, baseline)
        canary = canary - rng.binomial(canary - canary_good, world.lossy)
        counts.append(np.stack((canary, canary_good, live, live_good)))
    differ, agree = counts
    total = differ + agree
    return Seen(share, total[0], total[1], agree[0], agree[1], total[2], total[3], agree[2], agree[3])


def _by_users(rng: np.random.Generator, runs: int, looks: int) -> Seen:
    """Equal policies that never agree, and users who stay with one of them."""
    users = (runs, looks, LOOK // _PER_USER)
    good = rng.binomial(_PER_USER, rng.beta(*_USERS_LUCK, users))
    theirs = rng.random(users) < 0.05
    canary, canary_good = (theirs * _PER_USER).sum(axis=2), (theirs * good).sum(axis=2)
    none = np.zeros((runs, looks), dtype=np.int64)
    return Seen(
        np.full(looks, 0.05), canary, canary_good, none, none, LOOK - canary, good.sum(axis=2) - canary_good, none, none
    )
