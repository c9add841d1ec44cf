"""Where the product's own log lines go: structlog to stderr, as JSON lines by orjson or in colours on a terminal.

Apart from `log.py`, so that importing the client does not import structlog and what that brings along.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Literal, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from alice_rl.errors import ConfigError
from alice_rl.log import LEVELS, Logger, get_logger, redact

__all__ = ["Format", "configure"]

Format = Literal["json", "console", "auto"]

_FIRST_KEYS = ("timestamp", "level", "event", "logger")


def configure(format: Format = "auto", level: str = "info", *, stream: TextIO | None = None) -> None:
    """Send the logs to stderr: JSON lines, or colours where a person is watching.

    Parameters
    ----------
    format : {"auto", "json", "console"}
        `auto` is console on a terminal and JSON elsewhere.
    level : {"debug", "info", "warning", "error"}
        What lies below is dropped before a line is put together.
    stream : file, optional
        In place of stderr.

    Raises
    ------
    ConfigError
        The format or the level is none of the above.

    Notes
    -----
    Warnings of libraries (aiokafka's, say) become `library.logged` lines, so that stderr stays readable by machine.
    Without `stream`, `sys.stderr` is looked up at each line, so it may be replaced later.
    """
    threshold = LEVELS.get(level)
    if threshold is None:
        raise ConfigError(f"log level {level!r} is unknown", hint=f"use one of {', '.join(LEVELS)}")
    if format not in ("auto", "json", "console"):
        raise ConfigError(f"log format {format!r} is unknown", hint="use one of auto, json, console")
    terminal = (stream or sys.stderr).isatty()
    console = format == "console" or (format == "auto" and terminal)
    structlog.configure(
        processors=[*_PROCESSORS, _console(terminal) if console else _render_json],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=_factory(stream, as_text=console),
        cache_logger_on_first_use=False,  # a logger caches by itself, and so a second call reaches every one
    )
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, _LibraryHandler)]
    root.addHandler(_LibraryHandler(logging.WARNING))
    Logger.reconfigured()


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
