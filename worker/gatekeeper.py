"""What keeps the gate: it looks at the canary again and again, does what the evidence says, and writes down why.

The worker that publishes looks, right after its checkpoint. What is done is one idempotent request to Redis that is
refused when the head has changed meanwhile; only then is the new state remembered. So whoever dies in between leaves
a head that the next look takes over from: the state follows the head, never the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from alice_rl.log import get_logger
from alice_rl.online.canary import judge
from alice_rl.online.trial import TrialSums
from alice_rl.snapshot.canary_state import CanaryPoint, CanaryState
from alice_rl.snapshot.head import Head
from alice_rl.snapshot.records import Moved, Stage
from alice_rl.snapshot.store import Store
from alice_rl.trials import pooled
from worker.canary_audit import detail_of, explained, request_of
from worker.canary_settings import CanarySettings
from worker.known_policies import Known, KnownPolicies, Standing
from worker.settings import Settings
from worker.solver import Taught
from worker.steps import Action, Candidate, Seen, Step, may_open, next_step
from worker.trial_reward import reward_of
from worker.windows import Windows

__all__ = ["Gatekeeper"]

logger = get_logger(__name__)

_MINUTE_MS = 60_000
_AUDIT_ENTRIES = 256  # in which it is looked up who ended a canary


class Gatekeeper:
    """Watches over the canary of one policy.

    Parameters
    ----------
    store : Store
    settings : Settings
    windows : Windows
    who : str
        This worker, for the audit.

    Attributes
    ----------
    state : CanaryState or None
        The canary under way, or the last one, when last seen.
    """

    def __init__(self, store: Store, settings: Settings, windows: Windows, who: str) -> None:
        self.state: CanaryState | None = None
        self._store = store
        self._settings: CanarySettings = settings.canary
        self._policies = KnownPolicies(store, settings.snapshot.signing_key)
        self._windows = windows
        self._who = who

    async def look(self, taught: Mapping[int, Taught]) -> None:
        """Look once, and do what is to be done.

        Parameters
        ----------
        taught : mapping of partition to Taught
            What all checkpoints have taught.

        Raises
        ------
        DependencyError
            Redis is away; the next look goes on from what the head says then.
        """
        head, clock_ms = await self._store.read_head(), max(part.watermark_ms for part in taught.values())
        self.state = await self._store.read_canary()
        gated = self._settings.mode == "gate"
        candidate = gated and may_open(self.state, head, clock_ms)
        standing = await self._policies.of(head, candidate=candidate, window=self._windows.due)
        self._windows.evaluate_when_due(standing, clock_ms)
        if gated:
            seen = self._seen(head, clock_ms, standing, taught)
            await self._carry_out(next_step(self.state, seen, self._settings), seen, standing)

    def _seen(self, head: Head, clock_ms: int, standing: Standing, taught: Mapping[int, Taught]) -> Seen:
        canary = standing.canary
        seen = Seen(head, clock_ms, {partition: part.next for partition, part in sorted(taught.items())})
        if isinstance(canary, Known):
            reward, trials = reward_of(canary.manifest), _trials(head, taught)
            minutes = (clock_ms - self._opened_ms(head, clock_ms)) / _MINUTE_MS
            here = trials.get(head.canary_share)
            return seen._replace(
                verdict=judge(trials, reward, self._settings.rules, minutes) if trials else None,
                requests=0 if here is None else here.n_control + here.n_treatment,
                estimates=self._windows.estimates_of(canary.digest),
                centre=reward.centre,
            )
        live, newest = standing.live, standing.newest
        if isinstance(newest, Known) and isinstance(live, Known):
            return seen._replace(candidate=Candidate(newest.version, newest.digest, newest.episodes, live.episodes))
        return seen._replace(unreadable=canary or "")

    def _opened_ms(self, head: Head, clock_ms: int) -> int:
        """When the head's canary was opened; now, where it is not known yet."""
        state = self.state
        known = state is not None and (state.digest, state.live_digest) == (head.canary_digest, head.live_digest)
        return state.opened_ms if state is not None and known and state.phase != "ended" else clock_ms

    async def _carry_out(self, step: Step, seen: Seen, standing: Standing) -> None:
        action, before, state = step.action, self.state, step.state
        if state is None:
            return
        if action is Action.END:
            state = explained(state, await self._store.history(_AUDIT_ENTRIES))
        moved = await self._move(action, state, seen, standing)
        if moved is not None and not moved.applied.done:
            logger.info("canary.deferred", version=state.version, action=action.value, status=moved.applied.value)
            return
        told = before is None or before.verdict != state.verdict or action is not Action.NONE
        if told and state.verdict is not None:
            await self._store.add_canary_point(_point(state, seen))
        if before is None or structs.replace(state, offsets=before.offsets) != before:
            await self._store.write_canary(state)
        self.state = state
        _tell(action, state)
        if told and state.verdict is not None:
            logger.debug("canary.judged", version=state.version, share=state.share, verdict=state.verdict)

    async def _move(self, action: Action, state: CanaryState, seen: Seen, standing: Standing) -> Moved | None:
        """Move the head as the action says; None where it does not."""
        canary = standing.canary.manifest if isinstance(standing.canary, Known) else None
        request, detail = request_of(action, state), detail_of(state, seen.clock_ms, canary)
        match action:
            case Action.OPEN | Action.STEP | Action.PROMOTE:
                stage = Stage.PROD if action is Action.PROMOTE else Stage.CANARY
                return await self._store.promote(
                    state.version,
                    request=request,
                    stage=stage,
                    share=state.share,
                    expected=seen.head,
                    who=self._who,
                    why=state.reason,
                    detail=detail,
                )
            case Action.ROLL_BACK | Action.VOID | Action.WITHDRAW:
                return await self._store.rollback(
                    request=request,
                    stage=Stage.CANARY,
                    version=state.version,
                    who=self._who,
                    why=state.reason,
                    detail=detail,
                )
        return None


