"""Windows: a sample of the latest turns, and what live, canary and rules would have earned on them.

A worker keeps turns of its own partitions alone. Records are spread over the partitions by a random id, so these are a
fair sample of all turns. What a window says informs, and bars a policy that is plainly bad or cannot be estimated; the
gate's evidence is another thing (`alice_rl.online.canary`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from alice_rl.episodes import Episode
from alice_rl.log import get_logger
from alice_rl.shard import Shard
from alice_rl.snapshot.rules import Rules
from worker.evaluation.target import PolicyTarget, RulesTarget, Target
from worker.known_policies import Known, Standing
from worker.quality import Estimate, Passage, quality
from worker.settings import Settings
from worker.window_estimate import estimated

__all__ = ["Row", "Sample", "Windows"]

logger = get_logger(__name__)

_KEPT_PER_SECOND = 200
_LOOKS_PER_EVALUATION = 10


class Row(NamedTuple):
    """A turn that was learned after the records before `offset`."""

    partition: int
    offset: int
    episode: Episode


class Sample:
    """The latest turns, thinned out: every k-th, so that about 200 a second are kept.

    Parameters
    ----------
    rows_max : int

    Notes
    -----
    Of our seconds, because it is our time and memory that are spared; k follows the second before, and doubles where
    a burst brings more.
    """

    def __init__(self, rows_max: int) -> None:
        self._rows: deque[Row] = deque(maxlen=rows_max)
        self._every = 1
        self._passed = 0  # since one was kept
        self._second, self._seen, self._kept = 0, 0, 0

    def take(self, partition: int, shard: Shard, episodes: Sequence[Episode]) -> None:
        """Keep some of the episodes that a shard is about to learn; `shard.next` is still before them."""
        second = int(asyncio.get_running_loop().time())
        if second != self._second:
            self._every = max(1, -(-self._seen // _KEPT_PER_SECOND))
            self._second, self._seen, self._kept = second, 0, 0
        elif self._kept >= _KEPT_PER_SECOND:
            self._every, self._kept = self._every * 2, 0
        chosen = episodes[max(0, self._every - 1 - self._passed) :: self._every]
        self._rows.extend(Row(partition, shard.next, episode) for episode in chosen)
        self._passed = (self._passed + len(episodes)) % self._every
        self._seen += len(episodes)
        self._kept += len(chosen)

    def since(self, ts_ms: int, offsets: Mapping[int, int]) -> list[Row]:
        """The turns that were decided since then, and that a policy of these as-of offsets has not learned from."""
        return [row for row in self._rows if row.episode[1] >= ts_ms and row.offset >= offsets.get(row.partition, 0)]


class Windows:
    """What the latest turns say about the policies that serve or may serve.

    Parameters
    ----------
    settings : Settings

    Attributes
    ----------
    sample : Sample
        To be shown what the shards learn.

    Notes
    -----
    The policy in question is the canary, or the newest candidate; that is kept in view until enough turns have come
    that it has not learned from, because the next one would have to wait just as long. All are estimated on the same
    turns, in slices between which the worker does its work.
    """

    def __init__(self, settings: Settings) -> None:
        self.sample = Sample(settings.canary.window_episodes_max)
        self._settings = settings
        self._subject: Known | None = None
        self._estimates: dict[str, Estimate] = {}
        self._of = ""  # digest of the policy in question that they were made for
        self._task: asyncio.Task[None] | None = None
        self._due = 0.0
        self._doubted: set[str] = set()

    @property
    def due(self) -> bool:
        """Whether it is time to evaluate again."""
        idle = self._task is None or self._task.done()
        return idle and asyncio.get_running_loop().time() >= self._due

    def estimates_of(self, digest: str) -> Mapping[str, Estimate]:
        """The last estimates, by `canary`, `live` and `rules`; none when they were made for another policy."""
        return self._estimates if digest == self._of else {}

    def complaint(self) -> str:
        """Why the policy that was last in question should not serve; empty when nothing speaks against it."""
        found = quality(self._estimates.get("candidate"), self._settings.canary)
        return found.reason if found.passage is Passage.FAILED else ""

    def evaluate_when_due(self, standing: Standing, clock_ms: int) -> None:
        """Begin to evaluate the policies of a head, in the background."""
        if self._task is not None and self._task.done():
            self._task.result()  # a bug in it is one of the worker
            self._task = None
        if not self.due:
            return
        settings = self._settings.canary
        self._due = asyncio.get_running_loop().time() + settings.look_seconds * _LOOKS_PER_EVALUATION
        name, subject = self._in_question(standing)
        if subject is None:
            return
        rows = self.sample.since(clock_ms - round(settings.window_minutes * 60_000), subject.manifest.offsets)
        if name == "candidate" and len(rows) < settings.episodes_min:
            return  # nothing to be said yet; it stays in view
        policies = {name: subject} | ({"live": standing.live} if isinstance(standing.live, Known) else {})
        self._task = asyncio.create_task(self._evaluate(subject, policies, rows))

    def close(self) -> None:
        """End what is under way."""
        if self._task is not None:
            self._task.cancel()

    def _in_question(self, standing: Standing) -> tuple[str, Known | None]:
        if isinstance(standing.canary, Known):
            self._subject = None
            return "canary", standing.canary
        if self._subject is None or self._subject.digest == self._of:
            self._subject = next(
                (known for known in (standing.newest, standing.live) if isinstance(known, Known)), None
            )
        return "candidate", self._subject

    async def _evaluate(self, subject: Known, policies: Mapping[str, Known], rows: Sequence[Row]) -> None:
        episodes, found = [row.episode for row in rows], dict[str, Estimate]()
        targets: dict[str, Target] = {name: PolicyTarget(known.policy) for name, known in policies.items()}
        for name, target in (targets | {"rules": RulesTarget(Rules(self._settings.rules))}).items():
            found[name] = await estimated(episodes, target, self._settings.reward)
            self._tell(name, policies[name].version if name in policies else None, found[name])
        self._estimates, self._of = found, subject.digest

    def _tell(self, name: str, version: int | None, estimate: Estimate) -> None:
        logger.info(
            "window.evaluated",
            policy=name,
            version=version,
            episodes=estimate.episodes,
            value=estimate.value,
            variance=estimate.variance,
            effective=estimate.effective,
            mean_weight=estimate.mean_weight,
            supported=estimate.supported,
        )
        if not estimate.supported and name not in self._doubted:
            episodes, weight = estimate.episodes, estimate.mean_weight
            logger.warning("propensity.doubted", policy=name, version=version, episodes=episodes, mean_weight=weight)
        (self._doubted.discard if estimate.supported else self._doubted.add)(name)
