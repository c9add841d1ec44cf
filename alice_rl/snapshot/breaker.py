"""A circuit breaker: bounds how often a dependency that does not answer is tried."""

from __future__ import annotations

import random
from collections.abc import Callable
from time import monotonic
from typing import Literal

__all__ = ["Breaker"]

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Closed: calls go through. Open: they are held back. Half-open: one call finds out. Used by one thread.

    Parameters
    ----------
    failures_max : int
        Failures in a row that open it.
    pause_seconds, pause_max_seconds : float
        First and longest pause; each failed trial doubles it.
    clock : callable
        Seconds that never go back.
    jitter : callable
        A number in [0, 1): pauses lie between half their length and their length, so that clients that lost
        Redis together do not come back together.

    Examples
    --------
    >>> now = [0.0]
    >>> breaker = Breaker(failures_max=1, pause_seconds=2.0, clock=lambda: now[0], jitter=lambda: 0.0)
    >>> breaker.failed(), breaker.state, breaker.wait_seconds
    (True, 'open', 1.0)
    >>> now[0] = 1.0
    >>> breaker.state, breaker.succeeded(), breaker.state
    ('half-open', True, 'closed')
    """

    def __init__(
        self,
        *,
        failures_max: int = 3,
        pause_seconds: float = 1.0,
        pause_max_seconds: float = 30.0,
        clock: Callable[[], float] = monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._failures_max = failures_max
        self._pause_first_seconds = pause_seconds
        self._pause_max_seconds = pause_max_seconds
        self._clock = clock
        self._jitter = jitter
        self._pause_seconds = pause_seconds
        self._retry_at: float | None = None  # None: closed
        self._opened_at = 0.0
        self.failures = 0

    @property
    def state(self) -> State:
        """Where it stands now."""
        if self._retry_at is None:
            return "closed"
        return "open" if self.wait_seconds > 0.0 else "half-open"

    @property
    def wait_seconds(self) -> float:
        """How long calls are still held back; 0 when one may be made."""
        return 0.0 if self._retry_at is None else max(0.0, self._retry_at - self._clock())

    @property
    def open_seconds(self) -> float:
        """How long ago it opened; 0 when it is closed."""
        return 0.0 if self._retry_at is None else self._clock() - self._opened_at

    def failed(self) -> bool:
        """Note a failed call; whether that opened a closed breaker."""
        self.failures += 1
        if self._retry_at is None and self.failures < self._failures_max:
            return False
        opens = self._retry_at is None
        if opens:
            self._opened_at, self._pause_seconds = self._clock(), self._pause_first_seconds
        else:
            self._pause_seconds = min(2.0 * self._pause_seconds, self._pause_max_seconds)
        self._retry_at = self._clock() + self._pause_seconds * (0.5 + 0.5 * self._jitter())
        return opens

    def succeeded(self) -> bool:
        """Note a call that went through; whether that closed an open breaker."""
        closes = self._retry_at is not None
        self.failures, self._retry_at = 0, None
        return closes
