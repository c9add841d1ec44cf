"""The reports of chaos runs."""

from __future__ import annotations

import msgspec

from tests.chaos.judge import Published
from tests.chaos.report import RollingReport, longest_gap_seconds

GOOD = RollingReport(
    seed=1,
    events=100,
    equal=True,
    lost=0,
    double=0,
    longest_snapshot_gap_seconds=1.0,
    longest_stall_seconds=0.5,
    snapshots=3,
    exits=1,
    crashes=0,
)


def test_longest_gap_between_snapshots() -> None:
    """The gap is between neighbours, in seconds; one snapshot alone has none."""
    snapshots = [Published(version, at_ms, {}, "") for version, at_ms in ((1, 0), (2, 700), (3, 2200), (4, 2300))]
    assert longest_gap_seconds(snapshots) == 1.5
    assert longest_gap_seconds(snapshots[:1]) == 0


def test_what_fails_a_run() -> None:
    """A difference, a lost or doubled episode and a crash fail it; a worker that gave up on a dependency does not."""
    assert GOOD.passed
    for change in ({"equal": False}, {"lost": 1}, {"double": 1}, {"crashes": 1}):
        assert not msgspec.structs.replace(GOOD, **change).passed
