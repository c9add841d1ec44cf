"""Savepoints as bytes: they come back as they were, and nothing damaged does."""

from __future__ import annotations

import io
import random
import zipfile
from typing import Any

import msgspec
import pytest

from alice_rl.errors import SnapshotError
from alice_rl.snapshot import sealed_zip
from alice_rl.snapshot.savepoint import KeptVersion, Savepoint, pack, unpack
from alice_rl.snapshot.sealed_zip import MANIFEST, has_signature, pack_zip

KEY = b"s3cret"


def shard(upto: int) -> dict[bytes, bytes]:
    fields = {b"next": b"%d" % upto, b"low": b"0", b"watermark_ms": b"5", b"tail": b"t", b"token": b"9"}
    return fields | {b"bucket:1": bytes(range(256)) * 8, b"added:later": b"\xff\x00"}


def make_savepoint(**changes: Any) -> Savepoint:
    given: dict[str, Any] = {
        "policy": "alice",
        "lineage": "main",
        "created_at_ms": 1_767_225_600_123,
        "active": True,
        "config": b'f1 {"dim":64}',
        "known": {b"partition:main:0": b"1", b"partition:main:11": b"1"},
        "shards": {0: shard(120), 11: shard(80)},
        "head": {b"run_id": b"r", b"seq": b"3", b"live": b"2", b"added_later": b"\xfe"},
        "versions": (KeptVersion(2, 1_767_225_600_000, "d2", b"blob-2"), KeptVersion(3, 1_767_225_600_001, "d3", b"")),
        "history": ((b"1-0", {b"kind": b"publish"}), (b"2-0", {b"kind": b"pin", b"why": "för".encode()})),
    }
    return Savepoint(**given | changes)


def refused(data: bytes, key: bytes | None = None) -> SnapshotError:
    with pytest.raises(SnapshotError) as caught:
        unpack(data, key)
    return caught.value


class TestRoundTrip:
    @pytest.mark.parametrize("key", [None, KEY])
    def test_it_comes_back_as_it_was(self, key: bytes | None) -> None:
        """Every field of every HASH comes back, those that this code does not know included."""
        assert unpack(pack(make_savepoint(), key), key) == make_savepoint()

    def test_a_lineage_that_is_not_active(self) -> None:
        """Without head, versions and history it is a savepoint like others; so is one that has learned nothing."""
        small = make_savepoint(active=False, head={}, versions=(), history=(), shards={}, known={})
        assert unpack(pack(small)) == small

    def test_equal_savepoints_are_equal_bytes(self) -> None:
        """Packing reads no clock and draws no number."""
        assert pack(make_savepoint(), KEY) == pack(make_savepoint(), KEY)

    def test_any_tool_opens_it(self) -> None:
        """It is a zip whose first entry says what the others are; a policy in it is a file of its own."""
        with zipfile.ZipFile(io.BytesIO(pack(make_savepoint()))) as archive:
            assert archive.testzip() is None
            assert archive.namelist()[0] == MANIFEST
            manifest = msgspec.json.decode(archive.read(MANIFEST))
            assert archive.read("snapshots/2.safetensors") == b"blob-2"
        assert (manifest["format"], manifest["lineage"], manifest["fingerprint"]) == (1, "main", "f1")
        assert (manifest["offsets"], manifest["live"]) == ({"0": 120, "11": 80}, 2)


class TestRefusals:
    @pytest.mark.parametrize("key", [None, KEY])
    def test_any_flipped_bit_is_refused(self, key: bytes | None) -> None:
        """Wherever a bit is flipped, in entries, headers, directory or seal, the file is refused."""
        data = pack(make_savepoint(), key)
        rng = random.Random(7)
        for at in [*rng.sample(range(len(data)), 400), *range(len(data) - 260, len(data))]:
            damaged = bytearray(data)
            damaged[at] ^= 1 << rng.randrange(8)
            assert refused(bytes(damaged)).code == "corrupt"

    @pytest.mark.parametrize(
        "name", ["lineage.txt", "known.msgpack", "shards/11.msgpack", "head.msgpack", "snapshots/2.safetensors"]
    )
    def test_the_damaged_entry_is_named(self, name: str) -> None:
        """Damage inside of an entry is told by the entry's name."""
        data = bytearray(pack(make_savepoint()))
        with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
            info = archive.getinfo(name)
        data[info.header_offset + 30 + len(name) + info.compress_size // 2] ^= 0x10
        assert f"entry {name} is damaged" in refused(bytes(data)).message

    def test_a_file_that_is_cut_off_or_longer(self) -> None:
        """A part of a file, and a file with something behind it, are refused."""
        data = pack(make_savepoint())
        for other in (*(data[:size] for size in range(0, len(data), 97)), data[:-1], data + b"\n", b"x" + data):
            assert refused(other).code == "corrupt"

    def test_a_newer_format(self) -> None:
        """A newer format is refused as such, whatever else it may have changed."""
        error = refused(pack_zip(b'{"format":2,"entries":[]}', {}))
        assert (error.code, error.hint) == ("newer_format", "update alice-rl")

    @pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b'{"format":1,"entries":{}}', b"\xff"])
    def test_a_sealed_zip_that_is_no_savepoint(self, manifest: bytes) -> None:
        """A right seal does not make a savepoint."""
        assert refused(pack_zip(manifest, {})).code == "corrupt"

    def test_another_zip(self) -> None:
        """A zip of something else is refused by the entry that it lacks."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("other", b"x")
        assert "manifest.json is missing" in refused(buffer.getvalue()).message

    @pytest.mark.parametrize(
        "change",
        [
            {"offsets": {"0": 121, "11": 80}},
            {"offsets": {"0": 120}},
            {"fingerprint": "f2"},
            {"live": 3},
            {"lineage": 5},
            {"entries": {}},
        ],
    )
    def test_a_manifest_that_says_something_else(self, change: dict[str, Any]) -> None:
        """A manifest that was written anew must say what the entries hold."""
        text, entries = sealed_zip.unpack_zip(pack(make_savepoint()), 1)
        manifest = msgspec.json.decode(text) | change
        assert refused(pack_zip(msgspec.json.encode(manifest), entries)).code == "corrupt"

    def test_a_shard_without_its_offset(self) -> None:
        """A shard that lacks a field which every shard has is refused."""
        text, entries = sealed_zip.unpack_zip(pack(make_savepoint()), 1)
        entries["shards/0.msgpack"] = msgspec.msgpack.encode({b"low": b"0"})
        manifest = msgspec.json.decode(text)
        manifest["entries"] = {name: sealed_zip.Checksum.of(content) for name, content in entries.items()}
        assert refused(pack_zip(msgspec.json.encode(manifest), entries)).code == "corrupt"


class TestSignatures:
    def test_with_a_key_only_its_own_signature_will_do(self) -> None:
        """Unsigned and wrongly signed files are refused where a key is configured."""
        assert refused(pack(make_savepoint()), KEY).code == "unsigned"
        assert refused(pack(make_savepoint(), b"other"), KEY).code == "bad_signature"

    def test_without_a_key_a_signed_file_is_read(self) -> None:
        """A signature that cannot be checked is no reason to refuse; whether there is one can be asked."""
        assert unpack(pack(make_savepoint(), KEY)) == make_savepoint()
        assert has_signature(pack(make_savepoint(), KEY)) and not has_signature(pack(make_savepoint()))
