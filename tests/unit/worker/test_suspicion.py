"""Finding the record that kills its reader."""

from __future__ import annotations

import pytest

from alice_rl.snapshot.records import Applied, Claim
from tests.logs import records
from worker.suspicion import Suspicion


def claim(in_vain: int = 0, blamed: tuple[int, int] | None = None, deaths: int = 0) -> Claim:
    """A claim with what Redis remembers of those before it."""
    return Claim(Applied.OK, 1, True, True, 0, in_vain, blamed, deaths)


def steps(suspicion: Suspicion, first: int, end: int) -> list[tuple[int, int]]:
    """The ranges that the records `[first, end)` are folded in."""
    log = records([None] * (end - first), first)
    return [(part[0].offset, part[-1].offset + 1) for part in suspicion.parts(log)]


@pytest.mark.parametrize(("in_vain", "careful"), [(0, False), (1, False), (2, True), (9, True)])
def test_the_third_claim_in_a_row_is_careful(in_vain: int, careful: bool) -> None:
    """One or two claims without a checkpoint say nothing; more give reason to suspect, with no place yet."""
    assert Suspicion.of(claim(in_vain)) == (Suspicion() if careful else None)


def test_blame_is_suspicion_at_once() -> None:
    """A range that an owner died in is suspected, however few claims were in vain."""
    assert Suspicion.of(claim(0, (5, 9), 1)) == Suspicion(5, 9, 1)


@pytest.mark.parametrize(
    ("suspicion", "culprit"),
    [
        (Suspicion(7, 8, 2), 7),
        (Suspicion(7, 8, 3), 7),
        (Suspicion(7, 8, 1), None),  # may have been chance
        (Suspicion(7, 9, 5), None),  # two records, and it may be either
        (Suspicion(), None),
    ],
)
def test_a_single_record_that_killed_twice_is_the_culprit(suspicion: Suspicion, culprit: int | None) -> None:
    """Neither one death, nor many in a range of several records, condemns a record."""
    assert suspicion.culprit == culprit


def test_without_a_place_the_steps_are_wide() -> None:
    """While nobody knows where, the log is folded a thousand records at a time."""
    assert steps(Suspicion(), 0, 2500) == [(0, 1024), (1024, 2048), (2048, 2500)]


def test_a_blamed_range_is_folded_in_smaller_steps() -> None:
    """The steps end where the range begins, and are a 32nd of it inside."""
    taken = steps(Suspicion(100, 1124, 1), 90, 1200)
    assert taken[:3] == [(90, 100), (100, 132), (132, 164)]
    assert all(end - first == 32 for first, end in taken[1:33])
    assert taken[33:] == [(1124, 1200)]


def test_a_narrow_range_is_folded_record_by_record() -> None:
    """Thirty-two records or fewer are taken singly."""
    assert steps(Suspicion(10, 12, 1), 9, 14) == [(9, 10), (10, 11), (11, 12), (12, 14)]


def test_every_record_is_in_one_step() -> None:
    """The steps are the records in their order, and nothing else, also across gaps in the offsets."""
    log = [record for record in records([None] * 300) if record.offset % 7]
    parts = list(Suspicion(40, 140, 1).parts(log))
    assert [record for part in parts for record in part] == log
    assert all(parts)
    assert list(Suspicion().parts([])) == []


def test_three_deaths_lead_from_a_thousand_records_to_one() -> None:
    """Each death narrows the range to the step that held the culprit, until that is all there is."""
    culprit, suspicion = 777, Suspicion()
    for _ in range(3):
        first, end = next(step for step in steps(suspicion, 0, 2000) if step[0] <= culprit < step[1])
        suspicion = Suspicion(first, end, 1)
    assert suspicion == Suspicion(culprit, culprit + 1, 1)
