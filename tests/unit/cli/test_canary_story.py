"""`alice-rl canary explain`: every kind of canary has its story, word for word."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from alice_rl.errors import AliceError
from alice_rl.online.canary import Decision, Effect, GateRules
from tests.canaries import ended, entry, looks, opened, state, stories, verdict
from tests.golden.write_stories import FOLDER, told
from tests.logs import START_MS
from tests.unit.cli.runner import run
from worker.cli.canary_plot import save
from worker.cli.canary_record import record_of
from worker.cli.canary_story import Story, tell

RECORDS = stories()


def paragraphs(story: Story, title: str) -> str:
    """What stands under a title."""
    (passage,) = [passage for passage in story.passages if passage.title == title]
    return "\n".join(passage.lines)


class TestStories:
    @pytest.mark.parametrize("name", RECORDS)
    def test_a_story_is_told_as_it_was_read_by_somebody(self, name: str) -> None:
        """Every story is, word for word, the one in tests/golden/stories that was written and read."""
        assert told(name) == (FOLDER / f"{name.replace(' ', '-')}.txt").read_text(encoding="utf-8")

    @pytest.mark.parametrize(("came", "whose"), [(369, "the canary's"), (531, "version 41's")])
    def test_a_void_trial_says_whose_outcomes_are_missing(self, came: int, whose: str) -> None:
        """Too few of the canary's requests: its outcomes are missing; too many: the other's are."""
        said = verdict(Decision.INVALID, requests=9000, canary_requests=came, log_e_ratio=8.0)
        story = tell(record_of(None, state(), [*opened(), ended(9, "invalid", said)], []), GateRules())
        assert f"So {whose} outcomes are missing" in paragraphs(story, "Are all outcomes there?")

    def test_over_several_shares_nobody_can_say_whose_outcomes_are_missing(self) -> None:
        """A share between those that were sent accuses neither side."""
        said = verdict(Decision.INVALID, requests=9000, canary_requests=900, log_e_ratio=8.0)
        moves = [*opened(shares=((1.0, 0.05), (5.0, 0.25))), ended(9, "invalid", said)]
        lines = paragraphs(tell(record_of(42, None, moves, []), GateRules()), "Are all outcomes there?")
        assert "10 % of the requests that were answered" in lines and "where 5 % to 25 %, step by step," in lines
        assert "one side's outcomes" in lines

    def test_a_margin_is_part_of_the_question(self) -> None:
        """With a margin the bet is against a canary that is worse by that much."""
        lines = paragraphs(tell(RECORDS["promoted"], GateRules(margin=0.02)), "How sure that is")
        assert "worse than version 41 by 0.02 or more" in lines

    def test_broken_serving_is_told_from_bad_choices(self) -> None:
        """Where users are worse off than the choices explain, it is said that something fails; else it is not."""
        assert "something fails" in paragraphs(tell(RECORDS["rolled back"], GateRules()), "What was seen")
        agreeing = verdict(policies=Effect(-0.3, -0.4, -0.2), arms=Effect(-0.35, -0.5, -0.2))
        story = tell(record_of(None, state(verdict=msgspec.to_builtins(agreeing)), [], []), GateRules())
        assert "something fails" not in paragraphs(story, "What was seen")


class TestRecord:
    def test_a_version_that_was_no_canary_is_refused(self) -> None:
        """A version that nothing is known of, and an audit without canaries, are told apart from each other."""
        with pytest.raises(AliceError, match="version 7 has not been a canary"):
            record_of(7, state(), opened(), [])
        with pytest.raises(AliceError, match="there has been no canary yet") as told_:
            record_of(None, None, opened()[:2], [])
        assert told_.value.code == "no_canary"

    def test_by_default_it_is_the_last_one(self) -> None:
        """Without a state, as after a failover, the newest canary of the audit is meant."""
        later = entry("promote", 90, stage="canary", version=50, share=0.0, live=41, canary=50)
        assert record_of(None, None, [*opened(), later], []).version == 50

    def test_another_canary_in_its_place_ends_it(self) -> None:
        """A canary whose place another one takes is withdrawn then, whoever did it."""
        later = entry(
            "promote", 9, gate=False, who="alva@host", stage="canary", version=50, share=0.05, live=41, canary=50
        )
        end = record_of(42, None, [*opened(), later], []).end
        assert end is not None and (end.what, end.by_gate, end.who) == ("withdrawn", False, "alva@host")

    def test_production_rolled_back_takes_the_canary_along(self) -> None:
        """A rollback of the live policy ends the canary, which it takes away."""
        fields = {"stage": "prod", "from": 41, "to": 40, "live": 40, "canary": "", "who": "alva@host"}
        end = record_of(42, None, [*opened(), entry("rollback", 9, gate=False, **fields)], []).end
        assert end is not None and end.what == "withdrawn"

    def test_a_new_live_version_begins_the_comparison_anew(self) -> None:
        """What was seen against the version before is told apart: the canary is compared with what is live now."""
        moved = entry("promote", 9, gate=False, who="alva@host", stage="prod", version=43, live=43, canary=42)
        record = record_of(42, None, [*opened(), moved, ended(20, "rolled_back", verdict(Decision.ROLLBACK))], [])
        assert (record.live_version, record.opened_ms) == (43, START_MS + 9 * 60_000)
        story = tell(record, GateRules())
        assert "version 43 went live: the comparison began anew, by alva@host" in paragraphs(
            story, "How the requests were split"
        )
        assert "Version 43 stayed live" in story.headline

    def test_a_publication_that_goes_live_is_noticed_and_a_candidate_is_not(self) -> None:
        """Candidates are published all the time and move nothing; one that goes live begins the comparison anew."""
        candidate = entry("publish", 5, gate=False, version=43, digest="ef" * 32, live=41)
        imported = entry("publish", 9, gate=False, who="alva@host", version=44, digest="ef" * 32, live=44)
        record = record_of(42, None, [*opened(), candidate, imported], [])
        assert [step.what for step in record.steps] == ["opened", "share", "live"]
        assert (record.live_version, record.live_digest) == (44, "ef" * 32)

    def test_the_second_trial_of_a_version_is_not_mixed_with_its_first(self) -> None:
        """A version that is tried again has the steps and looks of its last trial."""
        again = [
            entry("promote", at, stage="canary", version=42, share=s, live=41, canary=42)
            for at, s in ((60, 0.0), (61, 0.05))
        ]
        record = record_of(42, None, [*opened(), ended(9, "withdrawn", True), *again], looks(70, 0.0))
        assert [step.share for step in record.steps] == [0.0, 0.05]
        assert {point.ts_ms >= START_MS + 60 * 60_000 for point in record.points} == {True}

    def test_an_audit_that_forgot_it_leaves_the_state(self) -> None:
        """A canary whose entries were trimmed is known by the gate's own memory, its end as well."""
        said = verdict(Decision.ROLLBACK, reason="users are worse off")
        over = state(phase="ended", outcome="rolled_back", ended_ms=START_MS + 600_000, reason=said.reason)
        record = record_of(None, msgspec.structs.replace(over, verdict=msgspec.to_builtins(said)), [], [])
        assert record.end is not None and (record.end.what, record.end.ts_ms) == ("rolled_back", START_MS + 600_000)
        assert tell(record, GateRules()).headline.startswith("Version 42 was rolled back at 2026-01-01 00:10:00 UTC")


