"""The workers: `alice-rl worker` processes under a supervisor, and what they have logged."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tests.chaos.plan import EXTRA_WORKER, WORKERS
from worker.embedded.process import ServerProcess

__all__ = ["Exit", "Fleet", "Member"]

_ROOT = Path(__file__).parents[2]
_POLL_SECONDS = 0.1
_RESTART_SECONDS = 0.5
_GRACE_SECONDS = 40.0  # a worker gives up draining after 20 s by itself


class Exit(NamedTuple):
    """A worker that ended unasked, or not in order when it was asked."""

    worker: str
    code: int | None
    log: Path

    @property
    def crashed(self) -> bool:
        """Whether that is a bug: 3 says that a dependency cannot be used, and whoever supervises starts it again."""
        return self.code != 3

    def __str__(self) -> str:
        said = [line for line in self.log.read_text(errors="replace").splitlines() if line.startswith("error:")]
        return f"{self.worker} ended with code {self.code}, {self.log}: {said[-1] if said else 'see there'}"


class Member:
    """One worker, through all its lives; each process has a log of its own.

    Attributes
    ----------
    wanted : bool
        Whether it should run.
    process : ServerProcess
        The latest.
    logs : list of Path
        Of all its processes, in their order.
    """

    def __init__(self, name: str, config: Path) -> None:
        self.name = name
        self.wanted = False
        self.logs: list[Path] = []
        self.process = ServerProcess([], config)
        self._config = config

    def start(self) -> None:
        """Start a new process."""
        log = self._config.parent / f"{self.name}.{len(self.logs) + 1}.log"
        argv = [sys.executable, "-m", "worker.cli", "worker", "--config", str(self._config)]
        self.process = ServerProcess(argv, log, {"PYTHONPATH": str(_ROOT)})
        self.process.start()
        self.logs.append(log)
        self.wanted = True

    async def kill(self) -> None:
        """End it at once."""
        self.wanted = False
        await asyncio.to_thread(self.process.kill)

    async def stop(self) -> int | None:
        """End it in order; its exit code, negative when it had to be killed."""
        self.wanted = False
        await asyncio.to_thread(self.process.stop, _GRACE_SECONDS)
        return self.process.exit_code

    def events(self, *names: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The log lines of all its processes that have one of these names."""
        for log in self.logs:
            for line in log.read_bytes().splitlines():
                try:
                    fields = msgspec.json.decode(line)
                except msgspec.DecodeError:
                    continue  # a line cut short by a kill, or what Python says before the log is set up
                if isinstance(fields, dict) and fields.get("event") in names:
                    yield log, fields

    def holds_partitions(self) -> bool:
        """Whether its latest process has been given partitions."""
        return any(log == self.logs[-1] for log, _ in self.events("partition.assigned"))


class Fleet:
    """All workers of a run.

    Attributes
    ----------
    exits : list of Exit
        Ends that nobody asked for, or that were not in order.
    """

    def __init__(self, config: Path) -> None:
        self.members = {name: Member(name, config) for name in (*WORKERS, EXTRA_WORKER)}
        self.exits: list[Exit] = []

    @property
    def standing(self) -> list[Member]:
        """Those that run all the time."""
        return [self.members[name] for name in WORKERS]

    @property
    def restarts(self) -> int:
        """Processes beyond the first of each worker."""
        return sum(max(0, len(member.logs) - 1) for member in self.members.values())

    @property
    def rebalances(self) -> int:
        """How often a worker took partitions over: distinct assignments that it had to claim something for."""
        taken = {
            (log, fields["epoch"])
            for member in self.members.values()
            for log, fields in member.events("partition.assigned")
        }
        return len(taken)

    @property
    def crashes(self) -> int:
        """Ends that are bugs."""
        return sum(exit_.crashed for exit_ in self.exits)

    def count(self, event: str) -> int:
        """Log lines of that name."""
        return sum(1 for member in self.members.values() for _ in member.events(event))

    async def supervise(self) -> None:
        """Start again whoever ends unasked, and keep a record of it."""
        while True:
            for member in self.members.values():
                if member.wanted and not member.process.alive():
                    self.exits.append(Exit(member.name, member.process.exit_code, member.process.log))
                    await asyncio.sleep(_RESTART_SECONDS)
                    if member.wanted and not member.process.alive():  # a fault may have been quicker
                        member.start()
            await asyncio.sleep(_POLL_SECONDS)

    async def stop_in_order(self, member: Member) -> None:
        """End one in order, and keep a record of it when it does not."""
        ended_before = not member.process.alive()
        code = await member.stop()
        if not ended_before and code not in (
            0,
            -signal.SIGTERM,
        ):  # the latter: the signal came before Python could handle it
            self.exits.append(Exit(member.name, code, member.process.log))

    async def stop(self) -> None:
        """End all in order."""
        await asyncio.gather(*(self.stop_in_order(m) for m in self.members.values() if m.process.alive()))

    def kill(self) -> None:
        """End all at once."""
        for member in self.members.values():
            member.wanted = False
            member.process.kill()
