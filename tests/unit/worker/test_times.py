"""Instants as people write them."""

from __future__ import annotations

import time

import pytest

from worker.times import instant_ms, moment_ms

NOW_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-01", NOW_MS),
        ("2026-01-01T00:00", NOW_MS),
        ("2026-01-01 00:00:01", NOW_MS + 1000),
        ("2026-01-01T00:00:00.250Z", NOW_MS + 250),
        ("2026-01-01T01:00+01:00", NOW_MS),
        (" 2026-01-01 ", NOW_MS),
    ],
)
def test_a_moment_without_a_zone_is_utc(
    text: str, expected: int, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The same words mean the same instant wherever the machine stands."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    request.addfinalizer(time.tzset)
    request.addfinalizer(monkeypatch.undo)  # before the line above
    time.tzset()
    assert moment_ms(text) == instant_ms(text) == expected


@pytest.mark.parametrize(
    ("text", "ago_ms"),
    [("90s", 90_000), ("90min", 5_400_000), ("2h", 7_200_000), ("1.5 h", 5_400_000), ("7d", 604_800_000)],
)
def test_an_instant_may_be_so_long_ago(text: str, ago_ms: int) -> None:
    """A number and a unit count back from now."""
    assert instant_ms(text, now_ms=NOW_MS) == NOW_MS - ago_ms
    with pytest.raises(ValueError, match="format"):
        moment_ms(text)


def test_ago_is_counted_from_the_present() -> None:
    """Without a time to count from, it is the machine's."""
    before = time.time_ns() // 1_000_000
    assert before - 1000 <= instant_ms("1s") <= time.time_ns() // 1_000_000 - 1000


@pytest.mark.parametrize("text", ["", "soon", "5", "5 months", "-1h", "1hour", "2026-13-01", "1h ago"])
def test_other_words_are_refused_with_what_to_write(text: str) -> None:
    """What is no instant is refused, and the message shows the forms."""
    with pytest.raises(ValueError, match="write 2026-01-31"):
        instant_ms(text, now_ms=NOW_MS)
