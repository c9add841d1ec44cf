"""What serves, moved by hand: promotion, rollback, pin and unpin, each one idempotent request to Redis."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from msgspec import Struct

from alice_rl.errors import AliceError, SnapshotError
from alice_rl.snapshot.head import Head
from alice_rl.snapshot.records import Applied, Moved, Pin, Stage
from alice_rl.snapshot.store import Store
from worker.cli.inspector import inspecting
from worker.cli.policy_import import operator
from worker.cli.policy_serving import Serving
from worker.cli.policy_versions import version_of
from worker.settings import Settings

__all__ = ["Move", "pin_version", "promote_version", "refusal", "roll_back", "unpin"]

_ATTEMPTS = 10  # a worker that publishes live every second moves the head under a wish now and then
_LOOKED_BACK = 64  # as the scripts do


class Move(Struct, frozen=True, kw_only=True):
    """What became of a wish.

    Attributes
    ----------
    changed : bool
        False when things stood as wished.
    version : int or None
        The version that was promoted, pinned or unpinned; of a rollback the one that was taken back.
    said : str
        What was done, in words.
    serving : Serving
        What serves now.
    next : str
        What happens next, in words.
    """

    changed: bool
    version: int | None
    said: str
    serving: Serving
    next: str


async def promote_version(
    settings: Settings, name: str | None, stage: Stage, *, share: float, pin: Pin, why: str
) -> Move:
    """Make a version live, or the canary for a share of the requests.

    Parameters
    ----------
    settings : Settings
    name : str or None
        Number or name of the version. By default the canary; for the stage `CANARY` without one, the newest.
    stage : Stage
    share : float
        Of the requests, for a canary.
    pin : Pin
        For the stage `PROD`.
    why : str
        For the audit.

    Raises
    ------
    SnapshotError
        There is no such version, another one is pinned, or what is live is to be its own canary.
    DependencyError
        Redis is away.
    """

    def chosen(head: Head) -> int:
        if stage is Stage.PROD:
            return version_of(head, name or "canary")
        version = version_of(head, name or ("newest" if head.canary is None else "canary"))
        if version == head.live:
            raise SnapshotError(
                f"version {version} is live: it cannot be compared with itself",
                code="canary_is_live",
                hint="give the version that is to be tried; alice-rl policy list shows what is there",
            )
        return version

    said = f"is the canary now, for {100 * share:.3g} % of the requests" if stage is Stage.CANARY else "is live now"
    said += ", and pinned" if pin is Pin.PIN else ""
    return await _promoted(settings, chosen, said, stage=stage, share=share, pin=pin, why=why)


async def pin_version(settings: Settings, name: str | None, *, why: str) -> Move:
    """Keep live as it is, or make a version live and keep it; nothing replaces it until the pin is lifted."""

    def chosen(head: Head) -> int:
        return version_of(head, name or "live")

    return await _promoted(settings, chosen, "is live now, and pinned", pin=Pin.PIN, why=why)


async def unpin(settings: Settings, *, why: str) -> Move:
    """Lift the pin; live stays as it is until something else is promoted or published."""
    async with inspecting(settings, Store) as store:
        head = await store.read_head()
    if head.pinned is None:
        return _move(head, None, "No version is pinned: nothing to do.", changed=False)
    pinned = head.pinned
    return await _promoted(settings, lambda _: pinned, "is not pinned any more", pin=Pin.UNPIN, why=why)


async def roll_back(settings: Settings, stage: Stage, to: str | None, *, why: str) -> Move:
    """Withdraw the canary, or take live back and pin it there.

    Parameters
    ----------
    settings : Settings
    stage : Stage
    to : str or None
        Number or name of the version that production goes back to; by default the head's `previous`.
    why : str
        For the audit.

    Raises
    ------
    SnapshotError
        There is no version to go back to, or the head moved meanwhile.
    DependencyError
        Redis is away.
    """
    async with inspecting(settings, Store) as store:
        head = await store.read_head()
        target = None if to is None else version_of(head, to)
        taken = head.canary if stage is Stage.CANARY else head.live
        request = uuid.uuid4().hex
        moved = await store.rollback(request=request, stage=stage, version=taken, to=target, who=operator(), why=why)
        if not moved.applied.done:
            raise _no_rollback(moved, head, stage, target)
        changed = await _carried_out(store, moved, request)
        return _move(await store.read_head(), taken, _rolled_back_words(stage, taken, moved, changed), changed=changed)


async def _promoted(
    settings: Settings,
    choose: Callable[[Head], int],
    said: str,
    *,
    why: str,
    stage: Stage = Stage.PROD,
    share: float = 0.0,
    pin: Pin = Pin.KEEP,
) -> Move:
    """One promotion. What a name means is looked up again when the head has moved under it."""
    request = uuid.uuid4().hex
    async with inspecting(settings, Store) as store:
        for _ in range(_ATTEMPTS):
            head = await store.read_head()
            version = choose(head)
            moved = await store.promote(
                version,
                request=request,
                stage=stage,
                share=share,
                expected_live=head.live,
                pin=pin,
                who=operator(),
                why=why,
            )
            if moved.applied is not Applied.CAS:
                break
        if not moved.applied.done:
            raise refusal(moved.applied, version, head)
        changed = await _carried_out(store, moved, request)
        words = f"Version {version} {said}." if changed else f"Version {version} {said} already: nothing to do."
        return _move(await store.read_head(), version, words, changed=changed)


async def _carried_out(store: Store, moved: Moved, request: str) -> bool:
    """Whether this wish changed something: now, or at a first attempt whose answer was lost."""
    if moved.applied is Applied.OK:
        return True
    return any(entry.fields.get("request") == request for entry in await store.history(_LOOKED_BACK))


def refusal(applied: Applied, version: int, head: Head) -> AliceError:
    """Why a promotion was refused, and what to do."""
    if applied is Applied.PINNED:
        return SnapshotError(
            f"version {head.pinned} is pinned, so version {version} was not made live",
            code="pinned",
            hint="lift the pin with --unpin, or pin this one in its place with --pin",
        )
    if applied is Applied.MISSING:
        return SnapshotError(
            f"version {version} is not stored, or not any more",
            code="version_missing",
            hint="alice-rl policy list shows what is there",
        )
    return SnapshotError(
        f"what is live changed again and again meanwhile; version {version} was not promoted",
        code="head_moved",
        hint="look at alice-rl policy history, then try again",
    )


def _no_rollback(moved: Moved, head: Head, stage: Stage, target: int | None) -> AliceError:
    """Why a rollback was refused, and what to do."""
    if moved.applied is Applied.CAS:
        then, now = (head.canary, moved.canary) if stage is Stage.CANARY else (head.live, moved.live)
        return SnapshotError(
            f"version {now} took the place of {then} meanwhile; nothing was taken back",
            code="head_moved",
            hint="look at alice-rl policy history, then try again",
        )
    if target is None:
        gone = "there is no previous version" if head.previous is None else f"version {head.previous} is gone"
        return SnapshotError(
            f"{gone}: nothing to go back to",
            code="version_missing",
            hint="say where to with --to VERSION; alice-rl policy list shows what is there",
        )
    return refusal(Applied.MISSING, target, head)


def _rolled_back_words(stage: Stage, taken: int | None, moved: Moved, changed: bool) -> str:
    if stage is Stage.CANARY:
        return (
            f"The canary, version {taken}, serves nobody any more." if changed else "There is no canary: nothing to do."
        )
    if not changed:
        return f"Version {moved.live} is live already, and pinned: nothing to do."
    if taken == moved.live:
        return f"Version {moved.live} stays live, and is pinned."
    return f"Live went back from version {taken} to {moved.live}, and is pinned there."


def _move(head: Head, version: int | None, said: str, *, changed: bool) -> Move:
    serving = Serving.of(head)
    return Move(changed=changed, version=version, said=said, serving=serving, next=serving.next)
