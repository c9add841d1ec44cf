"""`alice-rl deadletters`: usage, what is made of a dead letter, and how it looks."""

from __future__ import annotations

from io import StringIO
from typing import Any, NamedTuple

import msgspec
import pytest
from msgspec.structs import replace
from rich.console import Console

from alice_rl.events import decode
from tests.logs import LINEAGE, START_MS, outcome, turn
from tests.unit.cli.runner import run
from worker.cli.letters import Letter, Wanted
from worker.cli.letters_listing import Gathered, Listing
from worker.cli.letters_retry import Example, Retried
from worker.cli.letters_verdict import HELD, Allowed, Held, Judge, Sending
from worker.cli.letters_view import letter_facts, letter_view, list_view, retried_view
from worker.cli.reach import Reach
from worker.times import instant_ms

HOUR_MS = 3_600_000
LETTER = Letter(
    topic="t",
    partition=3,
    offset=7,
    reason="unknown_arm",
    detail="tool arm 'x'",
    at_ms=START_MS,
    lineage="main",
    key=b"k",
    timestamp_ms=START_MS - 1,
    value=msgspec.json.encode(turn("d")),
)
HERE = Reach(begun=0, next=100, now_ms=START_MS)


class Record(NamedTuple):
    """A record of the dead-letter topic."""

    timestamp: int
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def shown(view: Any) -> str:
    """A view as plain text."""
    out = StringIO()
    Console(file=out, width=200).print(view)
    return out.getvalue()


class TestUsage:
    @pytest.mark.parametrize(
        ("words", "told"),
        [
            ("retry", "say which"),
            ("retry --all 3:1", "not both"),
            ("retry --all --restamp --late-too", "its own time or with the present one"),
            ("retry 3", "is no id"),
            ("show t:3:x", "is no id"),
            ("list --since tomorrow", "is no time"),
            ("list --limit -1", "--limit"),
        ],
    )
    def test_what_makes_no_sense_is_told(self, words: str, told: str) -> None:
        """A wrong use exits with 2 and says what is wrong, before anything is asked of Kafka."""
        done = run("deadletters", *words.split())
        assert done.code == 2
        assert told in done.stderr

    def test_without_a_topic_there_is_nothing_to_look_at(self) -> None:
        """An empty kafka.dead_letter_topic is a matter of configuration: exit code 2."""
        done = run("deadletters", "list", "--json", "--set", "kafka.dead_letter_topic=")
        assert (done.code, done.json["error"]["code"]) == (2, "config_invalid")

    def test_without_kafka_it_says_so(self) -> None:
        """A broker that does not answer is exit code 3."""
        done = run("deadletters", "list", "--json", "--set", "kafka.bootstrap_servers=127.0.0.1:1")
        assert (done.code, done.json["error"]["code"]) == (3, "kafka_unreachable")

    @pytest.mark.parametrize("text", ["", "2", "-2h", "2 hours", "2026-13-01"])
    def test_what_is_no_time_is_refused(self, text: str) -> None:
        """An instant is a date, a date and time, or a span with its unit."""
        with pytest.raises(ValueError, match="is no time"):
            instant_ms(text)


class TestLetter:
    def test_what_is_no_letter_is_passed_over(self) -> None:
        """Anyone may write to the topic: a record without our headers, or with others in them, is none."""
        good = {"topic": b"t", "partition": b"3", "offset": b"7", "reason": b"killed_worker"}
        for changes in ({"offset": b"x"}, {"partition": None}, {"reason": b"retried"}):
            assert Letter.of(Record(1, b"", tuple((good | changes).items()))) is None
        assert Letter.of(Record(1, b"", ())) is None
        letter = Letter.of(Record(1, b"\xff", (*good.items(), ("key", b"\xfe"))))
        assert letter is not None
        assert (letter.id, letter.reason, letter.key, letter.at_ms) == ("t:3:7", "killed_worker", b"\xfe", 1)

    def test_a_marker_is_read_as_it_is_written(self) -> None:
        """A marker leads to its letter, and is told from it."""
        key, headers = LETTER.marker("sent to offset 9")
        marker = Letter.of(Record(START_MS + 5, b"", tuple(headers)))
        assert marker is not None and key == b"t:3:7"
        assert (marker.id, marker.reason, marker.at_ms) == (LETTER.id, LETTER.reason, LETTER.at_ms)
        assert (marker.marked_ms, LETTER.marked_ms) == (START_MS + 5, None)

    def test_filters_hold_for_letters_and_markers(self) -> None:
        """What selects a letter selects its marker."""
        marker = replace(LETTER, marked_ms=START_MS + 5)
        for wanted in (
            Wanted(),
            Wanted(reason="unknown_arm", partition=3, since_ms=START_MS, ids=frozenset({"t:3:7"})),
        ):
            assert wanted.takes(LETTER) and wanted.takes(marker)
        for other in (
            Wanted(reason="empty"),
            Wanted(partition=0),
            Wanted(since_ms=START_MS + 1),
            Wanted(ids=frozenset({"t:3:8"})),
        ):
            assert not other.takes(LETTER) and not other.takes(marker)


