"""The places of a log that a restart may need."""

from __future__ import annotations

import msgspec

from alice_rl.clock import ClockState
from alice_rl.episodes import JoinSettings
from alice_rl.shard_state import Mark, Marks, ShardState

START_MS = 1_000_000_000
SETTINGS = JoinSettings(horizon_seconds=64, records_max=6400)  # a mark per second, or per 100 offsets


def clock(seconds: float) -> ClockState:
    """The log's clock, so long after the start."""
    now_ms = START_MS + int(seconds * 1000)
    return ClockState(now_ms, now_ms)


def marks(offset: int = 0) -> Marks:
    """Marks of a log that begins at an offset."""
    return Marks(SETTINGS, Mark(offset, clock(0)))


def low_after(passed: list[tuple[int, float]]) -> Mark:
    """The oldest place that is kept after having come by some offsets, at so many seconds."""
    made = marks()
    for offset, seconds in passed:
        come_by(made, offset, seconds)
    return made.low


def come_by(made: Marks, offset: int, seconds: float) -> None:
    """What the fold does at the first offset of a block."""
    made.pass_by(offset, clock(seconds))
    made.forget(offset, clock(seconds))


def test_reading_begins_at_the_first_mark() -> None:
    """A restart of what has just begun begins there again."""
    assert marks(17).low == Mark(17, clock(0))


def test_two_windows_of_time_are_kept() -> None:
    """What is left to re-read reaches back two horizons, and hardly further."""
    steps = [(i, i * 0.5) for i in range(1, 1000)]
    low = low_after(steps)
    now, kept = 999 * 0.5, (low.clock.now_ms or 0) / 1000 - START_MS / 1000
    assert now - 2 * 64 - 1.0 <= kept <= now - 2 * 64
    assert low.offset == int(kept * 2)  # the clock of a mark is the one before its own offset


def test_two_windows_of_records_are_kept() -> None:
    """In a flood, where time stands still, it is twice the records that the join looks back."""
    assert low_after([(i, 0.0) for i in range(10, 100_000, 10)]).offset == 99_990 - 2 * 6400 - 90


def test_the_nearer_of_both_is_enough() -> None:
    """Whichever window is shorter decides."""
    assert low_after([(i, i / 10) for i in range(5000)]).offset > 5000 - 2 * 640 - 20


def test_a_mark_is_made_now_and_then() -> None:
    """Not at every offset: how many are kept is bounded by what a window is divided into."""
    made = marks()
    for offset in range(1, 200_000):
        come_by(made, offset, 0)
    assert 128 <= len(made._marks) <= 130


def test_a_silence_leaves_one_place() -> None:
    """After a night without records only the last place before it is left, because the window reaches back to there."""
    night = 8 * 3600.0
    assert low_after([(1, 1.5), (2, 3.0), (3, night)]).offset == 2


def test_a_clock_that_is_set_back_forgets_nothing_by_time() -> None:
    """Marks that seem to lie ahead are kept until the records bound lets them go."""
    assert low_after([(1, 100.0), (2, 300.0), (3, 1.0), (4, 2.0)]).offset == 1


def test_a_checkpoint_of_before_can_be_read() -> None:
    """Fields that came later have defaults: neither a start, nor a source, nor anything passed over."""
    state = ShardState(9, Mark(3, ClockState()), 5, 6, "t", ["a"], ["b"], {"records": 9})
    old = {k: v for k, v in msgspec.to_builtins(state).items() if k not in ("start", "source", "skipped", "digests")}
    read = msgspec.json.decode(msgspec.json.encode(old), type=ShardState)
    assert read == state
    assert (read.start, read.source, read.skipped, read.digests) == (0, "", [], {})
