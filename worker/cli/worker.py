"""`alice-rl worker`: the main job, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from alice_rl.errors import AliceError, DependencyError
from worker.cli.invocation import Invocation, command
from worker.cli.output import print_json

if TYPE_CHECKING:
    from worker.service import Worker

__all__ = ["worker"]


@command
def worker(invocation: Invocation) -> None:
    """Learn from Kafka and publish policies to Redis, until SIGTERM or Ctrl-C.

    It takes its share of the topic's partitions, resumes each from its
    checkpoint, and publishes a policy whenever something was learned. More
    workers in the same group share the partitions.

    The first signal ends it in order: checkpoint, publish, leave the group.
    The second ends it at once; nothing is lost then either, the next start
    reads a little more.

    For example:

      alice-rl worker

      alice-rl worker --config prod.toml --log-format json

      alice-rl worker --set kafka.bootstrap_servers=kafka:9092 --set redis.url=redis://redis:6379/0
    """
    loaded = invocation.load()
    from alice_rl.log import get_logger
    from worker.service import Worker

    settings, logger = loaded.settings, get_logger(__name__)
    changed = sum(origin != "default" for origin in loaded.origins.values())
    logger.info("config.loaded", path=str(invocation.path or ""), policy=settings.policy.name, overrides=changed)
    started, made = time.monotonic(), Worker(settings)
    try:
        asyncio.run(_run(made, settings.worker.drain_timeout_seconds))
    except AliceError:
        raise
    except Exception as error:
        logger.exception("worker.crashed", error=repr(error), records_total=made.counts["records"])
        sys.exit(1)
    if invocation.as_json:
        seconds = round(time.monotonic() - started, 3)
        counts = {name: made.counts[name] for name in ("records", "rejected")}
        print_json({"policy": settings.policy.name, "lineage": settings.policy.lineage, **counts, "seconds": seconds})


async def _run(made: Worker, drain_timeout_seconds: float) -> None:
    """Run the worker until it ends or a signal ends it.

    Raises
    ------
    DependencyError
        It was told to end and could not in time.
    """
    loop, running = asyncio.get_running_loop(), asyncio.ensure_future(made.run())
    told = False

    def stop(number: signal.Signals) -> None:
        nonlocal told
        if told:
            os._exit(128 + number)  # whoever asks twice does not want to wait for anything
        told = True
        made.stop()
        # It may be waiting for a dependency, and then it does not see that it was told.
        loop.call_later(2 * drain_timeout_seconds, running.cancel)
        if sys.stderr.isatty():
            print("Ending in order; once more to end at once.", file=sys.stderr)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    try:
        await running
    except (asyncio.CancelledError, TimeoutError):
        if not told:
            raise
        raise DependencyError(
            "the last checkpoint could not be written in time",
            code="drain_timed_out",
            hint="nothing is lost: the next start goes on from the checkpoint before; see worker.drain_timeout_seconds",
        ) from None
