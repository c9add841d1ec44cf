"""Worker processes of the tests: started with given settings, watched through their log, hurt by signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import msgspec

from alice_rl.settings.toml_text import write_value
from worker.settings import Settings

__all__ = ["WorkerProcess", "config_text"]

ROOT = Path(__file__).parents[3]


def config_text(settings: Settings) -> str:
    """The configuration file that gives a worker these settings: all that differs from the defaults."""
    lines = []
    for section in settings.__struct_fields__:
        mine = msgspec.to_builtins(getattr(settings, section))
        usual = msgspec.to_builtins(getattr(Settings(), section))
        changed = {key: value for key, value in mine.items() if value != usual.get(key)}
        lines += [f"[{section}]", *(f"{key} = {write_value(value)}" for key, value in changed.items())]
    return "\n".join([*lines, ""])


class WorkerProcess:
    """One `alice-rl worker`, which is killed when the block ends.

    Parameters
    ----------
    settings : Settings
    folder : Path
        For its configuration and its log.
    script : str, optional
        Python code that runs before the command line, in the same process.
    environ : mapping of str to str, optional
    """

    def __init__(
        self, settings: Settings, folder: Path, script: str = "", environ: Mapping[str, str] | None = None
    ) -> None:
        number = len(list(folder.glob("*.toml")))
        self.log = folder / f"{number}.log"
        self._config = folder / f"{number}.toml"
        self._config.write_text(config_text(settings))
        self._script = script
        self._environ = os.environ | {"PYTHONPATH": str(ROOT)} | dict(environ or {})
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        code = f"{self._script}\nfrom worker.cli import main\nmain()"
        arguments = ["worker", "--config", str(self._config), "--log-format", "json"]
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, *arguments, env=self._environ, stdout=output, stderr=output
            )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    @property
    def process(self) -> Process:
        """The process itself."""
        assert self._process is not None
        return self._process

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def stopped(self) -> int:
        """Ask it to end in order; its exit code."""
        self.send(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 30)

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it has logged of one event."""
        lines = self.log.read_bytes().splitlines()
        found = [msgspec.json.decode(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]
        return [line for line in found if line["event"] == name]

    def partitions(self) -> set[int]:
        """Every partition that it has ever been given."""
        return {line["partition"] for line in self.events("partition.assigned")}