class TestPlot:
    @pytest.mark.parametrize("name", ["promoted", "rolled back", "by a person"])
    @pytest.mark.parametrize("suffix", ["png", "svg"])
    def test_a_canary_is_drawn(self, name: str, suffix: str, tmp_path: Path) -> None:
        """A picture of the kind that the name of the file asks for is there, and has content."""
        pytest.importorskip("matplotlib")
        file = tmp_path / f"canary.{suffix}"
        save(file, RECORDS[name], GateRules(), "A canary")
        data = file.read_bytes()
        assert data.startswith({"png": b"\x89PNG", "svg": b"<?xml"}[suffix]) and len(data) > 10_000

    def test_without_looks_there_is_nothing_to_draw(self, tmp_path: Path) -> None:
        """A canary that nobody has looked at is an error that says so, and leaves no file."""
        with pytest.raises(AliceError, match="nothing to draw"):
            save(tmp_path / "canary.png", RECORDS["withdrawn"], GateRules(), "")
        assert list(tmp_path.iterdir()) == []


class TestUsage:
    @pytest.mark.parametrize("words", [["--plot", "canary.txt"], ["--plot", "canary"], ["newest"], ["0"]])
    def test_what_is_no_picture_and_no_version_is_a_usage_error(self, words: list[str]) -> None:
        """A picture is .png or .svg, a version a number; anything else is exit code 2, before anything is read."""
        assert run("canary", "explain", *words).code == 2
