"""`alice-rl policy`: files that are checked, described and written whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from alice_rl.errors import AliceError
from alice_rl.settings import load
from alice_rl.snapshot.format import digest, pack
from alice_rl.vocabulary import OTHER
from tests.snapshots import TOOLS, make_snapshot
from tests.unit.cli.runner import run
from worker.cli.policy_card import Card
from worker.cli.policy_versions import write_file
from worker.settings import Settings

FITTING = ("--set", f"tool.arms={','.join(TOOLS)}")
SETTINGS = load(Settings, flags={"tool.arms": ",".join(TOOLS)}).settings
KEY = {"ALICE__SNAPSHOT__SIGNING_KEY": "s3cret"}


@pytest.fixture
def file(nowhere: Path) -> Path:
    path = nowhere / "policy.safetensors"
    path.write_bytes(pack(make_snapshot(7)))
    return path


class TestValidate:
    def test_a_sound_file_is_described(self, file: Path) -> None:
        """Exit code 0, and what the file is, without Kafka or Redis."""
        done = run("policy", "validate", file, "--json", *FITTING)
        assert done.code == 0
        told = done.json
        assert (told["valid"], told["fits"], told["signed"], told["version"]) == (True, True, "no", 7)
        assert told["digest"] == digest(file.read_bytes())
        assert told["manifest"]["arms"]["tool"] == list(TOOLS)

    def test_it_is_described_to_people(self, file: Path) -> None:
        """The same as a list of facts."""
        shown = run("policy", "validate", file, *FITTING).stdout
        assert digest(file.read_bytes()) in shown
        assert "main, as configured" in shown

    def test_another_lineage_is_told(self, file: Path) -> None:
        """A sound file of another structure is valid, but said not to fit."""
        done = run("policy", "validate", file, "--json")
        assert (done.code, done.json["fits"]) == (0, False)

    def test_a_damaged_file_is_refused(self, file: Path) -> None:
        """A flipped byte is exit code 1 and the reason."""
        blob = bytearray(file.read_bytes())
        blob[-1] ^= 1
        file.write_bytes(blob)
        done = run("policy", "validate", file, "--json", *FITTING)
        assert (done.code, done.json["error"]["code"]) == (1, "corrupt")

    def test_a_file_that_is_no_policy_is_refused(self, nowhere: Path) -> None:
        """Anything may be handed over; it is refused, not crashed on."""
        for content in (b"", b"{}", bytes(range(256)) * 40):
            (nowhere / "other").write_bytes(content)
            assert run("policy", "validate", nowhere / "other").code == 1

    def test_a_file_that_is_not_there_is_a_usage_error(self) -> None:
        """A name that leads nowhere is exit code 2."""
        assert run("policy", "validate", "nowhere.safetensors").code == 2

    def test_a_signature_is_checked_with_the_configured_key(self, file: Path) -> None:
        """Without a key it is told as unchecked; with one, the file must be signed with that key."""
        assert run("policy", "validate", file, "--json", env=KEY).json["error"]["code"] == "unsigned"
        file.write_bytes(pack(make_snapshot(7), b"s3cret"))
        assert run("policy", "validate", file, "--json").json["signed"] == "unchecked"
        assert run("policy", "validate", file, "--json", env=KEY).json["signed"] == "yes"
        file.write_bytes(pack(make_snapshot(7), b"another"))
        assert run("policy", "validate", file, "--json", env=KEY).json["error"]["code"] == "bad_signature"


class TestCard:
    def test_choices_are_the_likeliest_arms(self) -> None:
        """For each intent the likeliest arm of every slot is named with its exact probability."""
        card = Card.of(pack(make_snapshot(7)), SETTINGS)
        assert {choices.intent for choices in card.choices} == {"weather", "code", "smalltalk"}
        for choices in card.choices:
            assert choices.route.arm in ("micro", "planner", "deep")
            assert choices.tool.arm in TOOLS
            assert all(1 / 4 <= arm.p <= 1.0 for arm in (choices.route, choices.tool, choices.cache))

    def test_frequent_intents_come_first(self) -> None:
        """The intents that were seen most often head the list."""
        turns = [choices.turns or 0.0 for choices in Card.of(pack(make_snapshot(7)), SETTINGS).choices]
        assert turns == sorted(turns, reverse=True)

    def test_a_policy_that_knows_no_intent_has_a_card(self) -> None:
        """The first policy of all, which nothing has taught, can be shown."""
        snapshot = make_snapshot(1, intents=(), classes=(), counts={}, mean_reward={})
        assert Card.of(pack(snapshot), SETTINGS).choices == []

    def test_the_shared_row_is_an_intent_like_others(self) -> None:
        """Where intents overflowed, the row that the rest share is shown under its own name."""
        card = Card.of(pack(make_snapshot(1, intents=("weather", OTHER))), SETTINGS)
        assert OTHER in {choices.intent for choices in card.choices}


class TestVersionNames:
    @pytest.mark.parametrize("name", ["latest", "-1", "1.5", ""])
    def test_what_is_no_version_is_a_usage_error(self, name: str) -> None:
        """A version is a number or one of four names."""
        assert run("policy", "export", "--", name, "file").code == 2


class TestWriteFile:
    def test_it_replaces_and_leaves_nothing_beside(self, nowhere: Path) -> None:
        """An old file is replaced in one step, and no half file stays behind."""
        path = nowhere / "policy"
        path.write_bytes(b"old")
        write_file(path, b"new")
        assert [p.name for p in nowhere.iterdir()] == ["policy"]
        assert path.read_bytes() == b"new"

    def test_a_folder_that_is_not_there_is_told(self, nowhere: Path) -> None:
        """What cannot be written is an error with a hint, and the name is in it."""
        with pytest.raises(AliceError, match="nowhere") as told:
            write_file(nowhere / "nowhere" / "policy", b"new")
        assert told.value.code == "file_unwritable"
