"""The parts of a shard, by event time: what a checkpoint stores under a name each, and which of them it has not yet."""

from __future__ import annotations

from typing import ClassVar, Protocol, TypeVar

from alice_rl.online.decay import Bucket

__all__ = ["Part", "Parts"]


class Part(Protocol):
    """Sums that have canonical bytes."""

    def sealed(self) -> tuple[bytes, str]:
        """The canonical bytes and their SHA-256."""
        ...

    def digest(self) -> str:
        """SHA-256 of the canonical bytes, hexadecimal."""
        ...


P = TypeVar("P", bound=Part)


class Parts(dict[Bucket, P]):
    """Sums by interval of event time.

    Parameters
    ----------
    span_ms : int
        The finest interval.

    Attributes
    ----------
    changed, removed : set of Bucket
        Those that differ from, or are gone since, the last checkpoint; emptied by `written`.
    """

    prefix: ClassVar[str] = ""
    """What the names of these parts begin with."""

    def __init__(self, span_ms: int) -> None:
        super().__init__()
        self._span_ms = span_ms
        self.changed: set[Bucket] = set()
        self.removed: set[Bucket] = set()

    def name(self, bucket: Bucket) -> str:
        """What a checkpoint calls a part."""
        return f"{self.prefix}{bucket}"

    def bucket(self, name: str) -> Bucket:
        """The interval of the part that a checkpoint calls so."""
        return Bucket.parse(name.removeprefix(self.prefix))

    def span_ms(self, bucket: Bucket) -> int:
        """How much event time a part spans, ms."""
        return self._span_ms << bucket.level

    def digests(self) -> dict[str, str]:
        """SHA-256 of each part's canonical bytes, by name, in order."""
        return dict(sorted((self.name(bucket), part.digest()) for bucket, part in self.items()))

    def changes(self) -> dict[str, bytes]:
        """The canonical bytes of what differs from the last checkpoint."""
        return {self.name(bucket): self[bucket].sealed()[0] for bucket in self.changed}

    def removals(self) -> tuple[str, ...]:
        """The names of what is gone since the last checkpoint."""
        return tuple(map(self.name, self.removed))

    def written(self) -> None:
        """To be called when a checkpoint has it all."""
        self.changed.clear()
        self.removed.clear()
