"""Thinning: everything of little, an even share of much."""

from __future__ import annotations

import itertools

import pytest

from tests.unit.worker.steps import Clock
from worker.thinning import Thinning


async def test_little_is_kept_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below so many a second nothing is left out."""
    clock = Clock(monkeypatch)
    thinning = Thinning(100)
    kept = list[int]()
    for second in range(5):
        clock.now = 1000.0 + second
        kept += thinning.of(range(second * 90, second * 90 + 90))
    assert kept == list(range(450))


@pytest.mark.parametrize("step", [1, 7, 384])
async def test_of_much_every_kth_is_kept(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Once the rate is known, every k-th is kept, however the items are cut into batches."""
    clock = Clock(monkeypatch)
    thinning = Thinning(100)
    kept = list[int]()
    for second in range(3):
        clock.now = 1000.0 + second
        first, end = second * 5000, second * 5000 + 5000
        kept = [item for at in range(first, end, step) for item in thinning.of(range(at, min(at + step, end)))]
    assert {b - a for a, b in itertools.pairwise(kept)} == {50}
    assert len(kept) == 100
