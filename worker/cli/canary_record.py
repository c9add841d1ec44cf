"""All that is recorded of one canary: the steps of the audit, the looks at it, and how it stands or ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, get_args

import msgspec
from msgspec import Struct, structs

from alice_rl.errors import AliceError
from alice_rl.online.canary import Verdict
from alice_rl.snapshot.canary_state import CanaryPoint, CanaryState
from alice_rl.snapshot.head import optional_version
from alice_rl.snapshot.records import HistoryEntry

__all__ = ["CanaryRecord", "Kept", "Outcome", "Step", "read_record", "record_of", "verdict_of"]

_HISTORY_MAX = 20_000  # the audit is not kept longer
Outcome = Literal["promoted", "rolled_back", "invalid", "withdrawn"]
_Moved = Literal["opened", "share", "live"]


class Kept(Protocol):
    """What Redis keeps of canaries."""

    async def history(self, count_max: int = 100) -> list[HistoryEntry]:
        """The newest entries of the audit, newest first."""

    async def read_canary(self) -> CanaryState | None:
        """The canary under way, or the last one."""

    async def canary_points(self) -> list[CanaryPoint]:
        """The looks that are kept, oldest first."""


class _Detail(Struct, frozen=True):
    """What the gate writes into the audit beside a step; a person's step has nothing of it."""

    ts_ms: int | None = None
    outcome: Outcome | None = None
    offsets: dict[int, int] = {}
    weights: dict[str, float] = {}
    centre: float = 0.0
    verdict: Verdict | None = None


class Step(Struct, frozen=True, kw_only=True):
    """One thing that was done with a canary.

    Attributes
    ----------
    what : str
        `opened`, `share` (it got another one), `live` (another version went live, the comparison begins anew), or how
        it ended.
    ts_ms : int
        The log's clock, where the gate did it; else Redis's, ms since the epoch.
    share : float
        Of requests, from then on; the last one, when it ended.
    by_gate : bool
        Whether the gate did it; else a person.
    who, why : str
    live : int, optional
        What was live after it.
    offsets : dict of int to int
        As-of offsets of the evidence, per partition; empty where there was none.
    weights : dict of str to float
        Reward per natural unit of each component; empty where nobody knew.
    centre : float
        m0.
    verdict : Verdict, optional
    """

    what: _Moved | Outcome
    ts_ms: int
    share: float
    by_gate: bool = True
    who: str = ""
    why: str = ""
    live: int | None = None
    offsets: dict[int, int] = {}
    weights: dict[str, float] = {}
    centre: float = 0.0
    verdict: Verdict | None = None

    @property
    def ends(self) -> bool:
        """Whether it was the last one."""
        return self.what not in get_args(_Moved)


class CanaryRecord(Struct, frozen=True, kw_only=True):
    """One canary, from its first step to its last.

    Attributes
    ----------
    version, digest : int, str
    live_version, live_digest : int or None, str
        What it was compared with; None and empty where nothing says so any more.
    steps : list of Step
        Oldest first; empty where the audit has forgotten them.
    points : list of CanaryPoint
        The looks at it, oldest first.
    state : CanaryState, optional
        Where it is the current or the last one.
    """

    version: int
    digest: str
    live_version: int | None
    live_digest: str
    steps: list[Step] = []
    points: list[CanaryPoint] = []
    state: CanaryState | None = None

    @property
    def end(self) -> Step | None:
        """The step that ended it."""
        return self.steps[-1] if self.steps and self.steps[-1].ends else None

    @property
    def opened_ms(self) -> int | None:
        """When the comparison began, as far as that is known."""
        begun = [step.ts_ms for step in self.steps if step.what in ("opened", "live")]
        return self.state.opened_ms if self.state else begun[-1] if begun else None

    @property
    def centre(self) -> float:
        """What a request brought before; 0 where nobody knew."""
        return self.state.centre if self.state else next((s.centre for s in reversed(self.steps) if s.weights), 0.0)

    @property
    def verdict(self) -> Verdict | None:
        """The last that was said of it."""
        if self.end is not None and self.end.verdict is not None:
            return self.end.verdict
        if self.state is not None and self.state.verdict is not None:
            return verdict_of(self.state.verdict)
        if self.points:
            return verdict_of(self.points[-1].verdict)
        return next((step.verdict for step in reversed(self.steps) if step.verdict is not None), None)


def verdict_of(fields: dict[str, object]) -> Verdict:
    """A verdict as it is stored."""
    return msgspec.convert(fields, Verdict)


async def read_record(kept: Kept, version: int | None) -> CanaryRecord:
    """What is recorded of a version as a canary; of the current or last one by default.

    Raises
    ------
    AliceError
        There has been no canary, or not that one.
    """
    state, entries = await kept.read_canary(), await kept.history(_HISTORY_MAX)
    return record_of(version, state, entries[::-1], await kept.canary_points())


