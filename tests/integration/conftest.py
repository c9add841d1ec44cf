"""Settings of fresh deployments on the servers of this run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alice_rl.kafka import KafkaSettings
from alice_rl.slots import ToolSettings
from alice_rl.snapshot.connection import RedisSettings
from tests.command_line import Line
from tests.conftest import MakeTopic
from tests.logs import TOOLS
from tests.services import KafkaBroker, MockBroker
from worker.canary_settings import CanarySettings
from worker.settings import Settings, WorkerSettings

Broker = KafkaBroker | MockBroker
MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(kafka: Broker, redis_url: str, make_topic: MakeTopic) -> MakeSettings:
    """A factory of settings for a fresh topic, group and database."""

    def make(partitions: int = 2, **sections: Any) -> Settings:
        topic = make_topic(partitions)
        dead = f"{topic}.dead"
        kafka.create_topic(dead, 1)
        defaults: dict[str, Any] = {
            "kafka": KafkaSettings(
                bootstrap_servers=kafka.bootstrap, topic=topic, dead_letter_topic=dead, group_id=topic, fetch_wait_ms=20
            ),
            "redis": RedisSettings(url=redis_url),
            "tool": ToolSettings(arms=TOOLS),
            "worker": WorkerSettings(checkpoint_interval_seconds=0.1, publish_interval_seconds=0.1),
            "canary": CanarySettings(mode="direct", cold_start_episodes=10**9),  # every policy goes live
        }
        return Settings(**defaults | sections)

    return make


@pytest.fixture
def alice(
    redis_url: str,
    kafka: Broker,
    make_topic: MakeTopic,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Line:
    """The command line on a fresh topic of two partitions and an empty database, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return Line(redis_url, kafka.bootstrap, make_topic(2), tmp_path)
