"""Archives, read as the log of one partition."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

import worker.replay.files
from alice_rl.errors import AliceError
from alice_rl.events import EVENT_BYTES_MAX
from alice_rl.shard import Shard
from tests.logs import LINEAGE, START_MS, turns
from worker.replay.bounds import Bound
from worker.replay.files import ARCHIVES_FROM, FileRecord, archive_partition, read_file, survey

FAR = 1 << 40
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def read(path: Path, first: int = 0, end: int = FAR) -> list[tuple[int, bytes | None]]:
    """Offsets and values of what is read."""
    return [(record.offset, record.value) for records in read_file(path, first, end) for record in records]


def written(path: Path, data: bytes) -> Path:
    """The file with the content."""
    path.write_bytes(data)
    return path


@pytest.fixture(params=[5, 1 << 20], ids=["small blocks", "large blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Files read in blocks that cut every line, and in those that hold the whole file."""
    monkeypatch.setattr(worker.replay.files, "_BLOCK_BYTES", request.param)
    monkeypatch.setattr(worker.replay.files, "_PACKED_BYTES", request.param)
    return int(request.param)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.usefixtures("blocks")
def test_the_packing_is_told_by_the_content(tmp_path: Path, packing: str) -> None:
    """Plain, gzip and zstd lines are read alike, whatever the file is called."""
    path = written(tmp_path / "log.txt", PACKINGS[packing](b'{"a":1}\n{"b":2}\n'))
    assert read(path) == [(0, b'{"a":1}'), (1, b'{"b":2}')]


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
@pytest.mark.usefixtures("blocks")
def test_packed_files_may_be_put_together(tmp_path: Path, packing: str) -> None:
    """Several members in one file, as `cat` makes them, are one archive; a line may go from one to the next."""
    pack = PACKINGS[packing]
    path = written(tmp_path / "log", pack(b"1\n2") + pack(b"") + pack(b"2\n3\n"))
    assert read(path) == [(0, b"1"), (1, b"22"), (2, b"3")]


@pytest.mark.usefixtures("blocks")
def test_blank_lines_count_and_are_passed_by(tmp_path: Path) -> None:
    """The offset is the number of the line, so that an editor finds it; spaces around a line are no part of it."""
    assert read(written(tmp_path / "log", b"1\n\n  \n 2 \r\n\n3\n")) == [(0, b"1"), (3, b"2"), (5, b"3")]


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.usefixtures("blocks")
def test_the_last_line_needs_no_newline(tmp_path: Path, packing: str) -> None:
    """A file that ends in its last line is read to the end."""
    path = written(tmp_path / "log", PACKINGS[packing](b"1\n2"))
    assert read(path) == [(0, b"1"), (1, b"2")]
    assert survey(path, Bound("earliest"), Bound("now")) == (0, 2)


@pytest.mark.usefixtures("blocks")
def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    """No bytes are no lines."""
    path = written(tmp_path / "log", b"")
    assert (read(path), survey(path, Bound("earliest"), Bound("now"))) == ([], (0, 0))


@pytest.mark.usefixtures("blocks")
def test_a_folder_is_one_log(tmp_path: Path) -> None:
    """Its files are read in the order of their names, each from a line of its own, and its folders are passed by."""
    written(tmp_path / "2", PACKINGS["zstd"](b"c\nd\n"))
    written(tmp_path / "1", PACKINGS["gzip"](b"a\nb"))
    written(tmp_path / "3", b"e")
    (tmp_path / "0").mkdir()
    assert read(tmp_path) == [(0, b"a"), (1, b"b"), (2, b"c"), (3, b"d"), (4, b"e")]
    assert survey(tmp_path, Bound("earliest"), Bound("now")) == (0, 5)


@pytest.mark.usefixtures("blocks")
def test_only_what_was_asked_for_is_handed_out(tmp_path: Path) -> None:
    """From the first offset up to the end, and no empty batch."""
    path = written(tmp_path / "log", b"".join(b"%d\n" % i for i in range(50)))
    assert read(path, 7, 10) == [(7, b"7"), (8, b"8"), (9, b"9")]
    assert read(path, 50) == read(path, 9, 9) == []
    assert all(batch for batch in read_file(path, 3, 30))


