"""The bytes of a snapshot: written the same by everyone, read for ever, refused when anything is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors.numpy

from alice_rl.errors import SnapshotError
from alice_rl.snapshot import Snapshot, digest, pack, unpack
from alice_rl.snapshot import format as format_module
from tests.snapshots import make_snapshot, small_snapshot

GOLDEN = Path(__file__).parents[2] / "golden"
KEY = b"secret"


def code_of(call: Callable[[], object]) -> str:
    """The code of the refusal that `call` ends in."""
    with pytest.raises(SnapshotError) as caught:
        call()
    return caught.value.code


def changed(**changes: Any) -> Snapshot:
    """The small snapshot with some of its arrays replaced."""
    small = small_snapshot()
    return Snapshot(small.manifest, **(small.tensors() | changes))


def forged(monkeypatch: pytest.MonkeyPatch, snapshot: Snapshot) -> bytes:
    """The bytes of a snapshot that `pack` would not write."""
    with monkeypatch.context() as patch:
        patch.setattr(format_module, "_check", lambda snapshot: None)
        patch.setattr(format_module, "_manifest_json", lambda manifest: manifest.to_json())
        return pack(snapshot)


def test_golden_v1_decodes_for_ever() -> None:
    """A snapshot written in format 1 has the same content, digest and signature in every later release."""
    data = (GOLDEN / "snapshot-v1.safetensors").read_bytes()
    assert digest(data) == "2cc726c1e021e533f7eef104b742340e86de2df6e7636bd330de480ea150465c"
    assert unpack(data, b"golden") == unpack(data) == small_snapshot()


def test_a_snapshot_of_before_holds_nothing_out() -> None:
    """A manifest that does not speak of a hold-out has none."""
    data = (GOLDEN / "snapshot-v1.safetensors").read_bytes()
    assert b"holdout_share" not in data
    assert unpack(data).manifest.holdout_share == 0.0


def test_each_format_has_a_golden_file() -> None:
    """Raising the format version comes with a golden file of the new one."""
    names = {path.name for path in GOLDEN.glob("snapshot-v*.safetensors")}
    assert names == {f"snapshot-v{version}.safetensors" for version in range(1, format_module.FORMAT + 1)}


@pytest.mark.parametrize("key", [None, KEY])
def test_a_snapshot_survives(key: bytes | None) -> None:
    """What was packed is what is unpacked, signed or not."""
    snapshot = make_snapshot()
    assert unpack(pack(snapshot, key), key) == snapshot != make_snapshot(2)


def test_any_safetensors_reader_opens_it() -> None:
    """The library alone reads the tensors, and the manifest is JSON in the metadata."""
    data = pack(small_snapshot(), KEY)
    assert np.array_equal(safetensors.numpy.load(data)["route_theta"], small_snapshot().route_theta)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert set(header["__metadata__"]) == {"manifest", "sha256", "signature"}
    assert json.loads(header["__metadata__"]["manifest"])["offsets"] == {"0": 120, "11": 80}


def test_equal_snapshots_have_equal_bytes_in_every_process() -> None:
    """The digest does not depend on the process, its hash seed or the order in which tables were filled."""
    program = (
        "from alice_rl.snapshot import digest, pack; from tests.snapshots import small_snapshot;"
        "print(digest(pack(small_snapshot(offsets={11: 80, 0: 120}))))"
    )
    root = Path(__file__).parents[3]
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert told == {digest(pack(small_snapshot()))}


def test_a_snapshot_cannot_be_changed_from_outside() -> None:
    """Arrays are copied in and read-only, also those that were unpacked."""
    mine = np.array([0.5, 1.0])
    snapshot = changed(route_alpha=mine)
    mine[0] = 9.0
    assert snapshot.route_alpha[0] == 0.5
    for array in (snapshot.route_alpha, unpack(pack(snapshot)).tool_a):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


def test_without_the_signature_a_key_refuses() -> None:
    """With a key, an unsigned or wrongly signed snapshot is refused; without one, a signature is no obstacle."""
    assert code_of(lambda: unpack(pack(small_snapshot()), KEY)) == "unsigned"
    assert code_of(lambda: unpack(pack(small_snapshot(), b"other"), KEY)) == "bad_signature"
    assert unpack(pack(small_snapshot(), b"other")) == small_snapshot()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 8,
        b"\xff" * 64,
        b"\x02\x00\x00\x00\x00\x00\x00\x00{}",
        b'{"a":1}',
        b"\x08" + b"\x00" * 7 + b"[" * 8,
    ],
)
def test_what_is_no_snapshot_is_corrupt(data: bytes) -> None:
    """Bytes that are no safetensors file, or one of somebody else's, are refused."""
    assert code_of(lambda: unpack(data)) == "corrupt"


