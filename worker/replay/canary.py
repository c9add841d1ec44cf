"""A canary's verdicts reached again: the log folded once more, and judged where it was judged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from math import isclose
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from alice_rl.errors import AliceError
from alice_rl.intake import Record
from alice_rl.online.canary import Effect, GateRules, Reward, Verdict, judge
from alice_rl.online.trial import TrialSums
from alice_rl.refold import Refold
from alice_rl.reward import COMPONENTS
from alice_rl.shard_state import ShardState
from alice_rl.snapshot.records import ShardRecord
from alice_rl.trials import Trial
from worker.checkpoint import read_state, restored
from worker.replay.parallel import Progress, in_processes
from worker.replay.plan import Span
from worker.replay.span import records_of
from worker.replay.verification import Standing
from worker.settings import Settings

__all__ = ["Look", "Pair", "Refolded", "Replayed", "collect", "fold_to", "judged", "parting"]

_TOLERANCE = 1e-9  # the sums are exact; another machine's floats may end in another digit


class Pair(NamedTuple):
    """The digests of the two that were compared."""

    control: str
    treatment: str


class Look(Struct, frozen=True, kw_only=True):
    """A verdict as it was recorded.

    Attributes
    ----------
    what : str
        What it led to.
    ts_ms : int
        The log's clock.
    minutes : float
        How long the canary had run, event time.
    offsets : dict of int to int
        As-of offsets, per partition.
    verdict : Verdict
    """

    what: str
    ts_ms: int
    minutes: float
    offsets: dict[int, int]
    verdict: Verdict


class Replayed(Struct, frozen=True, kw_only=True):
    """A look, and what the log says there; `parts` names what differs."""

    look: Look
    verdict: Verdict
    parts: list[str]


Sums = dict[int, dict[float, bytes]]
"""Per offset: the trial's sums at each share, as bytes."""


def collect(
    settings: Settings,
    standing: Standing,
    pair: Pair,
    looks: Sequence[Look],
    sources: Sequence[Path],
    since: Mapping[int, ShardRecord],
    jobs: int,
    show: Callable[[int], object],
) -> dict[int, Sums]:
    """What each partition of the log has shown of a pair, at the offsets of every look.

    Parameters
    ----------
    settings : Settings
    standing : Standing
    pair : Pair
    looks : sequence of Look
    sources : sequence of Path
        The archives that the lineage has learned.
    since : mapping of int to ShardRecord
        Earlier checkpoints to begin with.
    jobs : int
        Processes at work.
    show : callable
        Told how many records were read.

    Raises
    ------
    AliceError
        A partition's log is not there.
    """
    paths, work = {path.name: str(path) for path in sources}, []
    named = sorted({partition for look in looks for partition in look.offsets})
    for partition in named:
        state = standing.states.get(partition)
        if state is None or (state.source and state.source not in paths):
            what = f"archive {state.source}" if state is not None else f"partition {partition}"
            raise AliceError(
                f"the verdicts rest on {what} as well, and it is not here",
                code="log_missing",
                hint="give every archive that the lineage has learned with --source",
            )
        cuts = sorted({look.offsets[partition] for look in looks if partition in look.offsets})
        work.append((settings, state, partition, paths.get(state.source, ""), cuts, pair, since.get(partition)))
    return dict(zip(named, in_processes(fold_to, work, jobs, show), strict=True))


def fold_to(
    settings: Settings,
    state: ShardState,
    partition: int,
    path: str,
    cuts: Sequence[int],
    pair: Pair,
    since: ShardRecord | None,
    progress: Progress,
) -> Sums:
    """Fold a partition again, and read the pair's trial at each of some offsets, which ascend.

    Raises
    ------
    AliceError
        The log cannot be read.
    """
    return asyncio.run(_fold_to(settings, state, partition, path, cuts, pair, since, progress))


