"""What happened in a world, line by line: the same for the same seed."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from typing import Any

from tests.simulation.clock import PROCESS, VirtualLoop

__all__ = ["Trace", "TracingLogger"]

_LAST = 60
_UNTOLD = frozenset({"memory_bytes"})  # what this machine has to do with


class Trace:
    """The lines, their hash, and how often each kind of event was.

    Attributes
    ----------
    counts : Counter
        Events by name.
    last : deque of str
        The newest lines.
    """

    def __init__(self, loop: VirtualLoop, *, printed: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self.last: deque[str] = deque(maxlen=_LAST)
        self._loop = loop
        self._hash = hashlib.sha256()
        self._printed = printed

    @property
    def digest(self) -> str:
        """SHA-256 of all lines."""
        return self._hash.hexdigest()

    def note(self, event: str, **fields: Any) -> None:
        """Add a line. What a dead process says is not heard."""
        process = PROCESS.get()
        if process is not None and process.dead:
            return
        words = " ".join(f"{name}={value}" for name, value in fields.items() if name not in _UNTOLD)
        line = f"{self._loop.time():10.4f} {process.name if process else '-':5} {event} {words}"
        self.counts[event] += 1
        self.last.append(line)
        self._hash.update(line.encode() + b"\n")
        if self._printed:
            print(line, flush=True)


class TracingLogger:
    """In place of the project's logger: whatever is logged is a line of the trace."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def __getattr__(self, level: str) -> Any:
        return self._trace.note