def _trials(head: Head, taught: Mapping[int, Taught]) -> dict[float, TrialSums]:
    """What the requests of all partitions say about the head's canary and its live policy, by share."""
    pair = head.live_digest, head.canary_digest
    parts = [
        {trial: sums for trial, sums in part.trials.items() if (trial.control, trial.treatment) == pair}
        for part in taught.values()
    ]
    return {trial.share: sums for trial, sums in sorted(pooled(parts).items())}


def _point(state: CanaryState, seen: Seen) -> CanaryPoint:
    return CanaryPoint(
        version=state.version,
        ts_ms=seen.clock_ms,
        share=seen.head.canary_share,
        offsets=state.offsets,
        verdict=state.verdict or {},
    )


def _tell(action: Action, state: CanaryState) -> None:
    """The log's line of an action."""
    version, live, share = state.version, state.live_version, state.share
    reason, verdict = state.reason, state.verdict
    match action:
        case Action.OPEN:
            logger.info("canary.opened", version=version, live=live, reason=reason)
        case Action.STEP:
            logger.info("canary.stepped", version=version, share=share, reason=reason, verdict=verdict)
        case Action.PROMOTE:
            logger.info("canary.promoted", version=version, live=live, reason=reason, verdict=verdict)
        case Action.AWAIT:
            logger.warning("canary.approval_requested", version=version, share=share, reason=reason, verdict=verdict)
        case Action.ROLL_BACK:
            logger.error("canary.rolled_back", version=version, live=live, reason=reason, verdict=verdict)
        case Action.VOID:
            logger.error("canary.voided", version=version, live=live, reason=reason, verdict=verdict)
        case Action.WITHDRAW:
            logger.warning("canary.withdrawn", version=version, live=live, reason=reason, verdict=verdict)
        case Action.ADOPT:
            logger.info("canary.adopted", version=version, live=live, share=share, reason=reason)
        case Action.END:
            logger.info("canary.ended", version=version, outcome=state.outcome, reason=reason)
