"""Rejected records to the dead-letter topic: the raw bytes, and where they came from and why in the headers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from alice_rl.intake import Rejected
from alice_rl.kafka import KafkaSettings
from alice_rl.log import get_logger

__all__ = ["RETRIED", "VALUE_BYTES_MAX", "DeadLetters"]

logger = get_logger(__name__)

VALUE_BYTES_MAX = 512 * 1024
"""A longer record is cut here, and says so in a header; its offset leads to the whole."""

RETRIED = "retried"
"""The reason of a marker, which is no rejected record: it says that the one under the same key was sent again."""

_KEY_BYTES_MAX = 64 * 1024  # a longer key is left out, and the record counts as cut

_FLUSH_TIMEOUT_SECONDS = 5.0
_ASK_SECONDS, _ASK_TIMEOUT_SECONDS = 60.0, 2.0


class DeadLetters:
    """The dead-letter topic.

    Parameters
    ----------
    settings : KafkaSettings
        An empty `dead_letter_topic` makes this count and log alone.
    lineage : str, optional
        Name of the lineage that could not learn the records.

    Attributes
    ----------
    lineage : str
        As above; whoever goes over to another lineage sets it.
    sent, failed : int
    """

    def __init__(self, settings: KafkaSettings, lineage: str = "") -> None:
        self.sent = self.failed = 0
        self._settings = settings
        self.lineage = lineage
        self._producer: AIOKafkaProducer | None = None
        self._pending: set[asyncio.Future[object]] = set()
        self._rejected = 0
        self._found = False
        self._ask_at = 0.0

    async def start(self) -> None:
        """Connect; without a broker or a topic, say so and go on without."""
        if not self._settings.dead_letter_topic:
            return
        producer = AIOKafkaProducer(**self._settings.connection(), acks="all", max_request_size=1 << 20, linger_ms=20)
        try:
            await producer.start()
        except (KafkaError, OSError) as error:
            await producer.stop()
            logger.warning(
                "dead_letter.failed",
                topic=self._settings.dead_letter_topic,
                error=repr(error),
                dropped_total=self.failed,
            )
            return
        self._producer = producer
        await self._exists(producer)

    async def _exists(self, producer: AIOKafkaProducer) -> bool:
        """Whether the topic is there. Asked before each sending until it is, but only now and then: asking takes time.

        A send to a topic that does not exist would hold up the worker for a whole request timeout, record by record.
        """
        now = asyncio.get_running_loop().time()
        if not self._found and now >= self._ask_at:
            self._ask_at = now + _ASK_SECONDS
            try:
                async with asyncio.timeout(_ASK_TIMEOUT_SECONDS):
                    self._found = bool(await producer.partitions_for(self._settings.dead_letter_topic))
            except (KafkaError, TimeoutError):
                logger.warning(
                    "dead_letter.failed",
                    topic=self._settings.dead_letter_topic,
                    error="the topic does not exist, or may not be seen",
                    dropped_total=self.failed,
                )
        return self._found

    async def send(self, partition: int, rejected: Sequence[Rejected]) -> None:
        """Hand over the rejected records of one batch."""
        for record in rejected:
            self._rejected += 1
            if (
                self._rejected & (self._rejected - 1) == 0
            ):  # the 1st, 2nd, 4th, 8th ...: a flood is one line per doubling
                logger.warning(
                    "event.rejected",
                    reason=record.reason,
                    detail=record.detail[:200],
                    partition=partition,
                    offset=record.offset,
                    rejected_total=self._rejected,
                )
            if self._producer is not None and await self._exists(self._producer):
                await self._send(self._producer, partition, record)
            else:
                self.failed += bool(self._settings.dead_letter_topic)

    async def _send(self, producer: AIOKafkaProducer, partition: int, record: Rejected) -> None:
        source = f"{self._settings.topic}:{partition}:{record.offset}"
        value = record.value if record.value is None else record.value[:VALUE_BYTES_MAX]
        try:
            delivery = await producer.send(
                self._settings.dead_letter_topic,
                value,
                source.encode(),
                headers=self._headers(partition, record),
            )
        except KafkaError as error:
            self._fail(error)
            return
        self._pending.add(delivery)
        delivery.add_done_callback(self._delivered)

    def _headers(self, partition: int, record: Rejected) -> list[tuple[str, bytes]]:
        """Where a record came from and why it is here; its key and time, with which it can be sent again."""
        headers = {
            "topic": self._settings.topic,
            "partition": str(partition),
            "offset": str(record.offset),
            "reason": record.reason,
            "detail": record.detail[:1000],
            "lineage": self.lineage,
        }
        found = [(name, text.encode()) for name, text in headers.items() if text]
        cut = len(record.value or b"") > VALUE_BYTES_MAX
        if record.timestamp is not None:
            found.append(("timestamp", str(record.timestamp).encode()))
        if record.key is not None and len(record.key) <= _KEY_BYTES_MAX:
            found.append(("key", record.key))
        elif record.key is not None:
            cut = True
        return [*found, ("truncated", b"true")] if cut else found

    async def flush(self) -> None:
        """Wait for what was handed over: no checkpoint may pass a record that is in neither topic."""
        if self._pending:
            await asyncio.wait(set(self._pending), timeout=_FLUSH_TIMEOUT_SECONDS)

    async def close(self) -> None:
        """Send what is left and disconnect."""
        if self._producer is not None:
            await self.flush()
            await self._producer.stop()

    def _delivered(self, delivery: asyncio.Future[object]) -> None:
        self._pending.discard(delivery)
        error = None if delivery.cancelled() else delivery.exception()
        if error is None and not delivery.cancelled():
            self.sent += 1
        else:
            self._fail(error)

    def _fail(self, error: BaseException | None) -> None:
        self.failed += 1
        if self.failed & (self.failed - 1) == 0:
            logger.warning(
                "dead_letter.failed",
                topic=self._settings.dead_letter_topic,
                error=repr(error),
                dropped_total=self.failed,
            )