class TestListing:
    def test_it_keeps_the_newest_alone(self) -> None:
        """However many letters there are, all are counted and only the newest are kept, whatever their order."""
        gathered = Gathered(limit=3)
        order = [4, 900, 17, 998, 3, 999, 0, 997, *range(20, 890)]
        for offset in order:
            gathered.add(replace(LETTER, offset=offset, at_ms=START_MS + offset))
        assert [record.at_ms - START_MS for record in gathered.newest()] == [999, 998, 997]
        (seen,) = gathered.reasons.values()
        assert (seen.letters, seen.first_ms, seen.last_ms) == (len(order), START_MS, START_MS + 999)

    def test_copies_count_once(self) -> None:
        """A record that two workers have set aside is one letter, and two retries of it are one."""
        gathered = Gathered(limit=3)
        for letter in (LETTER, LETTER, replace(LETTER, marked_ms=1), replace(LETTER, marked_ms=2)):
            gathered.add(letter)
        (seen,) = gathered.reasons.values()
        assert (seen.letters, seen.retried) == (1, 1)
        assert [record.retried_ms for record in gathered.newest()] == [2]

    def test_reasons_are_bounded(self) -> None:
        """A producer that invents reasons does not fill the memory: from some number on they share a row."""
        gathered = Gathered(limit=0)
        for offset in range(1000):
            gathered.add(replace(LETTER, offset=offset, reason=f"r-{offset}"))
        assert len(gathered.reasons) < 300
        assert sum(seen.letters for seen in gathered.reasons.values()) == 1000
        assert gathered.newest() == []

    def test_it_is_shown_without_control_characters(self) -> None:
        """What a producer wrote cannot move the cursor or colour the table."""
        gathered = Gathered(limit=3)
        gathered.add(replace(LETTER, reason="[red]x", detail="\x1b[2J\nnext"))
        reasons = list(gathered.reasons.values())
        text = shown(list_view(Listing(topic="d", letters=1, retried=0, reasons=reasons, records=gathered.newest())))
        assert "\x1b" not in text and "\\x1b[2J\\nnext" in text and "[red]x" in text

    def test_nothing_is_said_to_be_nothing(self) -> None:
        """An empty topic is a sentence, not an empty table."""
        assert shown(list_view(Listing(topic="d", letters=0, retried=0, reasons=[], records=[]))) == (
            "d: no such dead letters\n"
        )


class TestShow:
    def test_json_is_laid_out_and_its_reason_explained(self) -> None:
        """A record that is JSON is shown indented, and its code in words."""
        text = shown(letter_view(LETTER, None))
        assert "unknown_arm: an arm is not in the lineage's configuration" in text
        assert '\n  "decision_id": "d",\n' in text
        assert letter_facts(LETTER, 5)["value"] == turn("d")

    @pytest.mark.parametrize(
        ("value", "expected"), [(b"\xff\x00{", "\\xff\\x00{"), (None, "(no value)"), (b"[" * 9999, "[[[[")]
    )
    def test_other_bytes_are_escaped(self, value: bytes | None, expected: str) -> None:
        """A record that is no JSON, or none that can be read, is shown as it is, but for what a terminal obeys."""
        assert expected in shown(letter_view(replace(LETTER, value=value), None))

    def test_an_unknown_reason_is_shown_as_it_is(self) -> None:
        """A code that this version does not know has no meaning here, and is no error."""
        unknown = replace(LETTER, reason="of_tomorrow")
        assert "reason     of_tomorrow " in shown(letter_view(unknown, None))
        assert letter_facts(unknown, None)["meaning"] is None


