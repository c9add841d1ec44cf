"""One partition folded again and compared with its checkpoint, out of an archive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec import structs

import worker.replay.files
import worker.replay.verdict
from alice_rl.errors import AliceError
from alice_rl.feature_spec import FeatureSettings
from alice_rl.online.decay import Bucket
from alice_rl.shard import Shard
from alice_rl.snapshot.records import ShardRecord
from tests.logs import START_MS, LogRecord, records, turn
from worker.replay.files import read_file
from worker.replay.verdict import Verdict, verify_partition
from worker.settings import DecaySettings, Settings

TURNS, STEP_MS = 200, 15_000  # four to the finest bucket, which is a minute
LOG = records([turn(f"d-{i}", START_MS + i * STEP_MS) for i in range(TURNS)])


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Small sums, in many buckets."""
    return structs.replace(settings, features=FeatureSettings(feature_dim=8), decay=DecaySettings(bucket_seconds=60))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives read few lines at a time, so that offsets can be told."""
    monkeypatch.setattr(worker.replay.files, "_BLOCK_BYTES", 4096)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The log as a file."""
    return written(tmp_path / "log.jsonl", LOG)


def written(path: Path, log: Sequence[LogRecord]) -> Path:
    """The log as that file."""
    path.write_bytes(b"".join((record.value or b"") + b"\n" for record in log))
    return path


def folded(settings: Settings, archive: Path, upto: int = TURNS) -> Shard:
    """What the archive teaches, up to an offset, in one go."""
    shard = Shard(settings.lineage, source=archive.name)
    shard.feed([record for batch in read_file(archive, 0, upto) for record in batch])
    return shard


def stored(shard: Shard, **changes: Any) -> ShardRecord:
    """The checkpoint of a shard; `changes` replace fields of its state."""
    state = structs.replace(shard.state, **changes)
    buckets = {str(bucket): sums.to_bytes() for bucket, sums in shard.buckets.items()}
    extra = {"state": msgspec.json.encode(state)}
    return ShardRecord(
        next=state.next, low=0, watermark_ms=state.watermark_ms, tail=state.tail, extra=extra, buckets=buckets
    )


def verified(
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    record: ShardRecord | None,
    archive: Path,
    as_of: int | None = None,
) -> Verdict:
    """The verdict on a checkpoint that Redis has."""

    async def load_shard(lineage: str, partition: int) -> ShardRecord | None:
        assert (lineage, partition) == ("main", 7)
        return record

    async def close() -> None:
        pass

    store = SimpleNamespace(load_shard=load_shard, close=close)
    monkeypatch.setattr(worker.replay.verdict, "Store", SimpleNamespace(from_settings=lambda *_: store))
    done: list[int] = []
    verdict = verify_partition(settings, 7, str(archive), as_of, None, done.append)
    assert done == sorted(done) and done[-1] == verdict.next - verdict.start
    return verdict


def test_an_honest_checkpoint_is_equal(monkeypatch: pytest.MonkeyPatch, settings: Settings, archive: Path) -> None:
    """What the log says is what Redis has, whatever the batches were."""
    shard = folded(settings, archive)
    verdict = verified(monkeypatch, settings, stored(shard), archive)
    assert verdict == Verdict(7, "log.jsonl", 0, TURNS, TURNS, len(shard.buckets), None, 0, "")
    assert verdict.equal


def test_only_what_was_checkpointed_is_folded(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, archive: Path
) -> None:
    """What the log has beyond the checkpoint is not compared, and a later beginning is kept."""
    shard = Shard(settings.lineage, source=archive.name)
    shard.begin(30)
    shard.feed([record for batch in read_file(archive, 30, 90) for record in batch])
    verdict = verified(monkeypatch, settings, stored(shard), archive)
    assert (verdict.equal, verdict.start, verdict.next, verdict.records) == (True, 30, 90, 60)


def test_records_that_were_passed_over_are_passed_over_again(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, archive: Path
) -> None:
    """A checkpoint that was learned without the record that killed its reader is equal."""
    shard = Shard(settings.lineage, source=archive.name)
    shard.skipped.add(50)
    shard.feed([record for batch in read_file(archive, 0, TURNS) for record in batch])
    assert verified(monkeypatch, settings, stored(shard), archive).equal
    assert not verified(monkeypatch, settings, stored(shard, skipped=[]), archive).equal


