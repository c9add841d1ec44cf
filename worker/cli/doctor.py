"""`alice-rl doctor`: everything that a worker needs, looked at one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import typer

from alice_rl.errors import ConfigError
from worker.cli.invocation import Invocation, command
from worker.cli.output import console, print_json

if TYPE_CHECKING:
    from worker.cli.checks import Check

__all__ = ["doctor"]

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "unreachable": "bold red", "skipped": "dim"}


@command
def doctor(invocation: Invocation) -> None:
    """Check configuration, Kafka and Redis; say what to do.

    Changes nothing: it writes one key that is gone at once, and asks Kafka
    without producing. Exit code 0 when a worker would run (warnings or not),
    1 when a check failed, 2 when the configuration is wrong, 3 when Kafka or
    Redis cannot be reached.

    For example:

      alice-rl doctor
      alice-rl doctor --config prod.toml --json
    """
    from worker.cli.checks import exit_code

    checks: list[Check] = []
    try:
        asyncio.run(_examine(invocation, checks))
    except ConfigError as error:
        if not invocation.as_json:
            raise
        print_json(
            {
                "ok": False,
                "checks": [{"name": "config", "status": "failed", "message": error.message, "hint": error.hint}],
            }
        )
        raise typer.Exit(2) from None
    code = exit_code(checks)
    if invocation.as_json:
        print_json({"ok": code == 0, "checks": checks})
    raise typer.Exit(code)


async def _examine(invocation: Invocation, checks: list[Check]) -> None:
    """Make the checks, and show each as soon as it is made."""
    out = console()
    async for check in _all_checks(invocation):
        checks.append(check)
        if not invocation.as_json:
            out.print(f"[{_STYLES[check.status]}]{check.status:>11}[/]  [bold]{check.name}[/]: ", end="")
            out.print(check.message, markup=False)
            if check.hint:
                out.print(f"{'':>11}  -> {check.hint}", markup=False, style="cyan")


async def _all_checks(invocation: Invocation) -> AsyncIterator[Check]:
    from worker.cli.checks import ok
    from worker.cli.checks_kafka import kafka_checks
    from worker.cli.checks_redis import redis_checks

    settings = invocation.settings()
    yield ok("config", f"{invocation.path or 'no configuration file'}: policy {settings.policy.name}")
    async for check in redis_checks(settings):
        yield check
    async for check in kafka_checks(settings.kafka):
        yield check
