"""What the tests of faults share: quick groups, and the log events of workers in this process."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tests.integration.conftest import MakeSettings
from worker.settings import Settings

Events = Callable[[str], list[str]]


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Events:
    """The lines that were logged of one event, `events("partition.fenced")`."""
    caplog.set_level("INFO", logger="alice_rl")

    def logged(name: str) -> list[str]:
        lines = [record.getMessage() for record in caplog.records]
        return [line for line in lines if line.split(" ", 1)[0] == name]

    return logged


@pytest.fixture
def quick_settings(make_settings: MakeSettings) -> MakeSettings:
    """As `make_settings`, in a group that gives a dead member's partitions away after a second."""

    def make(partitions: int = 2, **sections: object) -> Settings:
        settings = make_settings(partitions, **sections)
        kafka = msgspec.structs.replace(settings.kafka, session_timeout_ms=1000)
        return msgspec.structs.replace(settings, kafka=kafka)

    return make
