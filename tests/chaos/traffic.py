"""What is produced: seeded telemetry with all that a log may bring, and a producer that writes it at a steady rate."""

from __future__ import annotations

import asyncio
import random
from asyncio import Future
from collections import Counter, deque
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
from aiokafka import AIOKafkaProducer

from alice_rl.kafka import KafkaSettings
from tests.logs import START_MS, in_trial, random_turn

__all__ = ["STEP_MS", "Message", "Producer", "messages"]

STEP_MS = 100
"""Event time between two turns: a minute of traffic crosses several hourly buckets and many join windows."""

_HOUR_MS = 3_600_000
_REMEMBERED = 4096  # turns back from which a duplicate may come
_TICK_SECONDS = 0.05
_DELIVERY_TIMEOUT_MS = 120_000  # longer than any broker restart

_GARBAGE = (
    b"",
    b"\xff\xfe not UTF-8",
    b'{"type":"turn","decision_id":"cut off',
    b"[1,2,3]",
    b'{"type":"riddle"}',
    b'{"type":"outcome","decision_id":"g"}',
    b'{"type":"outcome","decision_id":"g","ts_ms":"noon","success":true,"latency_ms":1,"cost_usd":0,'
    b'"cache_hit":false,"guardian_flag":false}',
    b'{"type":"outcome","decision_id":"g","ts_ms":1767225600901,"success":true,"latency_ms":NaN,"cost_usd":0,'
    b'"cache_hit":false,"guardian_flag":false}',
)
_WILD_MS = (
    -720 * _HOUR_MS,
    -2 * _HOUR_MS,
    2 * _HOUR_MS,
    720 * _HOUR_MS,
    4_070_908_800_000 - START_MS,
)  # the last: 2099


class Message(NamedTuple):
    """One record: its key, which is the decision's id, and its value."""

    key: bytes
    value: bytes


def messages(seed: int) -> Iterator[Message]:
    """An endless log: whole turns, split ones in both orders, duplicates, garbage and wrong clocks.

    Examples
    --------
    >>> from itertools import islice
    >>> list(islice(messages(7), 100)) == list(islice(messages(7), 100))
    True
    """
    rng = random.Random(f"traffic {seed}")
    waiting: list[tuple[int, int, Message]] = []  # second halves of turns: round in which they are due, tie-breaker
    recent: deque[Message] = deque(maxlen=_REMEMBERED)
    wrong_clock: Iterator[int] = iter(())
    for round_ in count():
        while waiting and waiting[0][0] <= round_:
            yield heappop(waiting)[2]
        if rng.random() < 2e-5:
            wrong_clock = iter([rng.choice(_WILD_MS[:4])] * 100)  # a whole fleet of clocks: the log's own has to follow
        halves = list(_round(rng, f"{seed}-{round_}", round_ * STEP_MS + next(wrong_clock, 0), recent))
        for delay, message in halves:
            recent.append(message)
            heappush(waiting, (round_ + delay, len(waiting) + 10 * round_, message))


def _round(
    rng: random.Random, decision_id: str, elapsed_ms: int, recent: deque[Message]
) -> Iterator[tuple[int, Message]]:
    """What one round brings, each with the rounds that it is delayed by."""
    chance = rng.random()
    if chance < 0.45:
        yield 0, _encoded(random_turn(rng, decision_id, START_MS + elapsed_ms, split=False)[0])
    elif chance < 0.90:
        decided, became = map(_encoded, random_turn(rng, decision_id, START_MS + elapsed_ms, split=True))
        delay = rng.randrange(1, 9000 if rng.random() < 0.05 else 1500)  # 6000 rounds are the join horizon
        first, second = (became, decided) if rng.random() < 0.2 else (decided, became)
        yield 0, first
        if rng.random() < 0.97:
            yield delay, second
    elif chance < 0.98 and recent:
        yield 0, rng.choice(recent)
    elif chance < 0.99:
        yield 0, Message(decision_id.encode(), rng.choice(_GARBAGE))
    else:
        wild_ms = max(START_MS + elapsed_ms + rng.choice(_WILD_MS), START_MS - 720 * _HOUR_MS)
        wild_ms = min(wild_ms, START_MS + _WILD_MS[-1])
        yield 0, _encoded(random_turn(rng, decision_id, wild_ms, split=False)[0])


def _encoded(event: dict[str, Any]) -> Message:
    if "route" in event and crc32(event["decision_id"].encode()) % 2:  # by its id: halves and repetitions agree
        event = in_trial(event, share=0.25, treated=crc32(event["decision_id"].encode()) % 8 == 1)
    return Message(event["decision_id"].encode(), msgspec.json.encode(event))


class Producer:
    """Writes the traffic at a steady rate until it is told to stop.

    Attributes
    ----------
    ends : dict of int to int
        The offset after the last record that Kafka has acknowledged, by partition.
    failed : Counter of str
        Records that were not acknowledged, by error. They may be in the log or not: the judge reads it.
    """

    def __init__(self, kafka: KafkaSettings, seed: int, rate: float) -> None:
        self.ends: dict[int, int] = {}
        self.failed: Counter[str] = Counter()
        self._kafka = kafka
        self._messages = messages(seed)
        self._per_tick = max(1, round(rate * _TICK_SECONDS))
        self._stopped = asyncio.Event()

    @property
    def total(self) -> int:
        """Records that Kafka has acknowledged."""
        return sum(self.ends.values())

    def stop(self) -> None:
        """Ask `run` to send what it has, and to return."""
        self._stopped.set()

    async def run(self) -> None:
        """Produce until `stop`. While the broker is away it waits, and does not catch up later."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._kafka.bootstrap_servers,
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            request_timeout_ms=_DELIVERY_TIMEOUT_MS,
        )
        await producer.start()
        try:
            while not self._stopped.is_set():
                tick = asyncio.create_task(asyncio.sleep(_TICK_SECONDS))
                for _ in range(self._per_tick):
                    message = next(self._messages)
                    sent = await producer.send(self._kafka.topic, message.value, message.key)
                    sent.add_done_callback(self._acknowledged)
                await tick
            await producer.flush()
        finally:
            await producer.stop()

    def _acknowledged(self, sent: Future[Any]) -> None:
        error = sent.exception()
        if error is not None:
            self.failed[type(error).__name__] += 1
            return
        record = sent.result()
        self.ends[record.partition] = max(self.ends.get(record.partition, 0), record.offset + 1)
