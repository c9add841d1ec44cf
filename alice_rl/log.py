"""Structured logs: one event a line on stderr, silent until the application asks for it.

    logger = get_logger(__name__); logger.info("snapshot.published", version=12)      (names: catalogue.py)

Where a line goes, from the first that applies:

1. `configure` was called (the command line does): stderr, as JSON lines, or in colours on a terminal. stdout
   is for results.
2. The application has configured structlog itself: its own processors.
3. Neither, as for an orchestrator that only imports the client: the standard library's logger `alice_rl`,
   which has a `NullHandler`. So nothing is printed until, say, `logging.basicConfig()` is called.

A logger asks anew at each call which of the three holds, so modules may make theirs at import.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from alice_rl.errors import ConfigError

__all__ = ["SECRET_MARK", "SecretText", "configure", "get_logger", "hide_passwords", "looks_secret", "redact"]

Format = Literal["json", "console", "auto"]
_PlainCall = tuple[tuple[str], dict[str, Any]]

SECRET_MARK = "***"
"""What stands in place of a secret, wherever one would be shown."""

_LIBRARY = "alice_rl"
_SECRET_WORDS = frozenset({"credentials", "hmac", "key", "passphrase", "passwd", "password", "sasl", "secret", "token"})
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Za-z][a-z0-9]*")
_USERINFO = re.compile(r"(?<=://)[^\s\"',]*@")
_PARAMETER = re.compile(r"(?i)([?&][\w.-]*(?:password|secret|token|key)=)[^&\s\"',]+")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_FIRST_KEYS = ("timestamp", "level", "event", "logger")
_DEPTH_MAX = 4

logging.getLogger(_LIBRARY).addHandler(logging.NullHandler())


class SecretText(str):
    """A text that is shown as `***` by `repr` and in every log line; `str` operations see the text itself.

    Notes
    -----
    msgspec refuses to encode it, which is meant: a secret never gets into a snapshot or a fingerprint.

    Examples
    --------
    >>> [SecretText("s3cret")], SecretText("s3cret") == "s3cret"
    ([***], True)
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return SECRET_MARK


@functools.lru_cache(maxsize=1024)
def looks_secret(name: str) -> bool:
    """Whether a field of this name is redacted: one of its words is password, token, key, sasl and the like.

    Examples
    --------
    >>> [looks_secret(name) for name in ("sasl_password", "apiKey", "tokens", "monkey")]
    [True, True, False, False]
    """
    return any(word.lower() in _SECRET_WORDS for word in _WORDS.findall(name))


def hide_passwords(text: str) -> str:
    """The text with the user and password of every URL in it replaced, and secrets among its parameters.

    Examples
    --------
    >>> hide_passwords("Error 111 connecting to redis://:s3cret@10.0.0.7:6379/0")
    'Error 111 connecting to redis://***@10.0.0.7:6379/0'
    """
    if "://" not in text:
        return text
    return _PARAMETER.sub(rf"\1{SECRET_MARK}", _USERINFO.sub(f"{SECRET_MARK}@", text))


def redact(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """A structlog processor: values of secret-looking keys, and passwords inside URLs, become `***`."""
    return {key: _redacted(key, value, 0) for key, value in event_dict.items()}


def _redacted(key: str, value: object, depth: int) -> object:
    if isinstance(value, SecretText) or (value is not None and looks_secret(key)):
        return SECRET_MARK
    match value:
        case str() | BaseException():
            return hide_passwords(str(value))
        case Mapping() if depth < _DEPTH_MAX:
            return {name: _redacted(str(name), item, depth + 1) for name, item in value.items()}
        case list() | tuple() if depth < _DEPTH_MAX:
            return [_redacted(key, item, depth + 1) for item in value]
    return "..." if isinstance(value, (Mapping, list, tuple)) else value


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
    Warnings of libraries (aiokafka's, say) become `library.logged` lines, so that stderr stays readable by
    machine. Without `stream`, `sys.stderr` is looked up at each line, so it may be replaced later.
    """
    threshold = _LEVELS.get(level)
    if threshold is None:
        raise ConfigError(f"log level {level!r} is unknown", hint=f"use one of {', '.join(_LEVELS)}")
    if format not in ("auto", "json", "console"):
        raise ConfigError(f"log format {format!r} is unknown", hint="use one of auto, json, console")
    terminal = (stream or sys.stderr).isatty()
    console = format == "console" or (format == "auto" and terminal)
    structlog.configure(
        processors=[*_PROCESSORS, _console(terminal) if console else _render_json],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=_factory(stream, as_text=console),
        cache_logger_on_first_use=False,  # `_Logger` caches, and so a second `configure` reaches every logger
    )
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, _LibraryHandler)]
    root.addHandler(_LibraryHandler(logging.WARNING))
    _Logger.configured += 1


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry `logger=name`; see the module's docstring for where they go."""
    return cast(FilteringBoundLogger, _Logger(name))


class _Logger:
    """Finds, at each call, the logger that is in force; after `configure` that is one comparison."""

    __slots__ = ("_bound", "_made_at", "_name", "_plain", "_theirs")
    configured = 0

    def __init__(self, name: str) -> None:
        self._name = name
        self._made_at = 0
        self._bound: Any = None
        self._theirs: Any = structlog.get_logger(name)
        self._plain: Any = _stdlib_logger(name)

    def __getattr__(self, method: str) -> Any:
        if method.startswith("__"):
            raise AttributeError(method)
        return getattr(self._current(), method)

    def _current(self) -> Any:
        if not _Logger.configured:
            return self._theirs.bind(logger=self._name) if structlog.is_configured() else self._plain
        if self._made_at != _Logger.configured:
            self._bound = self._theirs.bind(logger=self._name)
            self._made_at = _Logger.configured
        return self._bound


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


def _render_plain(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> _PlainCall:
    """The line as a message for the standard library: the event, then `key=value`."""
    exc_info = event_dict.pop("exc_info", None)
    words = [str(event_dict.pop("event")), *(f"{key}={value}" for key, value in event_dict.items())]
    return (" ".join(words),), {"exc_info": exc_info}


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


def _stdlib_logger(name: str) -> FilteringBoundLogger:
    below = name if name.partition(".")[0] == _LIBRARY else f"{_LIBRARY}.{name}"
    plain: FilteringBoundLogger = structlog.wrap_logger(
        logging.getLogger(below),
        processors=[structlog.stdlib.filter_by_level, redact, _render_plain],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return plain


_PROCESSORS: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    redact,  # after the exception has become text: a URL with a password is often found there
)
_library_log = get_logger("library")