@pytest.mark.parametrize("at", [3, 60, 150, 199])
def test_a_changed_record_is_found(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, archive: Path, tmp_path: Path, at: int
) -> None:
    """One record that was another when it was learned parts one bucket, told by its time and the offsets around it.

    Those of the old records were merged from finer ones, several times over.
    """
    changed = records([turn(f"d-{at}", time_of(at), route={"arm": "deep", "p": 0.5, "available": ["deep"]})], at)
    shard = folded(settings, written(tmp_path / "other", [*LOG[:at], *changed, *LOG[at + 1 :]]))
    verdict = verified(monkeypatch, settings, stored(shard), archive)
    assert (verdict.equal, verdict.partings) == (False, 1)
    parting = verdict.parting
    assert parting is not None and parting.first is not None and parting.last is not None
    assert parting.what == "its sums are not those of the log"
    assert parting.from_ms <= time_of(at) < parting.to_ms
    assert parting.first <= at <= parting.last
    within = [i for i in range(TURNS) if parting.from_ms <= time_of(i) < parting.to_ms]
    assert parting.first <= within[0] and within[-1] <= parting.last


def time_of(at: int) -> int:
    """The event time of a record of the log."""
    return START_MS + at * STEP_MS


def test_the_range_is_narrow_where_buckets_are_fine(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, archive: Path
) -> None:
    """For a bucket of the last hours the offsets are those of the batches that the log adds to it."""
    shard = folded(settings, archive)
    newest = max(shard.buckets, key=lambda bucket: bucket.ordinal << bucket.level)
    digests = shard.buckets.digests() | {str(newest): "0" * 64}
    parting = verified(monkeypatch, settings, stored(shard, digests=digests), archive).parting
    assert parting is not None and parting.first is not None
    assert (parting.bucket, parting.last) == (str(newest), TURNS - 1)
    assert TURNS - 20 < parting.first <= TURNS - 4


def test_changed_bytes_are_told_from_wrong_sums(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, archive: Path
) -> None:
    """A bucket that is not what was checkpointed was changed in Redis: the log is not to blame."""
    record = stored(folded(settings, archive))
    name = min(record.buckets)
    changed = structs.replace(record, buckets={**record.buckets, name: b"other"})
    verdict = verified(monkeypatch, settings, changed, archive)
    assert verdict.parting is not None
    assert (verdict.partings, verdict.parting.bucket) == (1, name)
    assert verdict.parting.what == "its bytes in Redis are not those that were checkpointed"


def test_the_first_parting_in_event_time_is_told(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, archive: Path
) -> None:
    """Of several, all are counted, and the oldest is the one to look at."""
    record = stored(folded(settings, archive))
    verdict = verified(monkeypatch, settings, structs.replace(record, buckets={}), archive)
    assert verdict.parting is not None
    assert verdict.partings == len(record.buckets)
    assert verdict.parting.from_ms <= START_MS < verdict.parting.to_ms


def test_sums_that_nothing_explains(monkeypatch: pytest.MonkeyPatch, settings: Settings, archive: Path) -> None:
    """Sums that no record of the log explains are told, without offsets."""
    shard = folded(settings, archive)
    shard.buckets[Bucket(0, 5)] = next(iter(shard.buckets.values()))
    parting = verified(monkeypatch, settings, stored(shard), archive).parting
    assert parting is not None
    assert (parting.bucket, parting.first, parting.last) == ("0:5", None, None)
    assert parting.what == "the log does not have it"


def test_an_archive_that_lost_its_end_parts(monkeypatch: pytest.MonkeyPatch, settings: Settings, archive: Path) -> None:
    """A log that ends before the checkpoint does not say what was learned."""
    shard = folded(settings, archive)
    written(archive, LOG[:-1])
    assert not verified(monkeypatch, settings, stored(shard), archive).equal


@pytest.mark.parametrize("cut", [0, 1, 57, 100, 199, 200, 500])
def test_the_digest_at_any_offset(monkeypatch: pytest.MonkeyPatch, settings: Settings, archive: Path, cut: int) -> None:
    """The digest on the way is that of a fold that ended there, wherever the batches are cut; it changes no verdict."""
    verdict = verified(monkeypatch, settings, stored(folded(settings, archive)), archive, as_of=cut)
    assert verdict.equal
    assert verdict.as_of_digest == folded(settings, archive, cut).digest()


def test_the_digest_between_records(monkeypatch: pytest.MonkeyPatch, settings: Settings, archive: Path) -> None:
    """An offset that no record has, as between blank lines, is that of the next record."""
    archive.write_bytes(archive.read_bytes().replace(b"\n", b"\n\n"))
    shard = folded(settings, archive, 2 * TURNS)
    for cut in (100, 101):
        verdict = verified(monkeypatch, settings, stored(shard), archive, as_of=cut)
        assert verdict.as_of_digest == folded(settings, archive, cut).digest()


def test_a_lost_checkpoint_is_said(monkeypatch: pytest.MonkeyPatch, settings: Settings, archive: Path) -> None:
    """There is nothing to compare with a log."""
    with pytest.raises(AliceError) as caught:
        verified(monkeypatch, settings, None, archive)
    assert caught.value.code == "checkpoint_lost"
