"""Reward: components as integers, weights by preset, bounds."""

from __future__ import annotations

import numpy as np
import pytest

from alice_rl.errors import ConfigError
from alice_rl.events import Outcome
from alice_rl.reward import PRESETS, STEPS, RewardBounds, RewardSettings, components, reward


def outcome(**changes: object) -> Outcome:
    """A successful turn, with changes."""
    fields = {"success": True, "latency_ms": 640.5, "cost_usd": 0.0008, "cache_hit": False, "guardian_flag": False}
    return Outcome("d", 0, **(fields | changes))  # type: ignore[arg-type]


def test_reward_is_the_weighted_sum() -> None:
    """The default weights give the documented formula."""
    turn = outcome(tool_ok=True, cache_hit=True, guardian_flag=True, latency_ms=1000.0, cost_usd=0.1)
    assert reward(turn, RewardSettings()) == pytest.approx(2.0 + 1.0 - 1.0 - 0.05 + 0.4 - 0.7)


def test_no_tool_is_not_a_failure() -> None:
    """An absent `tool_ok` costs nothing beside a true one but the reward for it."""
    assert components([outcome(tool_ok=None)], RewardBounds())[0, 1] == 0


def test_latency_and_cost_are_clipped() -> None:
    """Beyond the bounds nothing gets worse."""
    y = components([outcome(latency_ms=1e12, cost_usd=1e12)], RewardBounds(latency_ms_max=2000.0, cost_usd_max=0.5))
    assert (y[0] / STEPS)[2:4].tolist() == [2000.0, 0.5]


def test_components_fit_their_bound() -> None:
    """The largest component that any setting allows stays below 2^17, which keeps batches exact."""
    y = components([outcome(latency_ms=1e12, cost_usd=1e12)], RewardBounds())
    assert y.max() <= 1 << 17


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_can_be_overridden_singly(preset: str) -> None:
    """A weight that is set replaces the preset's, and no other."""
    weights = RewardSettings(preset=preset, cost_usd=-9.0).weights  # type: ignore[arg-type]
    expected = np.array(PRESETS[preset])
    expected[3] = -9.0
    assert weights.tolist() == expected.tolist()


def test_weights_must_be_numbers() -> None:
    """A weight that is not finite is refused by its key."""
    with pytest.raises(ConfigError, match="reward.success"):
        RewardSettings(success=float("nan"))
