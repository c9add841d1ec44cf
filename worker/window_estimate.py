"""Interim: until the evaluation is there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from alice_rl.episodes import Episode
from alice_rl.reward import STEPS, components
from alice_rl.snapshot.policy import Policy
from alice_rl.snapshot.rules import Rules
from worker.quality import Estimate
from worker.settings import Settings

__all__ = ["estimated"]


async def estimated(episodes: Sequence[Episode], policy: Policy | None, settings: Settings) -> Estimate:
    """What would have been earned."""
    rules, w, r = Rules(settings.rules), [], []
    for at, (decision, _, outcome, _) in enumerate(episodes):
        if at % 64 == 0:
            await asyncio.sleep(0)
        if decision.policy.stage == "fallback":
            continue
        weight = 1.0
        for slot in ("route", "tool", "cache"):
            choice = getattr(decision, slot)
            if choice is None:
                continue
            if policy is None:
                p = float(rules.choose(slot, decision.context.intent, choice.available) == choice.arm)
            else:
                p = policy.distribution(slot, decision.context, choice.available).get(choice.arm, 0.0)
            weight *= p / choice.p
        w.append(weight)
        r.append(float(components([outcome], settings.reward.bounds)[0] / STEPS @ settings.reward.weights))
    W, R = np.array(w), np.array(r)
    n = len(W)
    if not n or not W.sum():
        return Estimate(episodes=n)
    value = float(W @ R / W.sum())
    variance = float((W**2 @ (R - value) ** 2) / W.sum() ** 2)
    mean = float(W.mean())
    error = float(W.std() / np.sqrt(n))
    return Estimate(
        episodes=n,
        value=value,
        variance=variance,
        effective=float(W.sum() ** 2 / (W @ W)),
        mean_weight=mean,
        supported=abs(mean - 1.0) <= 4 * error + 1e-9,
    )
