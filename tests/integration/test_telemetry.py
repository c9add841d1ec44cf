"""The emitter on a real broker: events reach the log as decided, and a missing broker never holds up a turn."""

from __future__ import annotations

import msgspec
import pytest

from alice_rl.errors import DependencyError
from alice_rl.events import Decision, decode
from alice_rl.kafka import KafkaSettings
from alice_rl.telemetry import Emitter, outcome_of
from tests.conftest import MakeTopic
from tests.logs import START_MS, decision
from tests.services import KafkaBroker, MockBroker
from tests.streams import read_log

Broker = KafkaBroker | MockBroker


def decided(name: str) -> Decision:
    """A decision as `decide()` returns it."""
    event = decode(msgspec.json.encode(decision(name)))
    assert isinstance(event, Decision)
    return event


async def test_halves_share_a_partition(kafka: Broker, make_topic: MakeTopic) -> None:
    """A decision and its outcome are read back from one partition, in order, with the event's time."""
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, topic=make_topic(3))
    async with Emitter(settings) as emitter:
        for i in range(20):
            assert emitter.emit(one := decided(f"d-{i}"))
            assert emitter.emit(outcome_of(one, success=True, latency_ms=5.0, ts_ms=START_MS + 900))
    assert (emitter.sent, emitter.dropped) == (40, 0)
    found: list[str] = []
    for log in (await read_log(settings)).values():
        events = [decode(record.value) for record in log]
        found += [event.decision_id for event in events]
        assert [event.decision_id for event in events[::2]] == [event.decision_id for event in events[1::2]]
        assert [record.timestamp for record in log] == [event.ts_ms for event in events]
    assert sorted(found) == sorted(2 * [f"d-{i}" for i in range(20)])


async def test_a_full_queue_drops_and_counts(kafka: Broker, topic: str) -> None:
    """What does not fit into the queue is dropped at once, and counted."""
    emitter = Emitter(KafkaSettings(bootstrap_servers=kafka.bootstrap, topic=topic), queue_max=2)
    assert [emitter.emit(decided(f"d-{i}")) for i in range(3)] == [True, True, False]
    assert emitter.dropped == 1


async def test_a_quick_sender_can_wait_for_room(kafka: Broker, topic: str) -> None:
    """A sender that waits for room loses nothing, however short the queue."""
    async with Emitter(KafkaSettings(bootstrap_servers=kafka.bootstrap, topic=topic), queue_max=8) as emitter:
        for i in range(100):
            await emitter.room()
            emitter.emit(decided(f"d-{i}"))
    assert (emitter.sent, emitter.dropped) == (100, 0)


async def test_a_missing_broker_is_told() -> None:
    """Starting without a broker says where it was looked for."""
    emitter = Emitter(KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(DependencyError, match="127.0.0.1:1"):
        await emitter.start()
