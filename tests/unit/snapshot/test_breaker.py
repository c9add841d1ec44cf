"""The circuit breaker: closed, open, half-open."""

from __future__ import annotations

from alice_rl.snapshot.breaker import Breaker


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def made(clock: Clock, jitter: float = 1.0) -> Breaker:
    return Breaker(failures_max=3, pause_seconds=2.0, pause_max_seconds=5.0, clock=clock, jitter=lambda: jitter)


def test_it_opens_at_the_third_failure_in_a_row() -> None:
    """Single failures hold nothing back, and a success in between starts the count anew."""
    breaker = made(Clock())
    assert [breaker.failed(), breaker.failed(), breaker.succeeded()] == [False, False, False]
    assert [breaker.failed(), breaker.failed(), breaker.state] == [False, False, "closed"]
    assert [breaker.failed(), breaker.state, breaker.wait_seconds] == [True, "open", 2.0]


def test_each_failed_trial_doubles_the_pause_up_to_the_longest() -> None:
    """After the pause one call may find out; if it fails, the next pause is longer, and no transition is told."""
    clock = Clock()
    breaker = made(clock)
    for _ in range(3):
        breaker.failed()
    pauses = []
    for _ in range(4):
        clock.now += breaker.wait_seconds
        assert breaker.state == "half-open"
        assert not breaker.failed()
        pauses.append(breaker.wait_seconds)
    assert pauses == [4.0, 5.0, 5.0, 5.0]


def test_a_trial_that_succeeds_closes_it() -> None:
    """Closing is told once, and the next outage begins with the first pause again."""
    clock = Clock()
    breaker = made(clock)
    for _ in range(4):
        breaker.failed()
    clock.now += 10.0
    assert breaker.open_seconds == 10.0
    assert [breaker.succeeded(), breaker.succeeded(), breaker.open_seconds] == [True, False, 0.0]
    for _ in range(3):
        breaker.failed()
    assert breaker.wait_seconds == 2.0


def test_pauses_are_jittered() -> None:
    """Clients that lost Redis together come back at different times, after half the pause at the earliest."""
    breaker = made(Clock(), jitter=0.0)
    for _ in range(3):
        breaker.failed()
    assert breaker.wait_seconds == 1.0
