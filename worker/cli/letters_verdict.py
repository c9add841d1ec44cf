"""What is to become of a dead letter that is to be sent again: the event it would be now, or why it stays."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from alice_rl.events import Event
from alice_rl.intake import Intake
from alice_rl.lineage import Lineage
from worker.cli.letters import Letter
from worker.cli.reach import Reach

__all__ = ["HELD", "Allowed", "Held", "Judge", "Sending"]

HELD = {
    "killed_worker": "killed workers: sent only where named by its id",
    "rejected_again": "would be rejected again by the present configuration",
    "late": "older than the join window: would be dropped as late",
    "learned": "read from the log by the configured lineage itself: would count twice",
    "unread": "the configured lineage has not come that far: it reads them from the log itself",
    "retried": "sent again before",
    "gone": "cut short here, and not in the telemetry topic any more",
    "elsewhere": "of another topic, or of a partition that does not exist",
    "undelivered": "refused by Kafka",
}
"""Why a letter is not sent: what each word means."""


class Allowed(NamedTuple):
    """What else may be sent: late events with their own time or with the present one, what was sent before, and, where
    letters are named by their ids, what killed workers.
    """

    late: bool = False
    restamp: bool = False
    again: bool = False
    named: bool = False


class Sending(NamedTuple):
    """A record on its way back; `restamped` when its event got the present time."""

    letter: Letter
    value: bytes
    key: bytes | None
    timestamp_ms: int | None
    restamped: bool


class Held(NamedTuple):
    """A letter that is not sent: a word of `HELD`, and more about it."""

    letter: Letter
    why: str
    detail: str = ""


class _Whole(NamedTuple):
    """A letter as a record of the log."""

    offset: int
    timestamp: int
    value: bytes | None


class Judge:
    """Decides over letters that are whole, against the configured lineage.

    Parameters
    ----------
    lineage : Lineage
    name : str
        The lineage's name.
    allowed : Allowed
    """

    def __init__(self, lineage: Lineage, name: str, allowed: Allowed) -> None:
        self._intake = Intake(lineage.arms)
        self._horizon_ms = lineage.join.horizon_seconds * 1000
        self._name = name
        self._allowed = allowed

    def judge(self, letter: Letter, reach: Reach | None) -> Sending | Held:
        """The letter's fate, where its partition's lineage has come as far as `reach`."""
        if letter.reason == "killed_worker" and not self._allowed.named:
            return Held(letter, "killed_worker", "at its new offset it is on nobody's skip list")
        taken = self._intake.take([_Whole(letter.offset, letter.timestamp_ms or 0, letter.value)])
        if taken.rejected:
            (rejected,) = taken.rejected
            return Held(letter, "rejected_again", f"{rejected.reason}: {rejected.detail}")
        if reach is None or letter.offset >= reach.next:
            return Held(letter, "unread", f"lineage {self._name} is at {reach.next if reach else 'its start'}")
        if self._has_learned(letter, reach) and not self._allowed.again:
            return Held(letter, "learned", f"lineage {self._name} began at {reach.begun}")
        return self._timed(letter, taken.events[0], reach.now_ms)

    def _has_learned(self, letter: Letter, reach: Reach) -> bool:
        """Whether the lineage has read the original, and was not the one that set it aside."""
        return letter.lineage not in ("", self._name) and letter.offset >= reach.begun

    def _timed(self, letter: Letter, event: Event, now_ms: int) -> Sending | Held:
        value = letter.value or b""
        if event.ts_ms >= now_ms - self._horizon_ms or self._allowed.late:
            return Sending(letter, value, letter.key, letter.timestamp_ms, restamped=False)
        if self._allowed.restamp:
            return Sending(letter, shifted(value, now_ms - event.ts_ms), letter.key, now_ms, restamped=True)
        return Held(letter, "late", f"{(now_ms - event.ts_ms) / 1000:,.0f} s behind its partition's clock")


def shifted(value: bytes, by_ms: int) -> bytes:
    """An event with its time, and that of the outcome of a whole turn, moved; everything else as it was.

    Examples
    --------
    >>> shifted(b'{"type":"turn","ts_ms":1,"x":[2.5],"outcome":{"ts_ms":3}}', 10)
    b'{"type":"turn","ts_ms":11,"x":[2.5],"outcome":{"ts_ms":13}}'
    """
    event = msgspec.json.decode(value)
    event["ts_ms"] += by_ms
    if event["type"] == "turn":
        event["outcome"]["ts_ms"] += by_ms
    return msgspec.json.encode(event)
