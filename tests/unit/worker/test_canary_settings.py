"""The `[canary]` section, and the quality gates that it sets."""

from __future__ import annotations

from typing import Any

import pytest

from alice_rl.errors import ConfigError
from worker.canary_settings import CanarySettings
from worker.quality import Estimate, Passage, quality
from worker.settings import Settings


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"shares": (0.25, 0.05)}, "do not grow"),
        ({"shares": (0.05, 0.05)}, "do not grow"),
        ({"shares": (0.001, 0.5)}, "names 0.001"),
        ({"shares": (0.5, 0.999)}, "names 0.999"),
        ({"episodes_min": 300, "window_episodes_max": 200}, "window_episodes_max = 200"),
        ({"min_policy_value": float("nan")}, "not a finite number"),
        ({"max_variance": float("inf")}, "not a finite number"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], words: str) -> None:
    """A section that contradicts itself is refused with the key and a way out."""
    with pytest.raises(ConfigError, match="canary") as caught:
        CanarySettings(**given)
    assert words in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("estimate", "passage", "words"),
    [
        (None, Passage.WAITS, "0 of"),
        (Estimate(episodes=199, value=-9.0, variance=9.0, supported=False), Passage.WAITS, "199 of"),
        (Estimate(episodes=200, value=0.4, variance=0.3), Passage.PASSED, "0.4000 per turn"),
        (Estimate(episodes=200, value=0.39, variance=0.3), Passage.FAILED, "min_policy_value"),
        (Estimate(episodes=200, value=0.4, variance=0.31), Passage.FAILED, "max_variance"),
        (Estimate(episodes=200, value=0.4, variance=0.3, supported=False), Passage.FAILED, "importance weight"),
        (Estimate(episodes=200), Passage.FAILED, "cannot be estimated"),
    ],
)
def test_the_quality_gates(estimate: Estimate | None, passage: Passage, words: str) -> None:
    """Too little to go by waits; a poor, a vague and a false estimate fail."""
    found = quality(estimate, CanarySettings())
    assert found.passage is passage
    assert words in found.reason


def test_gates_may_be_left_out() -> None:
    """Without a least value and a largest variance any estimate passes."""
    off = CanarySettings(min_policy_value=None, max_variance=None)
    assert quality(Estimate(episodes=200, value=-99.0, variance=99.0), off).passage is Passage.PASSED


def test_a_margin_beyond_every_loss_is_refused() -> None:
    """A margin that no policy could lose would promote anything; the range of the reward is named."""
    with pytest.raises(ConfigError) as caught:
        Settings(canary=CanarySettings(margin=40.0))
    assert "more than any policy could lose" in caught.value.message
    assert "-31.2 and 3.4" in caught.value.hint