def test_lines_have_no_brokers_time(tmp_path: Path) -> None:
    """What the events say is the only time."""
    assert list(read_file(written(tmp_path / "log", b"1\n"), 0, 1)) == [[FileRecord(0, 0, b"1")]]


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_line_that_is_too_long_is_rejected_and_the_others_are_read(
    tmp_path: Path, packing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of many megabytes is held cut, rejected by its offset, and stands in nobody's way."""
    monkeypatch.setattr(worker.replay.files, "_PACKED_BYTES", 16)  # the line is a few hundred bytes of zstd
    good = turns(2)
    assert good[0].value and good[1].value
    long = b"x" * (5 << 20)
    path = written(tmp_path / "log", PACKINGS[packing](b"\n".join((good[0].value, long, good[1].value))))
    shard, batches = Shard(LINEAGE), list(read_file(path, 0, FAR))
    rejected = [one for batch in batches for one in shard.feed(batch)]
    assert [(one.offset, one.reason) for one in rejected] == [(1, "too_large")]
    assert (shard.next, shard.counts["episodes"]) == (3, 2)
    held = max(len(record.value or b"") for batch in batches for record in batch)
    assert EVENT_BYTES_MAX < held < len(long) / 2


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
@pytest.mark.usefixtures("blocks")
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, packing: str) -> None:
    """What ends in the middle of what was compressed is not taken for the end of the log."""
    data = PACKINGS[packing](b"".join(b'{"n":%d}\n' % (i * 7919) for i in range(5000)))
    path = written(tmp_path / "log", data[: len(data) // 2])
    with pytest.raises(AliceError, match="cannot be read to its end") as caught:
        read(path)
    assert caught.value.code == "file_unreadable"
    assert "run the same command again" in caught.value.hint
    with pytest.raises(AliceError):
        survey(path, Bound("earliest"), Bound("now"))


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_a_damaged_file_is_refused(tmp_path: Path, packing: str) -> None:
    """Bytes that are no frame any more are an error that names the file."""
    data = PACKINGS[packing](b"1\n" * 1000)
    with pytest.raises(AliceError, match="log cannot be read"):
        read(written(tmp_path / "log", data[:8] + b"\xff" * 20 + data[28:]))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that cannot be opened is the same kind of error."""
    with pytest.raises(AliceError) as caught:
        read(tmp_path / "nowhere")
    assert caught.value.code == "file_unreadable"


@pytest.mark.parametrize(
    ("start", "stop", "span"),
    [
        ("earliest", "now", (0, 6)),
        ("2", "4", (2, 4)),
        ("2", "99", (2, 6)),
        ("99", "now", (6, 6)),
        ("5", "3", (3, 3)),
        ("2026-01-01T00:00:01", "now", (2, 6)),  # between the lines 1 and 2
        ("2026-01-01T00:00:02", "2026-01-01T00:00:04", (2, 5)),  # a time is where the first event at it stands
        ("2026-01-01T00:00:09", "now", (6, 6)),
        ("earliest", "2020-01-01", (0, 0)),
        ("2026-01-01T00:00:04", "2026-01-01T00:00:02", (2, 2)),
    ],
)
@pytest.mark.usefixtures("blocks")
def test_bounds_are_found(tmp_path: Path, start: str, stop: str, span: tuple[int, int]) -> None:
    """Offsets are kept inside the file; times stand where the first event at or after them does; garbage has none."""
    seconds = [0, None, 2, 1, None, 4]
    lines = [b"garbage" if s is None else b'{"x":0,"ts_ms":%d}' % (START_MS + s * 1000) for s in seconds]
    path = written(tmp_path / "log", b"\n".join(lines))
    assert survey(path, Bound.parse(start), Bound.parse(stop)) == span


def test_an_archive_is_known_by_its_name(tmp_path: Path) -> None:
    """The same name is the same partition wherever it lies, other names are others, and none is one of a topic."""
    names = [f"archive-{i}.jsonl" for i in range(100)]
    numbers = {archive_partition(tmp_path / name) for name in names}
    assert len(numbers) == 100
    assert numbers == {archive_partition(Path("elsewhere") / name) for name in names}
    assert all(ARCHIVES_FROM <= number < 1 << 31 for number in numbers)  # what Kafka calls a partition
