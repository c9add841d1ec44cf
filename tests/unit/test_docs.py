"""The documentation says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from alice_rl.events import REASONS, decode
from alice_rl.reward import COMPONENTS, PRESETS
from tests.integration.faults import FAULTS
from worker.cli.letters_verdict import HELD

ROOT = Path(__file__).parents[2]


def rows(document: str, columns: int) -> list[list[str]]:
    """The rows of all tables of a document that have so many columns."""
    lines = [
        line.strip().strip("|").split("|")
        for line in (ROOT / document).read_text().splitlines()
        if line.startswith("|")
    ]
    return [[cell.strip() for cell in line] for line in lines if len(line) == columns]


def test_reasons_are_documented() -> None:
    """The table of rejection reasons is the code's."""
    documented = {code.strip("`"): text for code, text in rows("docs/wire-format.md", 2)}
    assert {code: documented.get(code) for code in REASONS} == REASONS


def test_what_holds_dead_letters_back_is_documented() -> None:
    """Every word that a retry says of what it holds back is explained."""
    assert HELD.keys() <= {word.strip("`") for word, _ in rows("docs/operating.md", 2)}


def test_presets_are_documented() -> None:
    """The table of reward presets is the code's."""
    table = {name: tuple(map(float, weights)) for name, *weights in rows("docs/concepts.md", 7) if name in PRESETS}
    assert table == PRESETS
    assert ["preset", *COMPONENTS] in rows("docs/concepts.md", 7)


def test_every_fault_is_documented_and_played() -> None:
    """The table of faults in the guarantees is complete, and names no fault that nobody plays."""
    documented = {int(number) for number, *_ in rows("docs/guarantees.md", 3) if number.isdecimal()}
    played_in_simulation = {5, 7, 14, 21}  # what only an order of events can bring about
    played_elsewhere = {26}  # tests/integration/test_takeover.py
    assert documented == set(range(1, 28)) == FAULTS.keys() | played_in_simulation | played_elsewhere


def test_examples_of_events_are_valid() -> None:
    """The JSON examples of the wire format decode."""
    examples = re.findall(r"```json\n(.*?)```", (ROOT / "docs/wire-format.md").read_text(), re.DOTALL)
    assert [type(decode(example.encode())).__name__ for example in examples] == ["Decision", "Outcome"]
    assert all(msgspec.json.decode(example) for example in examples)


def test_links_lead_somewhere() -> None:
    """Relative links in the documentation name files that exist."""
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        for target in re.findall(r"\]\((?!http|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
