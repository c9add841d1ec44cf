"""What tests of the gate do again and again: publish policies, look, and say what the evidence is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from alice_rl.online.canary import Decision, Effect, Reward, Verdict
from alice_rl.online.trial import U_UNIT, TrialSums
from alice_rl.reward import COMPONENTS
from alice_rl.snapshot.canary_state import CanaryState
from alice_rl.snapshot.format import digest, pack
from alice_rl.snapshot.records import Publication
from alice_rl.snapshot.store import Store
from alice_rl.trials import Trial
from tests.logs import START_MS
from tests.snapshots import make_snapshot
from worker.canary_settings import CanarySettings
from worker.gatekeeper import Gatekeeper
from worker.known_policies import Standing
from worker.quality import Estimate
from worker.settings import Settings
from worker.solver import Taught

__all__ = ["MINUTE_MS", "Gate", "StubWindows"]

MINUTE_MS = 60_000
GOOD = Estimate(episodes=300, value=1.5, variance=0.01, mean_weight=1.0)


class StubWindows:
    """Windows whose estimates the test sets."""

    def __init__(self) -> None:
        self.due = False
        self.estimates: dict[str, Estimate] = {}

    def evaluate_when_due(self, standing: Standing, clock_ms: int) -> None:
        """Nothing."""

    def estimates_of(self, digest: str) -> Mapping[str, Estimate]:
        """What the test has set, whatever the policy."""
        return self.estimates


class Gate:
    """A store with policies, a log's clock, evidence as the test wishes, and who looks at it.

    Attributes
    ----------
    clock_ms : int
        The log's clock.
    requests : int
        Requests with known outcomes at the canary's share; the verdict says as many.
    decision : Decision
        What the evidence says.
    """

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.store = store
        self.settings = Settings(canary=CanarySettings(**settings))
        self.clock_ms = START_MS
        self.requests = 0
        self.decision = Decision.HOLD
        self.windows = StubWindows()
        self.judged: list[tuple[Reward, float]] = []
        self.keeper = self.another("first")
        monkeypatch.setattr("worker.gatekeeper.judge", self._judge)

    def another(self, who: str) -> Gatekeeper:
        """One more worker that looks."""
        windows: Any = self.windows
        return Gatekeeper(self.store, self.settings, windows, who)

    async def publish(self, *, candidate: bool = True) -> int:
        """Publish the next policy; it has learned from a hundred episodes more."""
        head = await self.store.read_head()
        version = head.seq + 1
        blob = pack(make_snapshot(version, counts={"episodes": 100 * version}, offsets={0: version}))
        published = await self.store.publish(
            Publication(
                expected_seq=head.seq,
                lineage="main",
                offsets={0: version},
                digest=digest(blob),
                blob=blob,
                candidate=candidate,
            )
        )
        assert published.applied.done
        return version

    async def look(self, keeper: Gatekeeper | None = None, minutes: float = 0.0) -> CanaryState | None:
        """Look once, so many minutes later."""
        self.clock_ms += round(minutes * MINUTE_MS)
        keeper = keeper or self.keeper
        await keeper.look({0: Taught(7, self.clock_ms, "", {}, 500, await self._trials())})
        return keeper.state

    async def serving(self, share: float = 0.05) -> int:
        """Policy 1 is live, and policy 2 a canary that serves a share; its version."""
        await self.publish(candidate=False)
        version = await self.publish()
        await self.look()
        self.windows.estimates = {"canary": GOOD, "live": GOOD}
        for larger in self.settings.canary.shares:
            self.requests = 10_000
            await self.look(minutes=10)
            if larger == share:
                break
        head = await self.store.read_head()
        assert (head.canary, head.canary_share) == (version, share)
        return version

    async def _trials(self) -> dict[Trial, TrialSums]:
        """Requests at the canary's share, and some of a pair that is of no interest."""
        head = await self.store.read_head()
        others = {Trial("x", "y", 0.5): TrialSums(len(COMPONENTS))}
        if not head.canary_share or not self.requests:
            return others
        sums = TrialSums(len(COMPONENTS))
        treated = np.arange(self.requests) % 20 == 0
        y = np.zeros((self.requests, len(COMPONENTS)), dtype=np.int64)
        sums.add(y, treated, np.where(treated, U_UNIT, -U_UNIT))
        return others | {Trial(head.live_digest, head.canary_digest, head.canary_share): sums}

    def _judge(self, trials: Mapping[float, TrialSums], reward: Reward, rules: object, minutes: float) -> Verdict:
        self.judged.append((reward, minutes))
        n = sum(sums.n_control + sums.n_treatment for sums in trials.values())
        treated = sum(sums.n_treatment for sums in trials.values())
        effect = Effect(0.1, -0.1, 0.3)
        words = f"{self.decision.value.lower()} on {n} requests"
        return Verdict(self.decision, words, n, treated, float(treated), effect, effect, 1.0, -1.0, 0.0)
