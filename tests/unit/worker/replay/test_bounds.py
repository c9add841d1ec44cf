"""What `--from` and `--to` mean."""

from __future__ import annotations

import pytest

from alice_rl.errors import ConfigError
from worker.replay.bounds import Bound


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("earliest", Bound("earliest")),
        ("now", Bound("now")),
        ("0", Bound("0", offset=0)),
        ("1500", Bound("1500", offset=1500)),
        ("2026-01-01", Bound("2026-01-01", time_ms=1_767_225_600_000)),
        ("2026-01-01T01:00+01:00", Bound("2026-01-01T01:00+01:00", time_ms=1_767_225_600_000)),
    ],
)
def test_a_bound_is_a_word_an_offset_or_a_time(text: str, bound: Bound) -> None:
    """Words limit nothing, digits are an offset, and all else is a time."""
    assert Bound.parse(text) == bound


@pytest.mark.parametrize("text", ["", "-1", "1.5", "latest", "yesterday", "2026-02-30", "Now"])
def test_what_is_no_place_is_refused_with_what_to_write(text: str) -> None:
    """Everything else is a usage error that shows the forms."""
    with pytest.raises(ConfigError, match="is no place in a log") as caught:
        Bound.parse(text)
    assert "earliest, now, an offset" in caught.value.hint
