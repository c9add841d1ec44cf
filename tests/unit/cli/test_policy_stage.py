"""`alice-rl policy promote | rollback | pin | unpin`: what cannot be meant is said, and what was done in words."""

from __future__ import annotations

import pytest

from alice_rl.snapshot.head import Head
from alice_rl.snapshot.records import Applied
from tests.unit.cli.runner import run
from worker.cli.policy_moves import refusal
from worker.cli.policy_serving import Serving


class TestUsage:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("promote", "--stage canary"),
            ("promote 3", "--lineage NAME"),
            ("promote 3 --lineage wide", "--lineage and VERSION exclude each other"),
            ("promote --stage prod --lineage wide", "--lineage and --stage exclude each other"),
            ("promote --share 0.5 --lineage wide", "--lineage and --share exclude each other"),
            ("promote --pin --lineage wide", "--lineage and --pin exclude each other"),
            ("promote --stage prod --pin --unpin --reason r", "--pin and --unpin exclude each other"),
            ("promote 3 --stage prod", "--reason TEXT"),
            ("promote 3 --stage prod --share 0.5 --reason r", "--share is for --stage canary"),
            ("promote 3 --stage canary --pin --reason r", "are for --stage prod"),
            ("promote 3 --stage canary --share 1 --reason r", "less than 1"),
            ("promote 3 --stage canary --share nan --reason r", "less than 1"),
            ("promote 3 --stage prod --timeout 5 --reason r", "--timeout is for --lineage"),
            ("promote three --stage prod --reason r", "'three' is no version"),
            ("promote 3 --stage staging --reason r", "'staging' is not one of"),
            ("rollback --reason r", "--stage canary"),
            ("rollback --stage prod", "--reason TEXT"),
            ("rollback --stage canary --to 3 --reason r", "--to is for --stage prod"),
            ("rollback --stage prod --to back --reason r", "'back' is no version"),
            ("pin three", "'three' is no version"),
        ],
    )
    def test_what_cannot_be_meant_is_a_usage_error(self, words: str, said: str) -> None:
        """Options that contradict each other, or that are missing, exit with 2 and say so."""
        done = run("policy", *words.split())
        assert done.code == 2
        assert said in done.stderr

    def test_an_empty_reason_is_none(self) -> None:
        """Blanks are no reason."""
        done = run("policy", "rollback", "--stage", "prod", "--reason", "  ")
        assert done.code == 2 and "the reason is empty" in done.stderr


class TestRefusal:
    @pytest.mark.parametrize("applied", [Applied.PINNED, Applied.MISSING, Applied.CAS])
    def test_each_says_what_to_do(self, applied: Applied) -> None:
        """A refusal names the version, and has a code and a hint of its own."""
        error = refusal(applied, 7, Head(live=3, pinned=3))
        assert "version 7" in error.message and error.hint
        assert error.code == {"PINNED": "pinned", "MISSING": "version_missing", "CAS": "head_moved"}[applied.value]


class TestServing:
    @pytest.mark.parametrize(
        ("head", "serves", "comes"),
        [
            (Head(), "nothing is live; no canary", "Live stays until a canary wins"),
            (Head(live=3, live_digest="ab" * 32), "live: version 3 (abababababab); no canary", "policy pin"),
            (
                Head(live=3, pinned=3, previous=2),
                "pinned; no canary; previous: version 2",
                "until alice-rl policy unpin",
            ),
            (Head(live=3, pinned=3, canary=4), "a shadow: serves nobody", "no larger share until then"),
            (Head(live=3, canary=4, canary_share=0.125), "12.5 % of the requests", "--stage canary"),
        ],
    )
    def test_it_is_one_line_and_what_comes_next(self, head: Head, serves: str, comes: str) -> None:
        """What serves stands in one line, and what happens next depends on the pin and on the canary."""
        serving = Serving.of(head)
        assert serves in serving.words and "\n" not in serving.words
        assert comes in serving.next
