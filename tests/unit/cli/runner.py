"""The command line, run inside the test's process."""

from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple

import structlog
from typer.testing import CliRunner

from alice_rl import log
from worker.cli.root import app

__all__ = ["Ran", "run"]


class Ran(NamedTuple):
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one JSON object on stdout."""
        (line,) = self.stdout.splitlines()
        return json.loads(line)


def run(*arguments: object, env: dict[str, str] | None = None) -> Ran:
    """Run `alice-rl` with the arguments; the logs are configured again as they were."""
    configured, handlers = log.Logger.configured, logging.getLogger().handlers[:]
    try:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments], env=env)
    finally:
        log.Logger.configured = configured
        logging.getLogger().handlers[:] = handlers
        structlog.reset_defaults()
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ran(done.exit_code, done.stdout, done.stderr)
