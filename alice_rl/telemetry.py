"""The orchestrator's side of the log: events to Kafka, without ever holding up a turn.

    async with Emitter(KafkaSettings(bootstrap_servers="...")) as emitter:
        emitter.emit(decision)                                            # what decide() returned
        ...
        emitter.emit(outcome_of(decision, success=True, latency_ms=640.5))

`emit` only queues. Events wait in a bounded queue while Kafka is away; beyond the bound they are dropped and counted,
because an assistant that stops answering is worse than a turn that teaches nothing.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from alice_rl.errors import DependencyError
from alice_rl.events import Decision, Event, Outcome, encode
from alice_rl.kafka import KafkaSettings
from alice_rl.log import get_logger

__all__ = ["Emitter", "outcome_of"]

logger = get_logger(__name__)


def outcome_of(
    decision: Decision,
    *,
    success: bool,
    latency_ms: float,
    cost_usd: float = 0.0,
    cache_hit: bool = False,
    guardian_flag: bool = False,
    tool_ok: bool | None = None,
    ts_ms: int | None = None,
) -> Outcome:
    """The outcome event of a decision, at `ts_ms` or now.

    Parameters
    ----------
    tool_ok : bool, optional
        Whether the tool did its job; leave it out when no tool was used.
    """
    now = time.time_ns() // 1_000_000 if ts_ms is None else ts_ms
    return Outcome(
        decision.decision_id,
        now,
        success=success,
        latency_ms=latency_ms,
        cost_usd=cost_usd,
        cache_hit=cache_hit,
        guardian_flag=guardian_flag,
        tool_ok=tool_ok,
    )


class Emitter:
    """Sends events to the telemetry topic, keyed by decision id, so that a decision and its outcome share a partition.

    Parameters
    ----------
    settings : KafkaSettings
    queue_max : int
        Events that may wait to be sent.
    compression : str, optional
        aiokafka's `compression_type`.

    Attributes
    ----------
    sent, dropped : int
        Events handed to Kafka, and events given up: no room in the queue, or refused by the broker.
    """

    def __init__(self, settings: KafkaSettings, *, queue_max: int = 10_000, compression: str | None = "gzip") -> None:
        self.sent = self.dropped = 0
        self._settings = settings
        self._compression = compression
        self._queue: asyncio.Queue[Event] = asyncio.Queue(queue_max)
        self._half_empty = asyncio.Event()
        self._half_empty.set()
        self._producer: AIOKafkaProducer | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect.

        Raises
        ------
        DependencyError
            No broker answers.
        """
        self._producer = AIOKafkaProducer(
            **self._settings.connection(),
            compression_type=self._compression,
            linger_ms=20,
            acks="all",
            enable_idempotence=True,
        )
        try:
            await self._producer.start()
        except (KafkaError, OSError) as error:
            await self._producer.stop()
            raise DependencyError(
                f"no Kafka broker answers at {self._settings.bootstrap_servers}: {error}",
                code="kafka_unreachable",
                hint="check kafka.bootstrap_servers, and that the broker runs",
            ) from error
        self._task = asyncio.create_task(self._send_all(), name="alice-rl-emitter")

    def emit(self, event: Event) -> bool:
        """Queue an event; False when there was no room and it was dropped."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._drop("the queue is full")
            return False
        if self._queue.qsize() * 2 > self._queue.maxsize:
            self._half_empty.clear()
        return True

    async def room(self) -> None:
        """Wait until half of the queue is free: for senders that make events faster than Kafka takes them."""
        await self._half_empty.wait()

    async def flush(self) -> None:
        """Wait until everything queued so far was sent, or dropped."""
        await self._queue.join()
        if self._producer is not None:
            await self._producer.flush()

    async def close(self) -> None:
        """Send what is queued and disconnect."""
        if self._producer is None:
            return
        await self.flush()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._producer.stop()
        self._producer = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send_all(self) -> None:
        assert self._producer is not None
        while True:
            event = await self._queue.get()
            if self._queue.qsize() * 2 <= self._queue.maxsize:
                self._half_empty.set()
            try:
                delivery = await self._producer.send(
                    self._settings.topic, encode(event), event.decision_id.encode(), timestamp_ms=event.ts_ms
                )
                delivery.add_done_callback(self._delivered)
            except KafkaError as error:
                self._drop(str(error))
            finally:
                self._queue.task_done()

    def _delivered(self, delivery: asyncio.Future[object]) -> None:
        if not delivery.cancelled() and delivery.exception() is None:
            self.sent += 1
        else:
            self._drop("cancelled" if delivery.cancelled() else str(delivery.exception()))

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        if self.dropped & (self.dropped - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: a flood is one line per doubling
            logger.warning("event.dropped", reason=reason, dropped_total=self.dropped)
