"""The audit in lines: what is folded together, and what nobody should rely on."""

from __future__ import annotations

import msgspec
import pytest

from alice_rl.snapshot.records import HistoryEntry
from worker.cli.policy_audit import Line, Lines
from worker.cli.policy_audit_words import verdict_words, words_of


def publication(version: int, live: int, **fields: str) -> HistoryEntry:
    stored = {"version": str(version), "live": str(live), "who": "host-1", "why": "", "detail": ""}
    return HistoryEntry(f"{version}-0", version, "publish", stored | fields)


def lines_of(entries: list[HistoryEntry], limit: int = 10) -> list[Line]:
    lines = Lines(limit, fold=True)
    for entry in entries:
        if not lines.add(entry):
            break
    return lines.lines


class TestFolding:
    def test_what_somebody_wanted_is_a_line_of_its_own(self) -> None:
        """An import stands between publications, with its reason and its file."""
        imported = msgspec.json.encode({"imported": {"file": "a.safetensors"}}).decode()
        told = lines_of(
            [
                publication(4, 4),
                publication(3, 2, why="as a test", detail=imported),
                publication(2, 2, who="host-2"),
                publication(1, 1),
            ]
        )
        assert [line.words for line in told] == [
            "version 4 published, live",
            "version 3 imported from a.safetensors, as a candidate",
            "2 publishes, versions 1 to 2, live",
        ]
        assert (told[1].why, told[2].who) == ("as a test", "host-2, host-1")
        assert (told[2].ts_ms, told[2].first_ms, told[2].id) == (2, 1, "2-0")

    def test_the_last_line_is_whole(self) -> None:
        """The limit counts lines: publications beyond it still belong to the last one."""
        (line,) = lines_of([publication(version, 0) for version in (3, 2, 1)], limit=1)
        assert (line.entries, line.versions) == (3, (1, 3))

    @pytest.mark.parametrize(
        "detail", ["no json", "[1]", '"text"', '{"verdict":{}}', '{"verdict":{"decision":"HOLD"}}']
    )
    def test_a_detail_of_any_kind_is_survived(self, detail: str) -> None:
        """What another version wrote down is shown as far as it can be."""
        line = Line.of(publication(1, 1, detail=detail))
        assert verdict_words(line.detail) == ("HOLD" if "HOLD" in detail else "")


class TestWords:
    @pytest.mark.parametrize(
        ("kind", "fields", "words"),
        [
            ("takeover", {"lineage": "wide", "version": "9"}, "lineage wide took over with version 9"),
            ("promote", {"version": "7", "stage": "canary", "share": "0.0"}, "version 7 is the canary, as a shadow"),
            ("promote", {"version": "7", "stage": "prod", "pinned": "7"}, "version 7 is live, pinned"),
            ("unpin", {"version": "7"}, "version 7 not pinned any more"),
            ("rollback", {"stage": "prod", "from": "7", "to": "7"}, "live stays version 7, and is pinned"),
            ("restore", {"lineage": "main", "live": "7"}, "lineage main restored from a savepoint, version 7 is live"),
            ("something", {"version": "7"}, "something 7"),
        ],
    )
    def test_each_kind_is_told(self, kind: str, fields: dict[str, str], words: str) -> None:
        """Every kind of entry has its words, and one of a later version its name."""
        assert words_of(kind, fields, None).startswith(words)
