"""`alice-rl savepoint show`, and what is refused before Redis is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from alice_rl.snapshot.format import digest
from alice_rl.snapshot.savepoint import Savepoint, pack
from tests.unit.cli.runner import run
from worker.settings import Settings

KEY = {"ALICE__SNAPSHOT__SIGNING_KEY": "s3cret"}
AWAY = ("--set", "redis.url=redis://127.0.0.1:1/0", "--set", "redis.retries_max=0")


def make_savepoint(policy: str = "alice", lineage: str = "main", fingerprint: str | None = None) -> Savepoint:
    lineage_now = Settings().lineage
    return Savepoint(
        policy=policy,
        lineage=lineage,
        created_at_ms=1_767_225_600_000,
        active=True,
        config=f"{fingerprint or lineage_now.fingerprint} ".encode() + lineage_now.to_json(),
        known={b"partition:main:3": b"1"},
        shards={3: {b"next": b"1200", b"low": b"0", b"watermark_ms": b"5", b"tail": b"t"}},
    )


@pytest.fixture
def file(nowhere: Path) -> Path:
    path = nowhere / "alice.savepoint"
    path.write_bytes(pack(make_savepoint()))
    return path


class TestShow:
    def test_a_sound_file_is_described(self, file: Path) -> None:
        """Exit code 0 and what is in the file, without Kafka or Redis."""
        done = run("savepoint", "show", file, "--json", *AWAY)
        assert done.code == 0
        told = done.json
        assert (told["lineage"], told["partitions"], told["versions"], told["live"]) == ("main", {"3": 1200}, [], None)
        assert (told["digest"], told["size_bytes"]) == (digest(file.read_bytes()), file.stat().st_size)
        assert (told["signed"], told["warnings"]) == ("no", [])

    def test_it_is_described_to_people(self, file: Path) -> None:
        """The same as a list of facts."""
        shown = run("savepoint", "show", file).stdout
        assert "main, the active one" in shown and "3: 1,200" in shown and "2026-01-01" in shown

    def test_another_lineage_is_a_warning(self, file: Path) -> None:
        """A file of another lineage or structure than configured is sound, and it is said."""
        file.write_bytes(pack(make_savepoint(lineage="replay", fingerprint="f2")))
        done = run("savepoint", "show", file, "--json")
        assert done.code == 0
        name, structure = done.json["warnings"]
        assert "'replay'" in name and "arms" in structure
        assert "warning: " in run("savepoint", "show", file).stdout

    def test_damage_is_refused(self, file: Path) -> None:
        """A flipped byte is exit code 1 and says where."""
        blob = bytearray(file.read_bytes())
        blob[60] ^= 1
        file.write_bytes(blob)
        done = run("savepoint", "show", file, "--json")
        assert (done.code, done.json["error"]["code"]) == (1, "corrupt")
        assert "manifest.json" in done.json["error"]["message"]

    def test_what_is_no_savepoint_is_refused(self, nowhere: Path) -> None:
        """Anything may be handed over; it is refused, not crashed on."""
        for content in (b"", b"{}", bytes(range(256)) * 40):
            (nowhere / "other").write_bytes(content)
            assert run("savepoint", "show", nowhere / "other").code == 1
        assert run("savepoint", "show", "nowhere").code == 2

    def test_a_signature_is_checked_with_the_configured_key(self, file: Path) -> None:
        """Without a key it is told as unchecked; with one, the file must be signed with that key."""
        assert run("savepoint", "show", file, "--json", env=KEY).json["error"]["code"] == "unsigned"
        file.write_bytes(pack(make_savepoint(), b"s3cret"))
        assert run("savepoint", "show", file, "--json").json["signed"] == "unchecked"
        assert run("savepoint", "show", file, "--json", env=KEY).json["signed"] == "yes"


class TestRestore:
    def test_another_policy_is_refused_before_redis_is_asked(self, file: Path) -> None:
        """A file of another policy is exit code 2, and what to do."""
        file.write_bytes(pack(make_savepoint(policy="other")))
        done = run("savepoint", "restore", file, "--json", *AWAY)
        assert (done.code, done.json["error"]["code"]) == (2, "policy_mismatch")
        assert "--set policy.name=other" in done.json["error"]["hint"]

    def test_damage_is_refused_before_redis_is_asked(self, file: Path) -> None:
        """A damaged file is exit code 1, whether Redis is there or not."""
        file.write_bytes(file.read_bytes()[:-1])
        done = run("savepoint", "restore", file, "--force", "--json", *AWAY)
        assert (done.code, done.json["error"]["code"]) == (1, "corrupt")

    def test_without_redis_nothing_is_restored(self, file: Path) -> None:
        """A Redis that is away is exit code 3."""
        done = run("savepoint", "restore", file, "--json", *AWAY, "--set", "redis.start_timeout_seconds=0")
        assert (done.code, done.json["error"]["code"]) == (3, "redis_unreachable")


class TestCreate:
    def test_without_redis_no_file_is_written(self, nowhere: Path) -> None:
        """A Redis that is away is exit code 3, and an older file stays."""
        (nowhere / "kept").write_bytes(b"older")
        assert run("savepoint", "create", "kept", "--json", *AWAY).code == 3
        assert (nowhere / "kept").read_bytes() == b"older"