def test_a_truncated_or_extended_snapshot_is_corrupt() -> None:
    """Missing and additional bytes are noticed."""
    data = pack(small_snapshot())
    for wrong in (data[:-1], data[:100], data + b"\x00"):
        assert code_of(partial(unpack, wrong)) == "corrupt"


@pytest.mark.parametrize("field", ["manifest", "sha256", "signature"])
def test_text_that_is_no_text_is_corrupt(field: str) -> None:
    """A lone surrogate, which JSON can spell, is refused in each of the metadata."""
    data = pack(small_snapshot(), KEY)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"][field] += "\ud800"
    assert code_of(partial(unpack, format_module._header(header) + data[end:], KEY)) == "corrupt"


def test_a_foreign_safetensors_file_is_corrupt() -> None:
    """A file without our metadata is not taken for a snapshot."""
    assert code_of(lambda: unpack(safetensors.numpy.save({"x": np.ones(2)}))) == "corrupt"


def test_a_newer_format_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A format from the future is told apart from damage, and the hint says to update."""
    data = forged(monkeypatch, small_snapshot(format=2))
    with pytest.raises(SnapshotError, match="update") as caught:
        unpack(data)
    assert caught.value.code == "newer_format"


def test_another_feature_spec_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot whose features this code would compute otherwise is neither written nor read."""
    wrong = small_snapshot(features_fingerprint="0" * 64)
    assert code_of(lambda: pack(wrong)) == "fingerprint_mismatch"
    assert code_of(lambda: unpack(forged(monkeypatch, wrong))) == "fingerprint_mismatch"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"route_alpha": np.ones(3)}, "shape_mismatch"),
        ({"tool_a": np.ones((2, 2))}, "shape_mismatch"),
        ({"route_theta": np.full((2, 17), np.nan)}, "not_finite"),
        ({"cache_mean": np.full((2, 2), np.inf)}, "not_finite"),
        ({"tool_b": np.zeros((3, 2))}, "corrupt"),
        ({"route_noise": np.array([-1.0, 1.0])}, "corrupt"),
    ],
)
def test_numbers_that_cannot_serve_are_refused(
    monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], code: str
) -> None:
    """Wrong shapes, numbers that are not finite, and impossible parameters are neither written nor read."""
    snapshot = changed(**wrong)
    assert code_of(lambda: pack(snapshot)) == code
    assert code_of(lambda: unpack(forged(monkeypatch, snapshot))) == code


def test_a_manifest_of_the_wrong_types_is_corrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sealed manifest that does not follow the format is refused."""
    data = forged(monkeypatch, small_snapshot(version="seven"))
    assert code_of(lambda: unpack(data)) == "corrupt"


@pytest.mark.parametrize(
    "wrong", [{"weights": {"success": float("nan")}}, {"policy": "\ud800"}, {"version": "7"}, {"holdout_share": 0.6}]
)
def test_a_manifest_that_would_not_be_read_is_not_written(wrong: dict[str, Any]) -> None:
    """NaN, lone surrogates, wrong types and values out of range would make another manifest of it."""
    assert code_of(lambda: pack(small_snapshot(**wrong))) == "corrupt"


def test_the_manifest_is_canonical_json() -> None:
    """Keys stand in order, partitions too."""
    text = small_snapshot(offsets={11: 80, 0: 120}).manifest.to_json()
    assert text == small_snapshot().manifest.to_json()
    assert list(msgspec.json.decode(text)) == sorted(msgspec.json.decode(text))
