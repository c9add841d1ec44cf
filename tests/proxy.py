"""TCP proxies of the tests: connections that are cut, go silent, lose answers, or lead elsewhere by the next one."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import Self

__all__ = ["KafkaProxy", "LossyProxy", "Proxy"]

_FETCH = 1
_EMPTY_FETCH = {4: ">ii", 5: ">ii", 6: ">ii"} | dict.fromkeys((7, 8, 9, 10, 11), ">ihii")


class Proxy:
    """A TCP proxy on the loopback interface.

    Parameters
    ----------
    target : int
        Port that new connections lead to; it may be changed while the proxy runs.

    Attributes
    ----------
    target : int
    refusing : bool
        Whether new connections are closed at once.
    deaf_after : bytes or None
        What a client says before it hears nothing any more: answers on such a connection go nowhere.
    swallowed : int
        Answers that went nowhere.
    """

    def __init__(self, target: int = 0) -> None:
        self.target = target
        self.refusing = False
        self.deaf_after: bytes | None = None
        self.swallowed = 0
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)
        self.cut()

    @property
    def port(self) -> int:
        """Where the proxy listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """Break every connection that stands."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.close()
            return
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, upstream_writer}
        self._connect(reader, writer, upstream_reader, upstream_writer)

    def _connect(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream_reader: asyncio.StreamReader,
        upstream_writer: asyncio.StreamWriter,
    ) -> None:
        """Begin to relay one connection."""
        heard = bytearray()
        self._begin(reader, upstream_writer, heard, answers=False)
        self._begin(upstream_reader, writer, heard, answers=True)

    def _begin(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray, *, answers: bool
    ) -> None:
        task = asyncio.create_task(self._relay(reader, writer, heard, answers=answers))
        self._relays.add(task)
        task.add_done_callback(self._relays.discard)

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray, *, answers: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if not answers and self.deaf_after is not None:
                    heard += data
                if not self._passes(data, heard, answers=answers):
                    self.swallowed += 1
                    if self._breaks():
                        break
                    continue
                writer.write(data)
                await writer.drain()
        writer.close()

    def _passes(self, data: bytes, heard: bytearray, *, answers: bool) -> bool:
        """Whether to hand over what came; `heard` is what this connection has said, for a subclass to keep notes in."""
        return not (answers and self.deaf_after is not None and self.deaf_after in heard)

    def _breaks(self) -> bool:
        """Whether a swallowed answer takes its connection with it."""
        return False


class LossyProxy(Proxy):
    """Once armed, it swallows one answer and breaks that connection."""

    armed = False

    def _passes(self, data: bytes, heard: bytearray, *, answers: bool) -> bool:
        return not (answers and self.armed)

    def _breaks(self) -> bool:
        self.armed = False
        return True


class KafkaProxy(Proxy):
    """A proxy that speaks enough of Kafka's protocol to answer fetches by itself: with nothing, while `starving`.

    Requests are relayed one by one, as the broker answers them.
    """

    starving = False

    def _connect(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream_reader: asyncio.StreamReader,
        upstream_writer: asyncio.StreamWriter,
    ) -> None:
        task = asyncio.create_task(self._converse(reader, writer, upstream_reader, upstream_writer))
        self._relays.add(task)
        task.add_done_callback(self._relays.discard)

    async def _converse(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream_reader: asyncio.StreamReader,
        upstream_writer: asyncio.StreamWriter,
    ) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = await _frame(reader)
                key, version, correlation = struct.unpack_from(">hhi", request)
                if key == _FETCH and self.starving:
                    self.swallowed += 1
                    await asyncio.sleep(0.05)
                    layout = _EMPTY_FETCH[version]
                    answer = struct.pack(">i", correlation) + bytes(struct.calcsize(layout))
                else:
                    upstream_writer.write(struct.pack(">i", len(request)) + request)
                    answer = await _frame(upstream_reader)
                writer.write(struct.pack(">i", len(answer)) + answer)
                await writer.drain()
        writer.close()
        upstream_writer.close()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(size)