class TestJudge:
    def judged(self, letter: Letter, reach: Reach | None = HERE, **allowed: bool) -> Sending | Held:
        return Judge(LINEAGE, "main", Allowed(**allowed)).judge(letter, reach)

    def test_what_is_good_goes_back_unchanged(self) -> None:
        """Bytes, key and time are those of the rejected record."""
        assert self.judged(LETTER) == Sending(LETTER, LETTER.value or b"", b"k", START_MS - 1, restamped=False)

    @pytest.mark.parametrize(
        ("value", "reason"), [(b"garbage", "malformed_json"), (None, "empty"), (b"{}", "unknown_type")]
    )
    def test_what_is_bad_stays(self, value: bytes | None, reason: str) -> None:
        """What would be rejected again is held back with its reason."""
        held = self.judged(replace(LETTER, value=value))
        assert isinstance(held, Held)
        assert (held.why, held.detail.split(":")[0]) == ("rejected_again", reason)

    def test_what_killed_workers_goes_back_only_by_its_id(self) -> None:
        """No sweep over all letters sends a record that nobody survives."""
        killer = replace(LETTER, reason="killed_worker")
        held = self.judged(killer)
        assert isinstance(held, Held) and held.why == "killed_worker"
        assert isinstance(self.judged(killer, named=True), Sending)

    @pytest.mark.parametrize("reach", [None, HERE._replace(next=7)])
    def test_what_is_still_to_be_read_stays(self, reach: Reach | None) -> None:
        """A record that the lineage will read from the log itself is not doubled, whatever is allowed."""
        held = self.judged(LETTER, reach, again=True)
        assert isinstance(held, Held) and held.why == "unread"

    def test_what_another_lineage_rejected_and_this_one_has_read_stays(self) -> None:
        """It was learned from the log; it goes back only when that is asked for, or when the lineage began after it."""
        other = replace(LETTER, lineage="older")
        held = self.judged(other)
        assert isinstance(held, Held) and held.why == "learned"
        assert isinstance(self.judged(other, again=True), Sending)
        assert isinstance(self.judged(other, HERE._replace(begun=8)), Sending)

    @pytest.mark.parametrize("event", [turn("d"), outcome("d", START_MS)])
    def test_late_events_stay_or_are_moved(self, event: dict[str, Any]) -> None:
        """Beyond the join window an event is held back, moved to the present, or sent as it is."""
        late = replace(LETTER, value=msgspec.json.encode(event))
        edge = START_MS + LINEAGE.join.horizon_seconds * 1000
        assert isinstance(self.judged(late, HERE._replace(now_ms=edge)), Sending)
        beyond = HERE._replace(now_ms=edge + 1)
        held = self.judged(late, beyond)
        assert isinstance(held, Held) and held.why == "late"
        assert self.judged(late, beyond, late=True) == self.judged(late)
        moved = self.judged(late, beyond, restamp=True)
        assert isinstance(moved, Sending)
        assert (moved.restamped, moved.timestamp_ms, decode(moved.value).ts_ms) == (True, edge + 1, edge + 1)
        by_ms = edge + 1 - START_MS
        expected = event | {"ts_ms": edge + 1}
        if event["type"] == "turn":
            expected["outcome"] = event["outcome"] | {"ts_ms": event["outcome"]["ts_ms"] + by_ms}
        assert msgspec.json.decode(moved.value) == expected


class TestRetried:
    NOTHING = Retried(
        dry_run=False,
        letters=0,
        sent=0,
        restamped=0,
        held={},
        reasons={},
        unmarked=0,
        missing=[],
        examples=[],
    )

    @pytest.mark.parametrize(
        ("changes", "done"),
        [
            ({}, True),
            ({"letters": 3, "held": {"retried": 3}}, True),
            ({"letters": 3, "sent": 1, "held": {"late": 2}}, True),
            ({"letters": 3, "held": {"retried": 2, "late": 1}}, False),
            ({"letters": 1, "sent": 1, "missing": ["t:3:8"]}, False),
            ({"letters": 1, "sent": 1, "unmarked": 1}, False),
            ({"letters": 2, "sent": 1, "held": {"undelivered": 1}}, False),
        ],
    )
    def test_it_is_done_when_nothing_is_left_to_mend(self, changes: dict[str, Any], done: bool) -> None:
        """Nothing to do is no failure; nothing that could be done, or something lost on the way, is."""
        assert replace(self.NOTHING, **changes).done is done

    def test_it_says_what_to_do_about_late_events(self) -> None:
        """How many are late, of how many that could be learned, and the ways out."""
        text = shown(retried_view(replace(self.NOTHING, letters=41, sent=3, held={"late": 37, "retried": 1})))
        assert "37 of 40 are older than the join window and would be dropped as late: --restamp gives them" in text

    def test_every_fate_has_words(self) -> None:
        """Whatever holds a letter back is explained, with the first few examples."""
        examples = [Example("t:3:7", why, "because") for why in HELD]
        counts = dict.fromkeys(HELD, 1)
        view = retried_view(replace(self.NOTHING, held=counts, reasons={"empty": 1}, examples=examples, restamped=1))
        text = shown(view)
        assert all(words in text for words in HELD.values()) and "(empty 1)" in text and "t:3:7" in text
