"""The table of faults names tests that exist."""

from __future__ import annotations

from pathlib import Path

from tests.integration.faults import FAULTS

HERE = Path(__file__).parents[1]


def test_every_fault_names_tests_that_exist() -> None:
    """A test that was renamed is missed here, not in the documentation."""
    named = {place for _, places in FAULTS.values() for place in places}
    for place in named:
        path, _, name = place.partition("::")
        assert f"def {name}" in (HERE / path).read_text(), place
    for file in Path(__file__).parent.glob("test_*.py"):
        mine = [line for line in file.read_text().splitlines() if line.startswith("async def test_")]
        for line in mine:
            name = line.removeprefix("async def ").partition("(")[0]
            assert f"faults/{file.name}::{name}" in named
