"""Structured logs: one event a line on stderr, silent until the application asks for it.

    logger = get_logger(__name__); logger.info("snapshot.published", version=12)      (names: catalogue.py)

Where a line goes, from the first that applies:

1. `log_output.configure` was called (the command line does): stderr, as JSON lines, or in colours on a terminal. stdout
   is for results.
2. The application has configured structlog itself: its own processors.
3. Neither, as for an orchestrator that only imports the client: the standard library's logger `alice_rl`,
   which has a `NullHandler`. So nothing is printed until, say, `logging.basicConfig()` is called.

A logger asks anew at each call which of the three holds, so modules may make theirs at import.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["LEVELS", "SECRET_MARK", "Logger", "SecretText", "get_logger", "hide_passwords", "looks_secret", "redact"]


SECRET_MARK = "***"
"""What stands in place of a secret, wherever one would be shown."""

_LIBRARY = "alice_rl"
_SECRET_WORDS = frozenset({"credentials", "hmac", "key", "passphrase", "passwd", "password", "sasl", "secret", "token"})
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Za-z][a-z0-9]*")
_USERINFO = re.compile(r"(?<=://)[^\s\"',]*@")
_PARAMETER = re.compile(r"(?i)([?&][\w.-]*(?:password|secret|token|key)=)[^&\s\"',]+")
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
"""Least levels by name, as the standard library numbers them."""
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


def redact(_logger: object, _method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
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


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry `logger=name`; see the module's docstring for where they go."""
    return cast("FilteringBoundLogger", Logger(name))


class Logger:
    """Finds, at each call, the logger that is in force; after `configure` that is one comparison."""

    __slots__ = ("_bound", "_made_at", "_name", "_plain")
    configured = 0  # how often `log_output.configure` was called

    def __init__(self, name: str) -> None:
        self._name = name
        self._made_at = 0
        self._bound: Any = None
        self._plain = _Plain(name if name.partition(".")[0] == _LIBRARY else f"{_LIBRARY}.{name}")

    def __getattr__(self, method: str) -> Any:
        if method.startswith("__"):
            raise AttributeError(method)
        return getattr(self._current(), method)

    def _current(self) -> Any:
        structlog = sys.modules.get("structlog")
        if not Logger.configured:
            theirs = structlog is not None and structlog.is_configured()
            return self._structured(structlog) if theirs else self._plain
        if self._made_at != Logger.configured:
            self._bound = self._structured(structlog)
            self._made_at = Logger.configured
        return self._bound

    @classmethod
    def reconfigured(cls) -> None:
        """Make every logger look up structlog's configuration again."""
        cls.configured += 1

    def _structured(self, structlog: Any) -> Any:
        return structlog.get_logger(self._name).bind(logger=self._name)


class _Plain:
    """Lines for the standard library's logging: the event, then `key=value`."""

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def __getattr__(self, method: str) -> Any:
        level = logging.ERROR if method == "exception" else LEVELS.get(method)
        if level is None:
            raise AttributeError(method)
        return functools.partial(self._log, level, exc_info=method == "exception")

    def _log(self, level: int, event: str, *, exc_info: Any = None, **fields: object) -> None:
        if self._logger.isEnabledFor(level):
            shown = redact(None, "", dict(fields))
            words = [hide_passwords(event), *(f"{key}={value}" for key, value in shown.items())]
            self._logger.log(level, "%s", " ".join(words), exc_info=exc_info)
