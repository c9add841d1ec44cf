"""Where the product's own log lines go: structlog to stderr, as JSON lines by orjson or in colours on a terminal.

Apart from `log.py`, so that importing the client does not import structlog and what that brings along.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from alice_rl.log import get_logger, redact

__all__ = ["install"]

_FIRST_KEYS = ("timestamp", "level", "event", "logger")


def install(*, console: bool, threshold: int, stream: TextIO | None) -> None:
    """Send every line at or above the numeric level `threshold` to `stream`, or to whatever stderr is by then."""
    structlog.configure(
        processors=[*_PROCESSORS, _console((stream or sys.stderr).isatty()) if console else _render_json],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=_factory(stream, as_text=console),
        cache_logger_on_first_use=False,  # a logger caches by itself, and so a second installation reaches every one
    )
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, _LibraryHandler)]
    root.addHandler(_LibraryHandler(logging.WARNING))


class _LibraryHandler(logging.Handler):
    """Passes other libraries' warnings on as `library.logged`."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            _library_log.warning("library.logged", library=record.name, message=text, exc_info=record.exc_info)
        except Exception:  # as every handler of the standard library: a log line must not end the program
            self.handleError(record)


def _render_json(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> bytes:
    """The line as JSON in UTF-8, the four keys of every line first."""
    line = {key: event_dict.pop(key) for key in _FIRST_KEYS if key in event_dict}
    line.update(event_dict)
    try:
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:  # an integer above 64 bits or a lone surrogate: the line matters more than its speed
        return json.dumps(line, default=str, skipkeys=True).encode("ascii")


def _console(terminal: bool) -> Processor:
    # The plain formatter, because the pretty ones print local variables, and with them secrets.
    return structlog.dev.ConsoleRenderer(
        colors=terminal and "NO_COLOR" not in os.environ,
        exception_formatter=structlog.dev.plain_traceback,
    )


def _factory(stream: TextIO | None, *, as_text: bool) -> Callable[..., WrappedLogger]:
    sink = cast(Any, _Sink(stream))
    return structlog.PrintLoggerFactory(sink) if as_text else structlog.BytesLoggerFactory(sink)


class _Sink:
    """A stream that takes bytes as well as text: the one handed in, else whatever `sys.stderr` is by then."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, line: bytes | str) -> None:
        stream = self._stream or sys.stderr
        if isinstance(line, str):
            stream.write(line)
        elif hasattr(stream, "buffer"):
            stream.buffer.write(line)
        else:  # a `StringIO`
            stream.write(line.decode())

    def flush(self) -> None:
        (self._stream or sys.stderr).flush()


_PROCESSORS: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    redact,  # after the exception has become text: a URL with a password is often found there
)
_library_log = get_logger("library")
