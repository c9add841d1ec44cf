"""Savepoints on a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from worker.cli.output import size_words
from worker.cli.savepoint_files import Facts, Restored
from worker.cli.status_view import facts as fact_table
from worker.cli.status_view import time_words

__all__ = ["restored_view", "view"]


def view(facts: Facts) -> RenderableType:
    """What a savepoint is."""
    rows = [
        ("savepoint", f"{facts.file}, {size_words(facts.size_bytes)}"),
        ("digest", facts.digest),
        ("signed", "yes, but no key is configured here to check it" if facts.signed == "unchecked" else facts.signed),
        ("policy", facts.policy),
        ("lineage", f"{facts.lineage}, {'the active one' if facts.active else 'not the active one'}"),
        ("fingerprint", facts.fingerprint),
        ("created", time_words(facts.created_at_ms)),
        ("offsets", _offset_words(facts)),
        ("versions", _version_words(facts)),
        ("history", f"{facts.history_entries:,} entries" if facts.active else ""),
    ]
    warnings = [Text(f"warning: {warning}", style="yellow") for warning in facts.warnings]
    return Group(fact_table([row for row in rows if row[1]]), *warnings)


def restored_view(restored: Restored) -> RenderableType:
    """What was restored, what it replaced, and how to go on."""
    words = [f"replaced: {what}" for what in restored.replaced]
    words.append("Restored. Workers go on from these offsets; one that runs notices at its next record.")
    return Group(view(restored.savepoint), *map(Text, words))


def _offset_words(facts: Facts) -> str:
    return ", ".join(f"{partition}: {offset:,}" for partition, offset in facts.partitions.items()) or "none yet"


def _version_words(facts: Facts) -> str:
    if not facts.versions:
        return "none" if facts.active else ""
    first, last = facts.versions[0], facts.versions[-1]
    return f"{len(facts.versions)} from {first} to {last}, {facts.live} live"
