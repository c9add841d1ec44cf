"""The audit in lines: who published, promoted and rolled back what, and why; the newest first.

A worker publishes every second, and a person looks for what stands between its publications: they are folded together.
What somebody imported is a line of its own.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, structs

from alice_rl.snapshot.records import HistoryEntry
from alice_rl.snapshot.store import Store
from worker.cli.inspector import inspecting
from worker.cli.policy_audit_words import publishes_words, words_of
from worker.settings import Settings

__all__ = ["Line", "Lines", "read_audit"]

_PAGE = 1000


class Line(Struct, frozen=True, kw_only=True):
    """One entry of the audit, or several publications in a row.

    Attributes
    ----------
    id : str
        Of the newest entry.
    ts_ms, first_ms : int
        When, by Redis's clock, ms since the epoch; `first_ms` is the oldest entry's.
    kind : str
    words : str
        What happened.
    who, why : str
    entries : int
        How many were folded together.
    went_live : int
        How many of these publications went live at once.
    versions : (int, int) or None
        The oldest and the newest of publications.
    fields : dict of str to str
        The newest entry's own, as they are stored; without `who`, `why` and `detail`.
    detail : dict or None
        The numbers behind it, where some were written down.
    """

    id: str
    ts_ms: int
    first_ms: int
    kind: str
    words: str
    who: str
    why: str
    entries: int = 1
    went_live: int = 0
    versions: tuple[int, int] | None = None
    fields: dict[str, str] = {}
    detail: dict[str, Any] | None = None

    @classmethod
    def of(cls, entry: HistoryEntry) -> Line:
        """The line of one entry."""
        fields = dict(entry.fields)
        who, why, detail = (fields.pop(name, "") for name in ("who", "why", "detail"))
        version = fields.get("version", "")
        published = entry.kind in ("publish", "takeover") and version.isdecimal()
        numbers = _decoded(detail)
        line = cls(
            id=entry.id,
            ts_ms=entry.ts_ms,
            first_ms=entry.ts_ms,
            kind=entry.kind,
            words="",
            who=who,
            why=why,
            went_live=int(published and fields.get("live") == version),
            versions=(int(version), int(version)) if published else None,
            fields=fields,
            detail=numbers,
        )
        return structs.replace(line, words=words_of(line.kind, fields, numbers))

    @property
    def folds(self) -> bool:
        """Whether it is a publication like any other: nobody gave a reason for it."""
        return self.kind == "publish" and self.versions is not None and not self.why and self.detail is None

    def with_older(self, older: Line) -> Line:
        """One line for these publications and the one right before them."""
        assert self.versions is not None and older.versions is not None
        entries, went_live = self.entries + older.entries, self.went_live + older.went_live
        first, newest = min(self.versions[0], older.versions[0]), max(self.versions[1], older.versions[1])
        who = self.who.split(", ")
        return structs.replace(
            self,
            first_ms=older.first_ms,
            words=publishes_words(entries, first, newest, went_live),
            entries=entries,
            went_live=went_live,
            versions=(first, newest),
            who=self.who if older.who in who else ", ".join([*who, older.who]),
        )


class Lines:
    """The newest lines of an audit that is handed over entry by entry, the newest first.

    Parameters
    ----------
    limit : int
        Lines at most.
    fold : bool
        Whether publications in a row are one line.

    Attributes
    ----------
    lines : list of Line
    """

    def __init__(self, limit: int, *, fold: bool) -> None:
        self.lines: list[Line] = []
        self._limit = limit
        self._fold = fold

    def add(self, entry: HistoryEntry) -> bool:
        """Take in the next older entry; False when there is no room for it."""
        line = Line.of(entry)
        if self._fold and line.folds and self.lines and self.lines[-1].folds:
            self.lines[-1] = self.lines[-1].with_older(line)
            return True
        if len(self.lines) == self._limit:
            return False
        self.lines.append(line)
        return True


async def read_audit(settings: Settings, limit: int, *, fold: bool) -> list[Line]:
    """The newest lines of the audit.

    Raises
    ------
    DependencyError
        Redis is away.
    """
    lines = Lines(limit, fold=fold)
    async with inspecting(settings, Store) as store:
        until = "+"
        while True:
            page = await store.history(_PAGE, until=until)
            unread = [entry for entry in page if entry.id != until]
            if not all(lines.add(entry) for entry in unread) or len(page) < _PAGE:
                return lines.lines
            until = page[-1].id


def _decoded(detail: str) -> dict[str, Any] | None:
    """The numbers in a detail; None when there are none, or when it is something else."""
    try:
        numbers = msgspec.json.decode(detail) if detail else None
    except msgspec.DecodeError:
        return None
    return numbers if isinstance(numbers, dict) else None
