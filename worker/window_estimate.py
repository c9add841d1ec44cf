"""A window's turns to one policy's estimate, in slices between which the loop has its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import log

from alice_rl.episodes import Episode
from alice_rl.online.ope import Estimates
from alice_rl.reward import RewardSettings
from worker.evaluation.scoring import Scoring
from worker.evaluation.target import Target, served_probability
from worker.quality import Estimate

__all__ = ["estimated"]

_SLICE = 32  # turns; a few milliseconds
_ONE_PANE_MS = 1 << 62
_BERNSTEIN = 7 / 3 * log(2 / 1e-3)  # Maurer, Pontil 2009, theorem 4: a false doubt in a thousand windows


async def estimated(episodes: Sequence[Episode], target: Target, reward: RewardSettings) -> Estimate:
    """What a target would have earned.

    Parameters
    ----------
    episodes : sequence of Episode
        In log order. Those without propensities do not count.
    target : Target
    reward : RewardSettings
    """
    scoring, rarest = Scoring(target, reward, _ONE_PANE_MS), 1.0
    for at in range(0, len(episodes), _SLICE):
        part = episodes[at : at + _SLICE]
        scoring.take(part)
        rarest = min([rarest, *filter(None, (served_probability(episode[0]) for episode in part))])
        await asyncio.sleep(0)
    found = scoring.estimates()
    snips = found.snips
    return Estimate(
        episodes=found.n,
        value=None if snips is None else snips.value,
        variance=None if snips is None or snips.error is None else snips.error**2,
        effective=found.effective,
        mean_weight=found.mean_weight,
        supported=not (found.support_lost and _is_beyond_chance(found, rarest)),
    )


def _is_beyond_chance(found: Estimates, rarest: float) -> bool:
    """Whether the mean weight is too far from 1 even for weights as large as `1 / rarest`.

    Two policies that disagree have small weights and a few large ones. As long as none of these has come, the standard
    error knows nothing of them; but what was served as rarely as that can have come at all.
    """
    mean, error = found.mean_weight or 0.0, found.mean_weight_error or 0.0
    return abs(mean - 1.0) > 5.0 * error + _BERNSTEIN / rarest / found.n