def record_of(
    version: int | None, state: CanaryState | None, entries: Sequence[HistoryEntry], points: Sequence[CanaryPoint]
) -> CanaryRecord:
    """The same out of what was read; entries and points oldest first."""
    version = _last(state, entries) if version is None else version
    mine = state if state is not None and state.version == version else None
    steps, looks = _steps(version, entries), [point for point in points if point.version == version]
    if not steps and not looks and mine is None:
        raise AliceError(
            f"version {version} has not been a canary, as far as the audit goes back",
            code="no_canary",
            hint="alice-rl canary explain without a version tells of the last one",
        )
    if mine is not None and mine.phase == "ended":
        steps = _with_end(steps, mine)
    digests = {entry.fields["version"]: entry.fields["digest"] for entry in entries if "digest" in entry.fields}
    live = mine.live_version if mine else next((step.live for step in reversed(steps) if not step.ends), None)
    begun_ms = mine.opened_ms if mine else steps[0].ts_ms if steps and steps[0].by_gate else 0
    return CanaryRecord(
        version=version,
        digest=mine.digest if mine else digests.get(str(version), ""),
        live_version=live,
        live_digest=mine.live_digest if mine else digests.get(str(live)) or _live_digest(version, entries),
        steps=steps,
        points=[look for look in looks if look.ts_ms >= begun_ms],  # of this trial, where it has had two
        state=mine,
    )


def _live_digest(version: int, entries: Sequence[HistoryEntry]) -> str:
    """The digest of the version that was live beside a canary, as the gate wrote it down; empty where it did not."""
    details = [entry.fields.get("detail", "") for entry in entries if entry.fields.get("version") == str(version)]
    told = [msgspec.json.decode(detail) for detail in details if detail]
    return next((one["live_digest"] for one in reversed(told) if isinstance(one, dict) and "live_digest" in one), "")


def _last(state: CanaryState | None, entries: Sequence[HistoryEntry]) -> int:
    """The version of the current or last canary."""
    if state is not None:
        return state.version
    named = [entry.fields["version"] for entry in entries if _of_canary(entry) and entry.kind == "promote"]
    if not named:
        raise AliceError(
            "there has been no canary yet",
            code="no_canary",
            hint="alice-rl canary status says what the gate is waiting for",
        )
    return int(named[-1])


def _steps(version: int, entries: Sequence[HistoryEntry]) -> list[Step]:
    """The steps of the last trial of a version."""
    steps: list[Step] = []
    for entry in entries:
        under_way = steps[-1] if steps and not steps[-1].ends else None
        what = _what(version, entry, under_way)
        if what is None:
            continue
        if what == "opened":
            steps = []
        steps.append(_step(entry, what, steps[-1].share if steps else 0.0))
    return steps


def _with_end(steps: list[Step], state: CanaryState) -> list[Step]:
    """The steps with the end that the gate has noted: by the log's clock, and where the audit has none, at all."""
    ended_ms, last = state.ended_ms or 0, steps[-1] if steps else None
    if last is not None and last.ends:
        return [*steps[:-1], last if last.by_gate else structs.replace(last, ts_ms=ended_ms)]
    outcome, share = state.outcome or "withdrawn", last.share if last else state.share
    verdict = None if state.verdict is None else verdict_of(state.verdict)
    return [*steps, Step(what=outcome, ts_ms=ended_ms, share=share, why=state.reason, verdict=verdict)]


def _what(version: int, entry: HistoryEntry, under_way: Step | None) -> _Moved | Outcome | None:
    """What an entry of the audit was to a canary, after its last step; None for nothing."""
    fields, names_it = entry.fields, entry.fields.get("version") == str(version)
    if entry.kind == "promote" and _of_canary(entry) and names_it:
        return "opened" if under_way is None else "share"
    if under_way is None:
        return None
    if entry.kind in ("publish", "takeover"):
        return "live" if optional_version(fields.get("live")) != under_way.live else None
    if entry.kind not in ("promote", "rollback"):
        return None
    if entry.kind == "promote" and names_it:
        return "promoted"
    if optional_version(fields.get("canary")) == version:
        return "live"
    # A rollback of production takes the canary along, and another canary takes its place.
    return _detail(entry).outcome or ("rolled_back" if _of_canary(entry) and entry.kind == "rollback" else "withdrawn")


def _of_canary(entry: HistoryEntry) -> bool:
    return entry.fields.get("stage") == "canary"


def _step(entry: HistoryEntry, what: _Moved | Outcome, share: float) -> Step:
    told, fields = _detail(entry), entry.fields
    given = float(fields.get("share") or 0.0) if what in ("opened", "share") else share
    return Step(
        what=what,
        ts_ms=entry.ts_ms if told.ts_ms is None else told.ts_ms,
        share=given,
        by_gate=told.ts_ms is not None,
        who=fields.get("who", ""),
        why=fields.get("why", ""),
        live=optional_version(fields.get("live")),
        offsets=told.offsets,
        weights=told.weights,
        centre=told.centre,
        verdict=told.verdict,
    )


def _detail(entry: HistoryEntry) -> _Detail:
    text = entry.fields.get("detail", "")
    return msgspec.json.decode(text, type=_Detail) if text else _Detail()
