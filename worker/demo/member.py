"""A worker of the demo, as a process: `python -m worker.demo.member [--config FILE]`.

It is the ordinary worker. Only its assignor is another one where the broker is embedded, and it is told so by the
environment, like everything else.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from pathlib import Path

from alice_rl import log_output
from worker.consumer import Consumer
from worker.embedded.assignor import EmbeddedAssignor
from worker.service import Worker
from worker.settings import Settings, load_settings

__all__ = ["EMBEDDED_VARIABLE"]

EMBEDDED_VARIABLE = "ALICE_DEMO_BROKER_EMBEDDED"
"""Environment variable that is "1" where the broker is embedded."""


async def _work(settings: Settings) -> None:
    embedded = os.environ.get(EMBEDDED_VARIABLE) == "1"
    worker = Worker(settings, Consumer(settings.kafka, (EmbeddedAssignor,)) if embedded else None)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    await worker.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    loaded = load_settings(parser.parse_args().config).settings
    log_output.configure(loaded.log.format, loaded.log.level)
    asyncio.run(_work(loaded))
