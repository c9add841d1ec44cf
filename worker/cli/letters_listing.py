"""The dead letters at a glance: counts by reason, and the newest few."""

from __future__ import annotations

import heapq

from msgspec import Struct
from msgspec.structs import replace

from alice_rl.kafka import KafkaSettings
from worker.cli.letters import Letter, Note, Remembered, Wanted, letters, reading

__all__ = ["Gathered", "LetterSeen", "Listing", "ReasonSeen", "list_letters"]

_REASONS_MAX = 256
_OTHER_REASONS = "(others)"


class ReasonSeen(Struct, frozen=True):
    """How often a reason was given, how many of these letters were sent again, and when the first and the last came."""

    reason: str
    letters: int = 0
    retried: int = 0
    first_ms: int | None = None
    last_ms: int | None = None


class LetterSeen(Struct, frozen=True, kw_only=True):
    """A letter without its bytes; `retried_ms` is when it was last sent again."""

    id: str
    at_ms: int
    reason: str
    detail: str
    size_bytes: int
    truncated: bool
    retried_ms: int | None = None


class Listing(Struct, frozen=True, kw_only=True):
    """What was asked for: all of it counted, the most frequent reason first, and the newest letters."""

    topic: str
    letters: int
    retried: int
    reasons: list[ReasonSeen]
    records: list[LetterSeen]


class Gathered:
    """Counts by reason and a heap of the newest letters: no more, however long the topic is.

    Attributes
    ----------
    reasons : dict of str to ReasonSeen
    """

    def __init__(self, limit: int) -> None:
        self.reasons: dict[str, ReasonSeen] = {}
        self._limit = limit
        self._letters, self._markers = Remembered(), Remembered()
        self._heap: list[tuple[int, int, str]] = []
        self._kept: dict[str, LetterSeen] = {}
        self._count = 0

    def add(self, letter: Letter) -> None:
        """Take in a letter, or the marker of one."""
        if letter.marked_ms is not None:
            self._mark(letter, letter.marked_ms)
        elif self._letters.add(letter.id):
            before = self._of(letter.reason)
            self.reasons[before.reason] = replace(
                before,
                letters=before.letters + 1,
                first_ms=letter.at_ms if before.first_ms is None else min(before.first_ms, letter.at_ms),
                last_ms=letter.at_ms if before.last_ms is None else max(before.last_ms, letter.at_ms),
            )
            self._keep(letter)

    def _of(self, reason: str) -> ReasonSeen:
        if reason not in self.reasons and len(self.reasons) >= _REASONS_MAX:
            reason = _OTHER_REASONS
        return self.reasons.get(reason) or ReasonSeen(reason)

    def _mark(self, letter: Letter, marked_ms: int) -> None:
        if self._markers.add(letter.id):
            before = self._of(letter.reason)
            self.reasons[before.reason] = replace(before, retried=before.retried + 1)
        if letter.id in self._kept:
            self._kept[letter.id] = replace(self._kept[letter.id], retried_ms=marked_ms)

    def _keep(self, letter: Letter) -> None:
        self._count += 1
        self._kept[letter.id] = LetterSeen(
            id=letter.id,
            at_ms=letter.at_ms,
            reason=letter.reason,
            detail=letter.detail,
            size_bytes=len(letter.value or b""),
            truncated=letter.truncated,
        )
        heapq.heappush(self._heap, (letter.at_ms, self._count, letter.id))
        if len(self._heap) > self._limit:
            del self._kept[heapq.heappop(self._heap)[2]]

    def newest(self) -> list[LetterSeen]:
        """The letters that are kept, the newest first."""
        return [self._kept[letter_id] for _, _, letter_id in sorted(self._heap, reverse=True)]


async def list_letters(settings: KafkaSettings, wanted: Wanted, limit: int, note: Note) -> Listing:
    """Read the whole dead-letter topic, and keep counts and the newest `limit` letters alone.

    A record that was set aside more than once counts once, as long as the copies are not far apart.
    """
    gathered = Gathered(limit)
    async with reading(settings) as (reader, spans):
        async for letter in letters(reader, spans, wanted, note):
            gathered.add(letter)
    reasons = sorted(gathered.reasons.values(), key=lambda seen: (-seen.letters, seen.reason))
    return Listing(
        topic=settings.dead_letter_topic,
        letters=sum(seen.letters for seen in reasons),
        retried=sum(seen.retried for seen in reasons),
        reasons=reasons,
        records=gathered.newest(),
    )
