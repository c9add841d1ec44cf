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
from worker.cli.policy_versions import read_file
from worker.cli.progress import progress
from worker.cli.verify import earlier_checkpoints, standing_of
from worker.replay.canary import Look, Pair, Replayed, collect, judged
from worker.replay.verification import begins
from worker.settings import Settings
from worker.trial_reward import reward_of

__all__ = ["looks_of", "reach_again"]

_MINUTE_MS = 60_000


def reach_again(
    settings: Settings,
    record: CanaryRecord,
    sources: Sequence[Path],
    since: Path | None,
    policy: Path | None,
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
    reward = _reward(settings, record, policy)
    standing = asyncio.run(standing_of(settings))
    earlier = earlier_checkpoints(since, settings) if since is not None else {}
    firsts = asyncio.run(begins(settings, standing, earlier))
    lasts = {p: max(look.offsets.get(p, 0) for look in looks) for p in firsts}
    pair = Pair(record.live_digest, record.digest)
    with progress("records", sum(max(0, lasts[p] - first) for p, first in firsts.items())) as show:
        sums = collect(settings, standing, pair, looks, sources, earlier, jobs, show)
    replayed = [judged(look, sums, reward, settings.canary.rules) for look in looks]
    reached = [one for one in replayed if one is not None]
    return reached, len(looks) - len(reached)


def looks_of(record: CanaryRecord) -> list[Look]:
    """The verdicts that led to a step, and the last one that is known."""
    opened_ms = record.opened_ms or 0
    steps = [step for step in record.steps if step.verdict is not None and step.ts_ms >= opened_ms]
    looks = [
        Look(
            what=step.what,
            ts_ms=step.ts_ms,
            minutes=(step.ts_ms - opened_ms) / _MINUTE_MS,
            offsets=step.offsets,
            verdict=step.verdict,
        )
        for step in steps
        if step.verdict is not None
    ]
    last = record.points[-1] if record.points else None
    if last is not None and all(last.offsets != look.offsets for look in looks):
        minutes = (last.ts_ms - opened_ms) / _MINUTE_MS
        verdict = verdict_of(last.verdict)
        looks.append(Look(what="last look", ts_ms=last.ts_ms, minutes=minutes, offsets=last.offsets, verdict=verdict))
    return looks


def _reward(settings: Settings, record: CanaryRecord, policy: Path | None) -> Reward:
    """What a request was worth, by the canary's own snapshot."""
    blob = asyncio.run(_stored(settings, record.version)) if policy is None else read_file(policy)
    if blob is None:
        raise AliceError(
            f"the snapshot of version {record.version} is gone from Redis, and with it the weights of its verdicts",
            code="version_missing",
            hint="give it with --policy FILE, if alice-rl policy export has written it; snapshot.versions_kept and "
            "snapshot.expire_seconds say how long a version is kept",
        )
    if record.digest not in ("", digest(blob)):
        raise AliceError(
            f"this is not the policy that was the canary: its digest is {digest(blob)[:12]}, not {record.digest[:12]}",
            code="other_policy",
            hint=f"give the file that alice-rl policy export {record.version} has written",
        )
    return reward_of(unpack(blob, settings.snapshot.signing_key.encode() or None).manifest)


async def _stored(settings: Settings, version: int) -> bytes | None:
    async with inspecting(settings, Store) as store:
        return await store.get_snapshot(version)
