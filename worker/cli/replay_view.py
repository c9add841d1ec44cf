"""A replay on a terminal: what it would do, what it has done, and how a verification came out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from alice_rl.snapshot import keys
from worker.cli.output import age_words, number_words
from worker.cli.status_view import columns, time_words
from worker.replay.plan import Span
from worker.replay.span import Replayed
from worker.replay.verdict import Verdict
from worker.settings import Settings

__all__ = ["done_view", "plan_view", "verdict_view"]


def plan_view(settings: Settings, spans: Sequence[Span]) -> RenderableType:
    """What would be read and written."""
    name, topic = settings.policy.lineage, settings.kafka.topic
    table = columns("log", "state", "from", "to", "goes on at", "offsets left", text=2)
    for span in spans:
        state = "done" if not span.left else "new" if span.done == span.first else "begun"
        numbers = (span.first, span.end, span.done, span.left)
        table.add_row(span.path or f"{topic} {span.partition}", state, *map(number_words, numbers))
    key = keys.lineage_config(settings.policy.name, name).removesuffix("config")
    told = (
        f"Would fold at most {number_words(sum(span.left for span in spans))} records into lineage {name!r}, "
        f"fingerprint {settings.lineage.fingerprint[:12]}.",
        f"Would write {key}* in Redis. Nothing that is live is touched, and nothing was written now.",
    )
    return Group(table, *map(Text, told))


def done_view(lineage: str, done: Sequence[Replayed], seconds: float) -> RenderableType:
    """What was folded."""
    table = columns("log", "next", "records", "episodes", "rejected", "digest")
    for part in done:
        counts = part.counts
        table.add_row(
            part.source or f"partition {part.partition}",
            *map(number_words, (part.next, part.records, counts.get("episodes", 0), counts.get("rejected", 0))),
            part.digest[:12],
        )
    records = sum(part.records for part in done)
    lines = [
        f"{number_words(records)} records in {age_words(seconds)}, {records / max(seconds, 1e-9):,.0f} a second.",
        *_rejected_words(done),
        f"When it is complete: alice-rl policy promote --lineage {lineage}, with the same configuration.",
    ]
    return Group(table, *map(Text, lines))


def _rejected_words(done: Sequence[Replayed]) -> list[str]:
    reasons = Counter[str]()
    for part in done:
        reasons.update({name: n for name, n in part.counts.items() if name.startswith("rejected.")})
    if not reasons:
        return []
    told = ", ".join(f"{number_words(n)} {name.removeprefix('rejected.')}" for name, n in reasons.most_common())
    return [f"Rejected, and not sent to the dead letters again: {told}."]


def verdict_view(
    verdicts: Sequence[Verdict], snapshot_words: str, missing: Sequence[str], *, equal: bool
) -> RenderableType:
    """How the checkpoints and the live policy compare with the log."""
    table = columns("log", "verdict", "from", "to", "records", "buckets", text=2)
    for verdict in verdicts:
        table.add_row(
            _log_words(verdict),
            Text("equal", "green") if verdict.equal else Text(f"{verdict.partings} part", "bold red"),
            *map(number_words, (verdict.start, verdict.next, verdict.records, verdict.buckets)),
        )
    lines = [*(_parting_words(verdict) for verdict in verdicts if not verdict.equal), snapshot_words]
    lines += [f"Not verified: {name}; give it with --source." for name in missing]
    words = "Equal, as far as it was verified." if missing else "Equal: what is stored is what the log says."
    told = Text(words, "bold green") if equal else Text("NOT equal.", "bold red")
    return Group(table, *map(Text, lines), told)


def _log_words(verdict: Verdict) -> str:
    return verdict.source or f"partition {verdict.partition}"


def _parting_words(verdict: Verdict) -> str:
    parting = verdict.parting
    assert parting is not None
    offsets = "no offset" if parting.first is None else f"offsets {parting.first} to {parting.last}"
    return (
        f"{_log_words(verdict).capitalize()} parts first in bucket {parting.bucket} "
        f"({time_words(parting.from_ms)} to {time_words(parting.to_ms)}), {offsets}: {parting.what}."
    )
