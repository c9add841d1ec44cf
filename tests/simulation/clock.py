"""Virtual time, and processes that can be stopped and killed: an event loop whose clock jumps to its next timer.

Nothing waits: when no callback is ready, the clock moves to the next timer. Callbacks run in an order that depends on
the program alone, so a world is the same each time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

__all__ = ["PROCESS", "Process", "StuckError", "VirtualLoop", "outside"]

_H = TypeVar("_H", bound=asyncio.Handle)
_RESOLUTION_SECONDS = 1e-6  # timers so close to each other are due together

PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)
"""The simulated process that the running code belongs to; None for the world around them."""


class StuckError(Exception):
    """Nobody is ready, and nobody waits for a time: the world would stand still for ever."""


class _Timeless(selectors.BaseSelector):
    """A selector that never waits, and moves the clock instead."""

    def __init__(self) -> None:
        self.now = 0.0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)  # the loop's own wake-up pipe

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StuckError
        self.now += max(timeout, 0.0)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {}


class _Gate:
    """A callback of a process: it runs unless the process is stopped, and then once it goes on."""

    __slots__ = ("args", "callback", "context", "handle", "process")

    def __init__(self, process: Process, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.process = process
        self.callback = callback
        self.args = args
        self.context: Context | None = None
        self.handle: asyncio.Handle | None = None

    def __call__(self) -> None:
        if self.process.stopped:
            self.process.held.append(self)
        elif self.handle is None or not self.handle.cancelled():
            self.callback(*self.args)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, whose callbacks belong to the process in whose context they were scheduled."""

    def __init__(self) -> None:
        self._timeless = _Timeless()
        super().__init__(self._timeless)
        self._clock_resolution = _RESOLUTION_SECONDS
        self.set_task_factory(_registered)
        self.set_exception_handler(self._note)
        self.complaints: list[str] = []

    def time(self) -> float:
        return self._timeless.now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return self._gated(super().call_soon, callback, args, context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        def schedule(gate: Any, *rest: Any, context: Context) -> asyncio.TimerHandle:
            return super(VirtualLoop, self).call_at(when, gate, *rest, context=context)

        return self._gated(schedule, callback, args, context)

    def _gated(
        self,
        schedule: Callable[..., _H],
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: Context | None,
    ) -> _H:
        """Schedule a callback behind the gate of its process, when it has one."""
        context = copy_context() if context is None else context
        process = context.get(PROCESS)
        if process is None or isinstance(callback, _Gate):
            return schedule(callback, *args, context=context)
        gate = _Gate(process, callback, args)
        handle = schedule(gate, context=context)
        gate.context, gate.handle = context, handle
        return handle

    def _note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.complaints.append(f"{context.get('message')} {context.get('exception')!r}")


class Process:
    """What an operating system would call a process: tasks that live, stand still and die together.

    Attributes
    ----------
    dead, stopped : bool
    silent_since : float or None
        When it died or was stopped; None while it runs.
    """

    def __init__(self, name: str, loop: VirtualLoop) -> None:
        self.name = name
        self.dead = self.stopped = False
        self.silent_since: float | None = None
        self.held: list[_Gate] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self._loop = loop
        self.context = copy_context()
        self.context.run(PROCESS.set, self)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine as part of this process."""
        return self._loop.create_task(work, context=self.context.copy())

    def tell(self, callback: Callable[..., object], *args: Any) -> None:
        """Have a callback run within the process, when it runs."""
        self._loop.call_soon(callback, *args, context=self.context.copy())

    def stop(self) -> None:
        """SIGSTOP: not a callback runs until it goes on."""
        self.stopped, self.silent_since = True, self._loop.time()

    def go_on(self) -> None:
        """SIGCONT; to a process that runs, it is nothing."""
        if not self.stopped:
            return
        self.stopped, self.silent_since = False, None
        held, self.held = self.held, []
        for gate in held:
            self._loop.call_soon(gate, context=gate.context)

    def kill(self) -> None:
        """SIGKILL: nothing outside hears of it any more; whatever its tasks do to unwind ends at `outside`."""
        self.dead = True
        self.go_on()
        self.silent_since = self._loop.time()
        for task in self.tasks:
            task.cancel()


def outside() -> Process | None:
    """The process of the running code, to be asked for before anything is done outside it; a dead one gets no further.

    Raises
    ------
    asyncio.CancelledError
        The process was killed.
    """
    process = PROCESS.get()
    if process is not None and process.dead:
        raise asyncio.CancelledError
    return process


def _registered(loop: asyncio.AbstractEventLoop, work: Any, context: Context | None = None) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
    process = PROCESS.get() if context is None else context.get(PROCESS)
    if process is not None:
        process.tasks = [other for other in process.tasks if not other.done()]
        process.tasks.append(task)
        if process.dead:
            task.cancel()
    return task
