"""The parts of a shard, by event time: what a checkpoint stores under a name each, and which of them it has not yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Protocol, TypeVar

from alice_rl.online.decay import Bucket

__all__ = ["AllParts", "Part", "Parts"]


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
    read : callable
        Makes a part of its canonical bytes.

    Attributes
    ----------
    changed, removed : set of Bucket
        Those that differ from, or are gone since, the last checkpoint; emptied by `written`.
    """

    prefix: ClassVar[str] = ""
    """What the names of these parts begin with."""

    def __init__(self, span_ms: int, read: Callable[[bytes], P]) -> None:
        super().__init__()
        self._span_ms = span_ms
        self._read = read
        self.changed: set[Bucket] = set()
        self.removed: set[Bucket] = set()

    def name(self, bucket: Bucket) -> str:
        """What a checkpoint calls a part."""
        return f"{self.prefix}{bucket}"

    def load(self, bucket: Bucket, data: bytes) -> None:
        """Take a part back from its canonical bytes."""
        self[bucket] = self._read(data)

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


class AllParts:
    """The parts of several kinds together, as a checkpoint stores them.

    Parameters
    ----------
    *kinds : Parts
        Of different prefixes.
    """

    def __init__(self, *kinds: Parts[Any]) -> None:
        self._kinds = kinds

    def __iter__(self) -> Iterator[Parts[Any]]:
        return iter(self._kinds)

    def kind(self, name: str) -> Parts[Any]:
        """The kind that a name belongs to; those without a prefix come last."""
        return next(kind for kind in sorted(self._kinds, key=lambda k: -len(k.prefix)) if name.startswith(kind.prefix))

    def restore(self, parts: Mapping[str, bytes]) -> None:
        """Take the parts of a checkpoint back."""
        for name, data in parts.items():
            kind = self.kind(name)
            kind.load(kind.bucket(name), data)

    def digests(self) -> dict[str, str]:
        """SHA-256 of each part's canonical bytes, by name."""
        return {name: digest for kind in self._kinds for name, digest in kind.digests().items()}

    def changes(self) -> dict[str, bytes]:
        """The canonical bytes of what differs from the last checkpoint, by name."""
        return {name: data for kind in self._kinds for name, data in kind.changes().items()}

    def removals(self) -> tuple[str, ...]:
        """The names of what is gone since the last checkpoint."""
        return tuple(name for kind in self._kinds for name in kind.removals())

    def written(self) -> None:
        """To be called when a checkpoint has it all."""
        for kind in self._kinds:
            kind.written()
