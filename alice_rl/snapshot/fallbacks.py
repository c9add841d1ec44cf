"""What was decided otherwise than by the policy, and why: counted always, logged now and then."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from time import monotonic

from alice_rl.log import get_logger

__all__ = ["REASONS", "Fallbacks"]

REASONS = {
    "not_loaded": "no snapshot was ever loaded: the rules decide",
    "context_unusable": "the context is no mapping, or has no intent: the rules decide",
    "context_mended": "values of the context were dropped or clamped; the policy decides",
    "arms_unknown": "none of the offered arms is configured: the rules decide that slot",
    "guardian_unmet": "the guardian's state allows none of the offered arms, and was passed over in that slot",
    "id_replaced": "the decision id is not a text of 1 to 128 characters: another was made",
    "session_dropped": "the session id is not a text of at most 64 characters: the decision has none",
    "time_replaced": "the time is not milliseconds between 2000 and 2100: the clock's was taken",
}
"""Reason codes: what each one means."""

_LOG_SECONDS = 10.0
_log = get_logger(__name__)


class Fallbacks:
    """Counts by reason; each reason is logged at most once in ten seconds. Safe to share between threads.

    Parameters
    ----------
    clock : callable
        Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._logged: dict[str, tuple[float, int]] = {}  # when, and the count by then
        self.last_reason: str | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How often each reason came up."""
        with self._lock:
            return dict(self._counts)

    def note(self, reason: str, *, slot: str | None = None, detail: str = "") -> None:
        """Count one, and log it unless this reason was logged lately."""
        with self._lock:
            self._counts[reason] += 1
            self.last_reason = reason
            total, now = self._counts[reason], self._clock()
            before, logged = self._logged.get(reason, (now - _LOG_SECONDS, 0))
            if now - before < _LOG_SECONDS:
                return
            self._logged[reason] = (now, total)
        _log.warning(
            "decision.fell_back",
            reason=reason,
            slot=slot,
            detail=detail,
            fallbacks_total=total,
            suppressed=total - logged - 1,
        )