async def _fold_to(
    settings: Settings,
    state: ShardState,
    partition: int,
    path: str,
    cuts: Sequence[int],
    pair: Pair,
    since: ShardRecord | None,
    progress: Progress,
) -> Sums:
    begun = None if since is None else restored(read_state(since).structure(settings.lineage), since)
    fold = Refolded(Refold.of(settings.lineage, state, begun), pair, cuts)
    first = fold.position
    async for records in records_of(settings, Span(partition, first, cuts[-1], path), first):
        fold.feed(records)
        progress(fold.position - first)
    progress(max(cuts[-1] - first, 0))
    return fold.sums()


class Refolded:
    """The fold once more, and what a trial had shown at some offsets on the way."""

    def __init__(self, refold: Refold, pair: Pair, cuts: Sequence[int]) -> None:
        self._refold, self._pair = refold, pair
        # What an earlier checkpoint has folded already cannot be cut any more.
        self._cuts = [cut for cut in cuts if cut >= refold.shard.next]
        self._sums: Sums = {}

    @property
    def position(self) -> int:
        """The offset after the last record that was read."""
        return self._refold.shard.position

    def feed(self, records: Sequence[Record]) -> None:
        """Fold the next records, cut where somebody wants to look."""
        while self._cuts and records and records[-1].offset >= self._cuts[0]:
            before = [record for record in records if record.offset < self._cuts[0]]
            self._refold.feed(before)
            self._look()
            records = records[len(before) :]
        self._refold.feed(records)

    def sums(self) -> Sums:
        """All of it; what comes after the last record changes nothing."""
        while self._cuts:
            self._look()
        return self._sums

    def _look(self) -> None:
        closed = self._refold.shard.trials.closed()
        self._sums[self._cuts.pop(0)] = {
            trial.share: sums.to_bytes() for trial, sums in closed.items() if _is_of(trial, self._pair)
        }


def _is_of(trial: Trial, pair: Pair) -> bool:
    return (trial.control, trial.treatment) == pair


def judged(look: Look, sums: Mapping[int, Sums], reward: Reward, rules: GateRules) -> Replayed | None:
    """What the log says at a look's offsets; None where the fold began after them."""
    trials: dict[float, TrialSums] = {}
    for partition, offset in look.offsets.items():
        if offset not in sums[partition]:
            return None
        for share, data in sums[partition][offset].items():
            part = TrialSums.from_bytes(len(COMPONENTS), data)
            trials[share] = trials[share] + part if share in trials else part
    verdict = judge(dict(sorted(trials.items())), reward, rules, look.minutes)
    return Replayed(look=look, verdict=verdict, parts=parting(look.verdict, verdict))


def parting(recorded: Verdict, replayed: Verdict) -> list[str]:
    """The names of the numbers that are not the same.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from alice_rl.online.canary import Decision
    >>> nothing = Effect(0.0, -1.0, 1.0)
    >>> one = Verdict(Decision.HOLD, "", 10, 1, 0.9, nothing, nothing, 0.0, 0.0, 0.0)
    >>> parting(one, one), parting(one, replace(one, requests=11, arms=Effect(0.1, -1.0, 1.0)))
    ([], ['requests', 'arms.estimate'])
    """
    mine, theirs = _numbers(recorded), _numbers(replayed)
    return [name for name, value in mine.items() if not _equal(value, theirs[name])]


def _numbers(verdict: Verdict) -> dict[str, float | str]:
    """Everything but the words; in which unit and with how many digits they tell it, may change."""
    found: dict[str, float | str] = {"decision": verdict.decision.value}
    for name in ("requests", "canary_requests", "effective", "policies", "arms"):
        value = getattr(verdict, name)
        if isinstance(value, Effect):
            found |= {f"{name}.{part}": getattr(value, part) for part in ("estimate", "lower", "upper")}
        else:
            found[name] = value
    return found | {name: getattr(verdict, name) for name in ("log_e_promote", "log_e_rollback", "log_e_ratio")}


def _equal(mine: float | str, theirs: float | str) -> bool:
    if isinstance(mine, str) or isinstance(theirs, str):
        return mine == theirs
    both_unknown = mine != mine and theirs != theirs
    return both_unknown or isclose(mine, theirs, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
