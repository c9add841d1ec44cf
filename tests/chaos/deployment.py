"""The servers and the configuration of one run: a Kafka, a Redis and a `config.toml`, all in temporary folders."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tests.chaos.plan import SESSION_SECONDS
from tests.logs import TOOLS
from tests.services import KafkaBroker, RedisServer
from worker.settings import Settings, load_settings

__all__ = ["PARTITIONS", "Deployment", "deploy"]

PARTITIONS = 6
_TOPIC, _DEAD = "chaos", "chaos.dead"


class Deployment(NamedTuple):
    """What the workers run on.

    `config` is the file that every worker reads, `settings` what it says; `folder` takes the workers' logs.
    """

    kafka: KafkaBroker
    redis: RedisServer
    folder: Path
    config: Path
    settings: Settings


def deploy(kafka: KafkaBroker, redis: RedisServer, folder: Path) -> Deployment:
    """Make the topics and the configuration on servers that run."""
    for topic, partitions in ((_TOPIC, PARTITIONS), (_DEAD, 1)):
        kafka.create_topic(topic, partitions, {"retention.ms": "-1"})  # the judge reads the log from its beginning
    config = folder / "config.toml"
    config.write_text(_toml(kafka.bootstrap, redis.url))
    return Deployment(kafka, redis, folder, config, load_settings(config, environ={}).settings)


def _toml(bootstrap: str, redis_url: str) -> str:
    tools = ", ".join(f'"{tool}"' for tool in TOOLS)
    return f"""
[kafka]
bootstrap_servers = "{bootstrap}"
topic = "{_TOPIC}"
dead_letter_topic = "{_DEAD}"
group_id = "chaos"
fetch_wait_ms = 20
session_timeout_ms = {int(SESSION_SECONDS * 1000)}
start_timeout_seconds = 120

[redis]
url = "{redis_url}"
socket_timeout_seconds = 2.0  # shorter than the longest freeze
start_timeout_seconds = 120

[tool]
arms = [{tools}]

[rules]
tool = "none"
tool_by_intent = {{}}

[worker]
checkpoint_interval_seconds = 0.2
publish_interval_seconds = 0.5
heartbeat_interval_seconds = 2

[snapshot]
versions_kept = 10000  # all of them are compared at the end

[log]
format = "json"
"""
