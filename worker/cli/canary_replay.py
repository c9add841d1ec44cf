"""The recorded verdicts of a canary reached again from the log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from alice_rl.errors import AliceError
from alice_rl.online.canary import Reward
from alice_rl.snapshot.format import digest, unpack
from alice_rl.snapshot.store import Store
from worker.cli.canary_record import CanaryRecord, verdict_of
from worker.cli.inspector import inspecting
from worker.cli.progress import progress
from worker.cli.verify import earlier_checkpoints, standing_of
from worker.replay.canary import Look, Pair, Replayed, collect, judged
from worker.replay.verification import begins
from worker.settings import Settings
from worker.trial_reward import reward_of, reward_with

__all__ = ["looks_of", "reach_again"]

_MINUTE_MS = 60_000


def reach_again(
    settings: Settings,
    record: CanaryRecord,
    sources: Sequence[Path],
    since: Path | None,
    jobs: int,
) -> tuple[list[Replayed], int]:
    """Each recorded verdict beside the one that the log gives, and how many could not be reached.

    Raises
    ------
    AliceError
        The log, a checkpoint or the canary's snapshot is gone.
    """
    looks = looks_of(record)
    if not looks:
        return [], 0
    if not (record.digest and record.live_digest):
        raise AliceError(
            f"the audit does not say any more which policies were compared with version {record.version} as canary",
            code="digest_unknown",
            hint="the current and the last canary can always be reached again",
        )
    reward = asyncio.run(_reward(settings, record))
    standing = asyncio.run(standing_of(settings))
    earlier = earlier_checkpoints(since, settings) if since is not None else {}
    firsts = asyncio.run(begins(settings, standing, earlier))
    lasts = {p: max(look.offsets.get(p, 0) for look in looks) for p in firsts}
    pair = Pair(record.live_digest, record.digest)
    with progress("records", sum(max(0, lasts[p] - first) for p, first in firsts.items())) as show:
        sums = collect(settings, standing, pair, looks, sources, earlier, jobs, show)
    replayed = [judged(look, sums, reward, settings.canary.rules) for look in looks]
    reached = [one for one in replayed if one is not None]
    if not reached:
        raise AliceError(
            "every verdict was reached before the savepoint was taken, so none can be reached from it",
            code="savepoint_too_late",
            hint="begin with an earlier savepoint, or where the fold began",
        )
    return reached, len(looks) - len(reached)


def looks_of(record: CanaryRecord) -> list[Look]:
    """The verdicts that led to a step, and the last one that is known."""
    opened_ms = record.opened_ms or 0
    looks = [
        Look(
            what=step.what,
            ts_ms=step.ts_ms,
            minutes=(step.ts_ms - opened_ms) / _MINUTE_MS,
            offsets=step.offsets,
            verdict=step.verdict,
        )
        for step in record.steps
        if step.verdict is not None and step.offsets and step.ts_ms >= opened_ms
    ]
    last = record.points[-1] if record.points else None
    if last is not None and all(last.offsets != look.offsets for look in looks):
        minutes = (last.ts_ms - opened_ms) / _MINUTE_MS
        verdict = verdict_of(last.verdict)
        looks.append(Look(what="last look", ts_ms=last.ts_ms, minutes=minutes, offsets=last.offsets, verdict=verdict))
    return looks


async def _reward(settings: Settings, record: CanaryRecord) -> Reward:
    """What a request was worth: by the canary's own snapshot, or where that has expired, as the audit says."""
    async with inspecting(settings, Store) as store:
        blob = await store.get_snapshot(record.version)
    if blob is not None and record.digest in ("", digest(blob)):
        return reward_of(unpack(blob, settings.snapshot.signing_key.encode() or None).manifest)
    told = next((step for step in reversed(record.steps) if step.weights), None)
    if told is None:
        raise AliceError(
            f"neither the snapshot of version {record.version} nor its reward weights are kept any more",
            code="version_missing",
            hint="snapshot.versions_kept and snapshot.expire_seconds say how long a version is kept",
        )
    return reward_with(told.weights, settings.lineage.bounds, told.centre)
