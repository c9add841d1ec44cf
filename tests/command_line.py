"""The command line with the addresses of a test's services."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from alice_rl.settings import load
from tests.logs import TOOLS
from tests.unit.cli.runner import Ran, run
from worker.settings import Settings

__all__ = ["ROOT", "Line"]

ROOT = Path(__file__).parents[1]


class Line:
    """The command line with the addresses of this test's services."""

    def __init__(self, redis_url: str, bootstrap: str, topic: str, folder: Path) -> None:
        self.folder = folder
        self.flags = {
            "redis.url": redis_url,
            "redis.retries_max": "0",
            "kafka.bootstrap_servers": bootstrap,
            "kafka.topic": topic,
            "kafka.dead_letter_topic": "",
            "tool.arms": ",".join(TOOLS),
        }

    @property
    def settings(self) -> Settings:
        return load(Settings, flags=self.flags).settings

    @property
    def arguments(self) -> list[str]:
        return [word for key, value in self.flags.items() for word in ("--set", f"{key}={value}")]

    def __call__(self, *words: object, **kwargs: Any) -> Ran:
        return run(*words, *self.arguments, **kwargs)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """The command as a process of its own."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ALICE__")}
        return subprocess.Popen(
            [sys.executable, "-m", "worker.cli", *words, *self.arguments],
            cwd=self.folder,
            env=environment | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
