"""A store in memory, settings that need no server, and what was logged."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import fakeredis
import pytest
from structlog.testing import capture_logs

from alice_rl import log
from alice_rl.slots import ToolSettings
from alice_rl.snapshot.store import Store
from tests.logs import TOOLS
from tests.unit.worker.steps import Logged
from worker.settings import Settings


@pytest.fixture
def settings() -> Settings:
    """The defaults, with the arms of the tests' logs."""
    return Settings(tool=ToolSettings(arms=TOOLS))


@pytest.fixture
async def client() -> AsyncIterator[fakeredis.FakeAsyncRedis]:
    """An empty Redis in memory."""
    made = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(), protocol=2)
    yield made
    await made.aclose()


@pytest.fixture
async def store(client: fakeredis.FakeAsyncRedis, settings: Settings) -> Store:
    """A store in which the lineage of the settings is declared and active."""
    made = Store(client)
    await made.declare_lineage("main", settings.lineage.fingerprint, settings.lineage.to_json())
    await made.activate_lineage("main")
    return made


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Logged]:
    """The events that are logged, in their order."""
    monkeypatch.setattr(log.Logger, "configured", 0)
    with capture_logs() as entries:
        yield Logged(entries)
