"""Shards to snapshots: add up what every partition has taught, solve, and publish the next version.

The sums are those of the checkpoints, of this worker's partitions and of everybody else's, so a snapshot is the policy
of its as-of offsets and of nothing else. The holder of the lowest partition publishes; should two workers think they
are it, the script lets one of them through.

A new policy is live at once during the cold start and in direct mode; else it is a candidate, of which the gatekeeper
makes the next canary.
"""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Callable, Mapping

from alice_rl.log import get_logger
from alice_rl.snapshot.format import digest, pack
from alice_rl.snapshot.head import Head
from alice_rl.snapshot.records import Applied, Publication
from alice_rl.snapshot.store import Store
from worker.checkpoint import Holding
from worker.peers import Peers
from worker.settings import Settings
from worker.solver import Taught, solve_policy

__all__ = ["Publisher"]

logger = get_logger(__name__)

_CANDIDATE_SECONDS = 30.0  # at least, between two candidates while a canary is tried


class Publisher:
    """Publishes the policy of one lineage.

    Parameters
    ----------
    store : Store
    settings : Settings
    who : str
        This worker, for the audit.
    guard : callable
        Why a new policy should not go live at once, in words; empty when nothing speaks against it.

    Attributes
    ----------
    version : int
        The newest version that this worker has published.
    published_at : float
        When that was, seconds of the loop's clock.
    active : str or None
        The lineage that publishes, when last seen. A worker that learns another one only keeps its checkpoints.
    """

    def __init__(self, store: Store, settings: Settings, who: str, guard: Callable[[], str] = str) -> None:
        self.version = 0
        self.published_at = 0.0
        self.active: str | None = None
        self._store = store
        self._settings = settings
        self._peers = Peers(store, settings.lineage, settings.policy.lineage)
        self._who = who
        self._guard = guard
        self._offsets: dict[int, int] = {}  # what was said last ...
        self._refused: tuple[str, int] | None = None  # ... and to which head it was said in vain
        self._held_back = False
        self._first_reading = False  # of a log that nobody has published a policy of; it may be long

    async def gather(self, holdings: Mapping[int, Holding]) -> dict[int, Taught] | None:
        """What all checkpoints have taught, by partition; None when another worker is the one to publish that.

        Parameters
        ----------
        holdings : mapping of partition to Holding
            The shards of this worker, right after a checkpoint.
        """
        own = {p: h for p, h in holdings.items() if h.stored_next is not None and not h.shard.rebuilding}
        active, known = await self._store.standing(self._settings.policy.lineage)
        if active is None:  # a failover lost it, and every worker would wait for another one's
            active = await self._store.activate_lineage(self._settings.policy.lineage, only_if_none=True)
        self.active = active
        if active != self._settings.policy.lineage or not own or min(own) > min(known, default=0):
            self._peers.forget(frozenset())
            return None
        taught = {p: Taught.of(h.shard) for p, h in own.items()}
        self._peers.forget(known - own.keys())
        for partition in known - own.keys():
            other = await self._peers.read(partition)
            if other is None:
                return None  # a policy without it would forget what it has taught
            taught[partition] = other
        return taught

    async def publish(self, taught: Mapping[int, Taught], *, level: bool = True, at_once: bool = False) -> None:
        """Publish the policy of all that was taught, when that is enough and it has moved.

        Parameters
        ----------
        taught : mapping of partition to Taught
        level : bool
            Whether the log has been read to its end, or nearly.
        at_once : bool
            Whether this is the last one, and waits for nothing.
        """
        offsets = {partition: part.next for partition, part in taught.items()}
        if sum(part.episodes for part in taught.values()) < self._settings.worker.episodes_min:
            return
        head = await self._store.read_head()
        self._first_reading = not level and (self._first_reading or head.live is None)
        if self._lost(head) or (offsets != self._offsets and (at_once or not self._waits(head))):
            await self._publish(head, taught, offsets)

    def _waits(self, head: Head) -> bool:
        """Whether nobody needs a new candidate yet: another one is being tried, and the audit fills with them."""
        tried = self._settings.canary.mode == "gate" and head.canary is not None
        return tried and get_running_loop().time() - self.published_at < _CANDIDATE_SECONDS

    def _lost(self, head: Head) -> bool:
        """Whether the head stands behind what was published: a failover lost it, and nothing new may come."""
        if self._refused == (head.run_id, head.seq) or head.lineage not in ("", self._settings.policy.lineage):
            return False
        return any(head.offsets.get(partition, -1) < offset for partition, offset in self._offsets.items())

    def _is_candidate(self, head: Head, episodes: int) -> bool:
        """Whether a policy that has learned from so many episodes is only stored, and live stays.

        A worker that begins with a long log would otherwise freeze the policy of its first second: until it is level
        for the first time, nobody has been served by any of its policies for long.
        """
        canary = self._settings.canary
        if head.live is None:
            return False
        if episodes <= canary.cold_start_episodes or self._first_reading:
            return canary.mode == "gate" and head.canary is not None  # it is being compared with live
        if canary.mode == "gate":
            return True
        reason = self._guard()
        if reason and not self._held_back:
            logger.warning("snapshot.held_back", version=head.seq + 1, live=head.live, reason=reason)
        self._held_back = bool(reason)
        return self._held_back

    async def _publish(self, head: Head, taught: Mapping[int, Taught], offsets: dict[int, int]) -> None:
        started = get_running_loop().time()
        snapshot = solve_policy(taught, self._settings, version=head.seq + 1)
        blob = pack(snapshot, self._settings.snapshot.signing_key.encode() or None)
        published = await self._store.publish(
            Publication(
                expected_seq=head.seq,
                lineage=self._settings.policy.lineage,
                offsets=offsets,
                digest=digest(blob),
                blob=blob,
                candidate=self._is_candidate(head, snapshot.manifest.counts["episodes"]),
                who=self._who,
            )
        )
        if not published.applied.done:
            level_note = published.note or published.applied.value
            logger.warning(
                "snapshot.publish_refused", version=head.seq + 1, status=published.applied.value, reason=level_note
            )
            if published.applied is not Applied.CAS:
                # Saying it again would not change the answer, as long as the head is this one.
                self._offsets, self._refused = offsets, (head.run_id, head.seq)
            return
        self.version, self._offsets = published.version, offsets
        self.published_at = get_running_loop().time()
        logger.info(
            "snapshot.published",
            version=published.version,
            live=published.live,
            lineage=self._settings.policy.lineage,
            episodes=snapshot.manifest.counts.get("episodes", 0),
            bytes=len(blob),
            seconds=round(get_running_loop().time() - started, 4),
        )
