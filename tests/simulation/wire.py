"""A Redis in memory, and the wire to it: commands and answers take time, get lost, are sent again, and come too late.

A command that was sent is no longer its sender's: it arrives even when the sender is stopped or dead by then.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
from collections.abc import Awaitable, Callable
from contextvars import Context
from random import Random
from typing import Any, cast

import fakeredis
from redis import exceptions
from redis.commands.core import AsyncScript

from alice_rl.snapshot import scripts
from tests.simulation.clock import VirtualLoop, outside
from tests.simulation.plan import Plan
from tests.simulation.trace import Trace

__all__ = ["Server", "Wire"]

_TIMEOUT_SECONDS = 1.0
_READING = frozenset({"ping", "info", "get", "hget", "hmget", "hgetall", "exists", "script_load", "read_head"})


class Server:
    """Redis itself.

    Attributes
    ----------
    away, read_only, out_of_memory : bool
    fates : dict of str to float
        How likely it is that a command is met by `request_lost`, `answer_lost` or `late`.
    retries_max : int
        How often the client repeats a command.
    heard : callable
        Called with script, keys, arguments and reply of each script that ran.
    """

    def __init__(self, loop: VirtualLoop, plan: Plan, trace: Trace) -> None:
        self.away = self.read_only = self.out_of_memory = False
        self.rng: Random = plan.rng("redis")
        self.fates: dict[str, float] = {}
        self.retries_max = plan.retries_max
        self.heard: Callable[[str, list[str], list[Any], list[Any]], None] = lambda *_: None
        self.loop = loop
        self.trace = trace
        self._names = {hashlib.sha1(scripts.source(name).encode()).hexdigest(): name for name in scripts.NAMES}
        self._server = fakeredis.FakeServer()
        self.direct: Any = fakeredis.FakeRedis(server=self._server)

    def carry_out(self, command: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The reply to a command, now; what Redis answers with an error is raised."""
        name = self._names.get(args[0], "") if command == "evalsha" else command
        if self.away:
            raise exceptions.ConnectionError("connection refused")
        if name not in _READING and self.read_only:
            raise exceptions.ReadOnlyError("You can't write against a read only replica.")
        if name not in _READING and self.out_of_memory:
            raise exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
        reply = getattr(self.direct, command)(*args, **kwargs)
        if command == "evalsha":
            count = args[1]
            self.trace.note(f"sim.{name}", key=args[2], arguments=_short(args[2 + count :]), reply=_short(reply))
            self.heard(name, list(args[2 : 2 + count]), list(args[2 + count :]), reply)
        return reply

    def flush_scripts(self) -> None:
        """SCRIPT FLUSH."""
        self.direct.script_flush()

    def copied(self) -> dict[bytes, tuple[Any, float | None]]:
        """All keys as they are, for `go_back`."""
        items = self._server.dbs[0]._dict.items()
        return {key: (copy.deepcopy(item.value), item.expireat) for key, item in items}

    def go_back(self, state: dict[bytes, tuple[Any, float | None]]) -> None:
        """Another server takes over that has seen nothing since: neither writes nor scripts."""
        database = self._server.dbs[0]
        items = {key: type(next(iter(database._dict.values())))(value) for key, (value, _) in state.items()}
        for key, (_, expires) in state.items():
            items[key].expireat = expires
        with self._server.lock:
            database.clear()
        database._dict.update(items)
        for key, item in items.items():
            database.schedule_expiry(key, item.expireat)
        self.flush_scripts()


class Wire:
    """A client of the server, as redis-py's asyncio client is one, as far as the store uses it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.connection_pool = server.direct.connection_pool  # asked for its encoder

    def register_script(self, script: str) -> AsyncScript:
        return AsyncScript(cast(Any, self), script)

    async def aclose(self) -> None:
        outside()

    def __getattr__(self, command: str) -> Callable[..., Awaitable[Any]]:
        if command.startswith("_"):
            raise AttributeError(command)

        async def send(*args: Any, **kwargs: Any) -> Any:
            return await self._send(command, args, kwargs)

        return send

    async def _send(self, command: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Send a command, and send it again when the connection breaks, as redis-py does without a word."""
        for attempt in range(self._server.retries_max + 1):
            outside()
            try:
                return await self._try(command, args, kwargs)
            except (exceptions.ConnectionError, exceptions.TimeoutError):
                if attempt == self._server.retries_max:
                    raise
            finally:
                outside()
            await asyncio.sleep(self._server.rng.uniform(0.0, 0.02 * 2**attempt))
        raise AssertionError

    async def _try(self, command: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        server, answer = self._server, self._server.loop.create_future()
        fate, seconds = self._fate(), server.rng.expovariate(1 / 0.002)
        if fate == "late":
            seconds += server.rng.uniform(_TIMEOUT_SECONDS, 8.0)
        if fate == "request_lost":
            self._later(seconds, _settle, answer, None, exceptions.ConnectionError("connection reset"))
        else:
            self._later(seconds, self._arrive, fate, answer, command, args, kwargs)
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return await answer
        except TimeoutError:
            raise exceptions.TimeoutError("Timeout reading from redis") from None

    def _arrive(
        self, fate: str, answer: asyncio.Future[Any], command: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        reply, error = None, None
        try:
            reply = self._server.carry_out(command, args, kwargs)
        except exceptions.RedisError as refusal:
            error = refusal
        if fate == "answer_lost":
            reply, error = None, exceptions.ConnectionError("connection reset")
        self._later(self._server.rng.expovariate(1 / 0.002), _settle, answer, reply, error)

    def _fate(self) -> str:
        for fate, chance in self._server.fates.items():
            if self._server.rng.random() < chance:
                self._server.trace.note(f"sim.{fate}")
                return fate
        return ""

    def _later(self, seconds: float, callback: Callable[..., None], *args: Any) -> None:
        self._server.loop.call_later(seconds, callback, *args, context=Context())


def _settle(answer: asyncio.Future[Any], reply: Any, error: BaseException | None) -> None:
    if answer.done():
        return  # nobody waits for it any more
    if error is None:
        answer.set_result(reply)
    else:
        answer.set_exception(error)


def _short(values: Any) -> str:
    return " ".join(str(value)[:40] for value in values if not isinstance(value, bytes) or len(value) < 80)[:200]
