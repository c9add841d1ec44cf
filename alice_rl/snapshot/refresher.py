"""The background thread of a client: it looks at the head, and adopts what differs."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from alice_rl.errors import SnapshotError
from alice_rl.log import get_logger
from alice_rl.snapshot.breaker import Breaker
from alice_rl.snapshot.format import digest as digest_of
from alice_rl.snapshot.format import unpack
from alice_rl.snapshot.head import Head
from alice_rl.snapshot.policy import Policy
from alice_rl.snapshot.serving import Loaded, Serving

__all__ = ["Refresher", "SnapshotReader"]

_HINT_SECONDS = 0.1  # how long one wait for a hint may keep `close` waiting
_REFUSED_SECONDS = 30.0  # a refused snapshot is looked at again: its copy in Redis may have been mended
_REFUSED_MAX = 64
_log = get_logger(__name__)


class SnapshotReader(Protocol):
    """Where heads and snapshots come from; the methods raise `DependencyError` when it is away."""

    def read_head(self) -> Head:
        """Which snapshots serve."""

    def get_snapshot(self, version: int) -> bytes | None:
        """The bytes of one, None when it is not stored."""

    def wait_for_hint(self, timeout_seconds: float) -> bool:
        """Whether the head is said to have changed, within this time."""

    def close(self) -> None:
        """Give the connections back."""


class Refresher:
    """Keeps a client's policies fresh.

    Parameters
    ----------
    reader : SnapshotReader
    adopt : callable
        Told of every new set-up, on the refresher's thread.
    signing_key : bytes, optional
    poll_seconds : float
        Mean time between two looks at the head.
    breaker : Breaker, optional

    Notes
    -----
    What *differs* is adopted, never only what is greater: after a failover of Redis the head may have moved
    back. A hint of the publisher only ends a wait early; losing one costs a poll.
    """

    def __init__(
        self,
        reader: SnapshotReader,
        adopt: Callable[[Serving], None],
        *,
        signing_key: bytes | None = None,
        poll_seconds: float = 0.75,
        breaker: Breaker | None = None,
    ) -> None:
        self._reader = reader
        self._adopt = adopt
        self._signing_key = signing_key
        self._poll_seconds = poll_seconds
        self._breaker = breaker if breaker is not None else Breaker(pause_seconds=poll_seconds)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alice-rl-refresher", daemon=True)
        self._serving: Serving | None = None
        self._head: Head | None = None
        self._refused: dict[str, tuple[float, str]] = {}  # digest -> when, reason
        self._read_at: float | None = None
        self._refused_total = 0
        self._adopted_total = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, wait for it, and close the reader."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._reader.close()

    def stats(self) -> dict[str, Any]:
        """How things stand."""
        return {
            "refreshing": self._thread.is_alive(),
            "breaker": self._breaker.state,
            "head_age_seconds": None if self._read_at is None else monotonic() - self._read_at,
            "seq": None if self._head is None else self._head.seq,
            "snapshots_adopted_total": self._adopted_total,
            "snapshots_refused_total": self._refused_total,
        }

    def refresh(self) -> None:
        """Look at the head once, and adopt what differs.

        Raises
        ------
        DependencyError
            Redis is away.
        """
        head = self._reader.read_head()
        self._read_at = monotonic()
        before, self._head = self._head, head
        if before is not None and before.run_id and (head.seq < before.seq or head.run_id != before.run_id):
            _log.warning("head.regressed", seq=head.seq, previous=before.seq, run_id=head.run_id)
        if head.live is None:
            return  # nothing was published yet, or Redis was wiped: the last good policy stays
        started = monotonic()
        old = self._serving
        live = self._load(head.live, head.live_digest) or (old.live if old is not None else None)
        if live is None:
            return
        canary = self._load(head.canary, head.canary_digest) if head.canary is not None else None
        serving = Serving(live, canary, head.canary_share)
        if old is not None and old.identity == serving.identity:
            return
        self._adopt(serving)
        self._serving = serving
        self._adopted_total += 1
        _log.info(
            "snapshot.adopted",
            version=live.version,
            digest=live.digest,
            previous=old.live.version if old is not None else None,
            canary_version=canary.version if canary is not None else None,
            canary_share=serving.canary_share,
            seq=head.seq,
            seconds=round(monotonic() - started, 6),
        )

    def _load(self, version: int, digest: str) -> Loaded | None:
        """The policy the head names: one that serves already, or a new one; None when it is refused."""
        for loaded in (self._serving.live, self._serving.canary) if self._serving is not None else ():
            if loaded is not None and loaded.digest == digest and loaded.version == version:
                return loaded
        refused = self._refused.get(digest)
        if refused is not None and monotonic() - refused[0] < _REFUSED_SECONDS:
            return None
        try:
            data = self._reader.get_snapshot(version)
            if data is None:
                raise SnapshotError("the head names a version that is not stored", code="missing")
            if digest_of(data) != digest:
                raise SnapshotError("the bytes do not have the digest that the head names", code="corrupt")
            policy = Policy(unpack(data, self._signing_key))
        except SnapshotError as error:
            self._refuse(version, digest, error)
            return None
        self._refused.pop(digest, None)
        return Loaded(policy, version, digest, monotonic())

    def _refuse(self, version: int, digest: str, error: SnapshotError) -> None:
        self._refused_total += 1
        known = self._refused.get(digest)
        if len(self._refused) >= _REFUSED_MAX:
            self._refused.clear()
        # What is missing may have been in flight: it is asked for again at the next look.
        self._refused[digest] = (float("-inf") if error.code == "missing" else monotonic(), error.code)
        if known is None or known[1] != error.code:
            _log.warning("snapshot.refused", version=version, digest=digest, reason=error.code, detail=str(error))

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.refresh()
            except Exception as error:  # a thread that died would leave the client on its last policy in silence
                self._note_failure(error)
            else:
                self._note_success()
            if self._breaker.state == "closed":
                self._wait_for_hint(self._poll_seconds * random.uniform(2 / 3, 4 / 3))
            else:
                self._stop.wait(self._breaker.wait_seconds)

    def _wait_for_hint(self, seconds: float) -> None:
        """Wait until the next look is due, a hint comes, or the client is closed."""
        until = monotonic() + seconds
        while not self._stop.is_set() and (left := until - monotonic()) > 0.0:
            try:
                if self._reader.wait_for_hint(min(left, _HINT_SECONDS)):
                    return
            except Exception:  # hints are a convenience: the next look at the head tells whether Redis is away
                self._stop.wait(left)

    def _note_failure(self, error: Exception) -> None:
        opened = self._breaker.failed()
        wait_seconds = round(self._breaker.wait_seconds, 3)
        if opened:
            _log.warning(
                "breaker.opened",
                breaker="snapshot",
                failures=self._breaker.failures,
                retry_seconds=wait_seconds,
                error=str(error),
            )
        elif self._breaker.failures == 1:
            _log.warning("head.read_failed", error=str(error), attempts=1, retry_seconds=wait_seconds)

    def _note_success(self) -> None:
        open_seconds = self._breaker.open_seconds
        if self._breaker.succeeded():
            _log.info("breaker.closed", breaker="snapshot", seconds=round(open_seconds, 3))
