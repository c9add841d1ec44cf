"""Dead letters back to the log: judged one by one, sent in order, and marked when the broker has them.

The marker follows the record. A retry that dies between the two sends the record once more the next time; the join then
drops it as a duplicate while the first copy is in its window.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from msgspec import Struct
from msgspec.structs import replace

from alice_rl.errors import ConfigError, DependencyError
from worker.cli.inspector import Inspector, inspecting
from worker.cli.letters import Letter, Note, Wanted, letters, reading, whole_of
from worker.cli.letters_verdict import Allowed, Held, Judge, Sending
from worker.cli.reach import Reach, reach_of
from worker.settings import Settings
from worker.topic_reader import Spans, TopicReader

__all__ = ["Example", "Retried", "retry_letters"]

_BATCH_LETTERS = 100  # with what they hold, 50 MiB at the very most
_EXAMPLES_MAX = 20
_REQUEST_BYTES_MAX = 2 << 20


class Example(Struct, frozen=True):
    """A letter that was held back, and why."""

    id: str
    why: str
    detail: str


class Retried(Struct, frozen=True, kw_only=True):
    """What became of the letters that were asked for.

    Attributes
    ----------
    letters : int
        How many there are.
    sent, restamped : int
        How many went back, and how many of these with the present time; of a dry run, how many would.
    held : dict of str to int
        How many did not, by the words of `letters_verdict.HELD`; `rejected_again` by reason in `reasons`.
    unmarked : int
        Of those sent, how many could not be marked: the next retry would send them again.
    missing : list of str
        Ids that were named, and that no letter has.
    examples : list of Example
        The first few that were held back, but for those sent before.
    """

    dry_run: bool
    letters: int
    sent: int
    restamped: int
    held: dict[str, int]
    reasons: dict[str, int]
    unmarked: int
    missing: list[str]
    examples: list[Example]

    @property
    def done(self) -> bool:
        """Whether something went back, or all had gone before, and nothing went wrong."""
        nothing_sent = not self.sent and self.letters > self.held.get("retried", 0)
        return not (nothing_sent or self.missing or self.unmarked or self.held.get("undelivered"))


async def retry_letters(settings: Settings, wanted: Wanted, allowed: Allowed, note: Note, *, dry_run: bool) -> Retried:
    """Send letters back to the partitions they came from.

    Raises
    ------
    ConfigError
        The configured lineage is not the one that the workers learn under this name.
    DependencyError
        Kafka or Redis does not answer.
    """
    async with AsyncExitStack() as stack:
        reader, spans = await stack.enter_async_context(reading(settings.kafka))
        log = await stack.enter_async_context(TopicReader(settings.kafka, settings.kafka.topic))
        inspector = await stack.enter_async_context(inspecting(settings, Inspector))
        await _check_lineage(settings, inspector)
        producer = None if dry_run else await stack.enter_async_context(_producing(settings))
        retry = _Retry(settings, inspector, log, await log.spans(), producer, allowed)
        before = set() if allowed.again else await _marked(reader, spans, wanted, note)
        batch: list[Letter] = []
        async for letter in letters(reader, spans, wanted, note):
            if letter.marked_ms is not None or letter.id in retry.seen:
                continue
            retry.seen.add(letter.id)
            if letter.id in before:
                retry.held["retried"] += 1
                continue
            batch.append(letter)
            if len(batch) == _BATCH_LETTERS:
                await retry.take(batch)
                batch = []
        await retry.take(batch)
    return retry.result(wanted)


async def _marked(reader: TopicReader, spans: Spans, wanted: Wanted, note: Note) -> set[str]:
    """Ids of the letters that were sent before: some hundred bytes each, as long as retention keeps their markers."""
    return {letter.id async for letter in letters(reader, spans, wanted, note) if letter.marked_ms is not None}


async def _check_lineage(settings: Settings, inspector: Inspector) -> None:
    """Refuse to judge by a structure that no worker has under this name."""
    name = settings.policy.lineage
    declared = await inspector.lineage_config(name)
    if declared is not None and declared[0] != settings.lineage.fingerprint:
        raise ConfigError(
            f"lineage {name!r} is learned with another structure than the one configured here",
            code="lineage_mismatch",
            hint="give the mended structure a policy.lineage of its own, and let a worker learn it; then retry",
        )


@asynccontextmanager
async def _producing(settings: Settings) -> AsyncIterator[Any]:
    producer = AIOKafkaProducer(
        **settings.kafka.connection(), acks="all", enable_idempotence=True, max_request_size=_REQUEST_BYTES_MAX
    )
    try:
        try:
            await producer.start()
        except (KafkaError, OSError) as error:
            raise DependencyError(
                f"no Kafka broker takes records at {settings.kafka.bootstrap_servers}: {error!r}",
                code="kafka_unreachable",
                hint="alice-rl doctor checks the brokers and the rights",
            ) from error
        yield producer
    finally:
        await producer.stop()


class _Retry:
    """One retry under way, batch by batch; without a producer it only counts."""

    def __init__(
        self,
        settings: Settings,
        inspector: Inspector,
        log: TopicReader,
        spans: Spans,
        producer: Any,
        allowed: Allowed,
    ) -> None:
        self.seen: set[str] = set()
        self.held: Counter[str] = Counter()
        self._settings, self._inspector = settings, inspector
        self._log, self._spans, self._producer = log, spans, producer
        self._judge = Judge(settings.lineage, settings.policy.lineage, allowed)
        self._reached: dict[int, Reach | None] = {}
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._examples: list[Example] = []

    async def take(self, batch: Sequence[Letter]) -> None:
        """Judge the next letters and send the good ones."""
        sendings = []
        for letter in batch:
            verdict = await self._verdict(letter)
            if isinstance(verdict, Sending):
                sendings.append(verdict)
            else:
                self._hold(verdict)
        sent = await self._send(sendings)
        self._counts.update(sent=len(sent), restamped=sum(sending.restamped for sending, _ in sent))
        if self._producer is not None:
            self._counts["unmarked"] += await self._mark(sent)

    async def _verdict(self, letter: Letter) -> Sending | Held:
        if letter.topic != self._settings.kafka.topic or letter.partition not in self._spans:
            return Held(letter, "elsewhere", f"configured is {self._settings.kafka.topic}")
        if letter.truncated:
            record = await whole_of(letter, self._log, self._spans)
            if record is None:
                return Held(letter, "gone")
            letter = replace(letter, value=record.value, key=record.key, truncated=False)
        return self._judge.judge(letter, await self._reach(letter.partition))

    async def _reach(self, partition: int) -> Reach | None:
        if partition not in self._reached:
            span = self._spans[partition]
            self._reached[partition] = await reach_of(self._settings, self._inspector, self._log, partition, span)
        return self._reached[partition]

    async def _send(self, sendings: Sequence[Sending]) -> list[tuple[Sending, int | None]]:
        """Those that the broker has, and the offset at which it has them."""
        if self._producer is None:
            return [(sending, None) for sending in sendings]
        deliveries = [await self._hand_over(sending) for sending in sendings]
        sent: list[tuple[Sending, int | None]] = []
        for sending, delivery in zip(sendings, await asyncio.gather(*deliveries, return_exceptions=True), strict=True):
            if isinstance(delivery, KafkaError):
                self._hold(Held(sending.letter, "undelivered", repr(delivery)))
            elif isinstance(delivery, BaseException):
                raise delivery
            else:
                sent.append((sending, delivery.offset))
        return sent

    async def _hand_over(self, sending: Sending) -> asyncio.Future[Any]:
        timestamp_ms = sending.timestamp_ms or 0
        try:
            delivery: asyncio.Future[Any] = await self._producer.send(
                self._settings.kafka.topic,
                sending.value,
                sending.key,
                partition=sending.letter.partition,
                timestamp_ms=timestamp_ms if timestamp_ms > 0 else None,
            )
        except KafkaError as error:
            delivery = asyncio.get_running_loop().create_future()
            delivery.set_exception(error)
        return delivery

    async def _mark(self, sent: Sequence[tuple[Sending, int | None]]) -> int:
        """Say in the dead-letter topic what was sent; how many times that failed."""
        topic, markers = self._settings.kafka.dead_letter_topic, []
        for sending, offset in sent:
            words = f"sent to offset {offset}{', with the present time' if sending.restamped else ''}"
            key, headers = sending.letter.marker(words)
            markers.append(self._producer.send_and_wait(topic, b"", key, headers=headers))
        results = await asyncio.gather(*markers, return_exceptions=True)
        return sum(isinstance(result, BaseException) for result in results)

    def _hold(self, held: Held) -> None:
        self.held[held.why] += 1
        if held.why == "rejected_again":
            self._reasons[held.detail.partition(":")[0]] += 1
        if len(self._examples) < _EXAMPLES_MAX:
            self._examples.append(Example(held.letter.id, held.why, held.detail))

    def result(self, wanted: Wanted) -> Retried:
        """What it has come to."""
        return Retried(
            dry_run=self._producer is None,
            letters=len(self.seen),
            sent=self._counts["sent"],
            restamped=self._counts["restamped"],
            held=dict(self.held),
            reasons=dict(self._reasons),
            unmarked=self._counts["unmarked"],
            missing=sorted(wanted.ids - self.seen),
            examples=self._examples,
        )
