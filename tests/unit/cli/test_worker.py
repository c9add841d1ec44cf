"""`alice-rl worker`: how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from typing import Any

import pytest

from alice_rl.errors import DependencyError
from tests.unit.cli.runner import run
from worker.cli.worker import _run


class Stand:
    """A worker without Kafka and Redis: runs until it is stopped, or as `end` says."""

    made: list[Stand]

    def __init__(self, settings: object = None, end: BaseException | None = None, deaf: bool = False) -> None:
        self.counts = Counter(records=5)
        self.end, self.deaf = end, deaf
        self.running = asyncio.Event()
        self.stopped = asyncio.Event()

    def stop(self) -> None:
        self.stopped.set()

    async def run(self) -> None:
        if self.end is not None:
            raise self.end
        self.running.set()
        await self.stopped.wait()
        if self.deaf:
            await asyncio.Event().wait()


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_the_first_signal_ends_it_in_order(self, number: signal.Signals) -> None:
        """A signal stops the worker, and the command returns when it is done."""
        stand = Stand()
        running = asyncio.ensure_future(_run(stand, 10.0))  # type: ignore[arg-type]
        await stand.running.wait()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(running, 5.0)
        assert stand.stopped.is_set()

    async def test_a_worker_that_cannot_end_is_ended(self) -> None:
        """A drain that takes for ever is cut off, with the advice that nothing is lost."""
        stand = Stand(deaf=True)
        running = asyncio.ensure_future(_run(stand, 0.05))  # type: ignore[arg-type]
        await stand.running.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(DependencyError, match="could not be written in time") as told:
            await asyncio.wait_for(running, 5.0)
        assert told.value.code == "drain_timed_out"

    async def test_the_second_signal_ends_it_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who asks twice does not wait for the last checkpoint."""
        exits: list[int] = []
        monkeypatch.setattr(os, "_exit", exits.append)
        stand = Stand(deaf=True)
        running = asyncio.ensure_future(_run(stand, 0.05))  # type: ignore[arg-type]
        await stand.running.wait()
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
            await asyncio.sleep(0)
        with pytest.raises(DependencyError):
            await asyncio.wait_for(running, 5.0)
        assert exits == [128 + signal.SIGINT]


class TestEnds:
    def _patched(self, monkeypatch: pytest.MonkeyPatch, end: BaseException) -> None:
        monkeypatch.setattr("worker.service.Worker", lambda settings: Stand(settings, end=end))

    def test_an_operating_error_has_its_exit_code(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A dependency that does not come is exit code 3, a message and no traceback."""
        self._patched(monkeypatch, DependencyError("Kafka is away", hint="start it"))
        done = run("worker", "--log-format", "json", "--log-level", "error")
        assert (done.code, done.stderr) == (3, "error: Kafka is away\n hint: start it\n")

    def test_a_bug_is_logged_with_its_traceback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A crash is one log line that carries the traceback, and exit code 1."""
        self._patched(monkeypatch, ZeroDivisionError("oops"))
        done = run("worker", "--log-format", "json", "--log-level", "error")
        assert done.code == 1
        line: dict[str, Any] = json.loads(done.stderr)
        assert (line["event"], line["error"], line["records_total"]) == (
            "worker.crashed",
            "ZeroDivisionError('oops')",
            5,
        )
        assert "Traceback" in line["exception"]
