"""How Redis is reached: the config section `redis`, the two clients made from it, and what its failures mean.

redis-py repeats a command by itself when the connection breaks, so only what may run twice may be sent:
reads, and the scripts of this package. Errors of the connection and of the server's set-up become
`DependencyError` in `reaching`, and nowhere else; any other error of Redis is a bug and crashes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import redis
import redis.asyncio
from msgspec import Meta
from redis import exceptions
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from alice_rl.errors import ConfigError, DependencyError

__all__ = [
    "PASSWORD_VARIABLE",
    "RedisSettings",
    "address",
    "connect",
    "connect_async",
    "is_transient",
    "reaching",
]

PASSWORD_VARIABLE = "ALICE__REDIS__PASSWORD"
_BACKOFF_BASE_SECONDS = 0.02
_Client = TypeVar("_Client", redis.Redis, redis.asyncio.Redis)


_SECRET = {"secret": True}  # as in `alice_rl.settings`, which a client of the policy need not load


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Config section `redis`."""

    url: Annotated[str, Meta(description="redis://host:port/db, rediss://host:port/db for TLS, or unix:///path")] = (
        "redis://127.0.0.1:6379/0"
    )
    username: Annotated[str, Meta(description='ACL user; "" for the default user')] = ""
    password: Annotated[str, Meta(extra=_SECRET, description="password; environment or file only")] = ""
    ssl_ca_file: Annotated[str, Meta(description='PEM of the authorities; "" for the system\'s own')] = ""
    ssl_cert_file: Annotated[str, Meta(description='PEM of the client\'s certificate; "" for none')] = ""
    ssl_key_file: Annotated[str, Meta(description='PEM of the client\'s key; "" for none')] = ""
    socket_timeout_seconds: Annotated[float, Meta(gt=0, le=300, description="longest wait for an answer")] = 5.0
    connect_timeout_seconds: Annotated[float, Meta(gt=0, le=300, description="longest wait for a connection")] = 2.0
    retries_max: Annotated[
        int, Meta(ge=0, le=100, description="repetitions of a command after a broken connection")
    ] = 3
    retry_pause_max_seconds: Annotated[
        float, Meta(ge=0, le=60, description="longest pause between them; pauses grow and are jittered")
    ] = 1.0
    start_timeout_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="how long a start waits for Redis before it gives up")
    ] = 30.0


def connect(settings: RedisSettings, environ: Mapping[str, str] = os.environ) -> redis.Redis:
    """A synchronous client; it connects at its first command.

    Raises
    ------
    ConfigError
        The URL or its companions cannot be used.
    """
    pause = ExponentialWithJitterBackoff(cap=settings.retry_pause_max_seconds, base=_BACKOFF_BASE_SECONDS)
    options = _options(settings, environ) | {"retry": Retry(pause, settings.retries_max)}
    return _from_url(redis.Redis, settings, options)


def connect_async(settings: RedisSettings, environ: Mapping[str, str] = os.environ) -> redis.asyncio.Redis:
    """An asyncio client; it connects at its first command. Raises as `connect` does."""
    pause = ExponentialWithJitterBackoff(cap=settings.retry_pause_max_seconds, base=_BACKOFF_BASE_SECONDS)
    options = _options(settings, environ) | {"retry": AsyncRetry(pause, settings.retries_max)}
    return _from_url(redis.asyncio.Redis, settings, options)


def address(url: str) -> str:
    """The URL without user and password, fit for a log line.

    Examples
    --------
    >>> address("rediss://worker:secret@cache.example:6380/2?password=secret")
    'rediss://cache.example:6380/2'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _options(settings: RedisSettings, environ: Mapping[str, str]) -> dict[str, Any]:
    """Keyword arguments that both clients understand.

    Notes
    -----
    RESP2 is asked for by name: replies then have one shape whatever the server and the release of redis-py.
    """
    # Settings made in code, as by `PolicyClient.from_url`, have not read the environment.
    password = settings.password or environ.get(PASSWORD_VARIABLE) or None
    if settings.username and password is None:
        raise ConfigError("redis.username is set without a password", hint=f"export {PASSWORD_VARIABLE}")
    options: dict[str, Any] = {
        "protocol": 2,
        "decode_responses": False,
        "username": settings.username or None,
        "password": password,
        "socket_timeout": settings.socket_timeout_seconds,
        "socket_connect_timeout": settings.connect_timeout_seconds,
    }
    return options | _tls_options(settings)


def _from_url(client: type[_Client], settings: RedisSettings, options: dict[str, Any]) -> _Client:
    try:
        made: _Client = client.from_url(settings.url, **options)
    except ValueError:
        # Neither the URL nor the parser's complaint is shown: a password with a "/" in it ends up in both.
        raise ConfigError(
            "redis.url cannot be read",
            hint="use redis://host:port/db, rediss://host:port/db for TLS, or unix:///path, percent-encoded",
        ) from None
    return made


def _tls_options(settings: RedisSettings) -> dict[str, str]:
    given = {
        "ssl_ca_certs": settings.ssl_ca_file,
        "ssl_certfile": settings.ssl_cert_file,
        "ssl_keyfile": settings.ssl_key_file,
    }
    options = {name: path for name, path in given.items() if path}
    if options and not settings.url.startswith("rediss://"):
        raise ConfigError("redis.ssl_* files are set but redis.url is not TLS", hint="use a rediss:// URL")
    return options


# What an answer of Redis means to an operator: the error's class, or, where the script of an older server
# wraps the answer in its own words, the text to look for. The first match counts.
_REFUSALS: tuple[tuple[type[Exception] | None, str, str], ...] = (
    (exceptions.AuthenticationError, "WRONGPASS", "redis_auth_failed"),
    (exceptions.NoPermissionError, "NOPERM", "redis_not_permitted"),
    (exceptions.BusyLoadingError, "LOADING", "redis_loading"),
    (exceptions.OutOfMemoryError, "OOM command", "redis_out_of_memory"),
    (exceptions.ReadOnlyError, "READONLY", "redis_read_only"),
    (exceptions.NoScriptError, "NOSCRIPT", "redis_scripts_flushed"),
    (exceptions.ClusterDownError, "MASTERDOWN", "redis_cluster_down"),
    (None, "MISCONF", "redis_cannot_persist"),
    (None, "BUSY Redis is busy", "redis_busy"),
    (exceptions.ConnectionError, "", "redis_unreachable"),
    (exceptions.TimeoutError, "", "redis_unreachable"),
)
_HINTS = {
    "redis_auth_failed": f"check redis.username and {PASSWORD_VARIABLE}",
    "redis_not_permitted": "allow the ACL user the keys ~alice:* and the channels &alice:*",
    "redis_loading": "Redis is reading its data from disk; wait",
    "redis_out_of_memory": "raise maxmemory; nothing was written",
    "redis_read_only": "this is a replica; point redis.url at the primary",
    "redis_scripts_flushed": "between loading a script and running it; the next attempt loads it again",
    "redis_cluster_down": "wait for the failover to end",
    "redis_cannot_persist": "Redis cannot write to its disk; see its log",
    "redis_busy": "another client's script is running; wait",
    "redis_unreachable": "is Redis running, is redis.url right, and does it answer in time?",
}
_TRANSIENT = frozenset(
    {
        "redis_unreachable",
        "redis_loading",
        "redis_read_only",
        "redis_scripts_flushed",
        "redis_cluster_down",
        "redis_busy",
    }
)


def is_transient(error: DependencyError) -> bool:
    """Whether waiting may help: a failure that needs a person is not worth a retry."""
    return error.code in _TRANSIENT


@contextmanager
def reaching(where: str) -> Iterator[None]:
    """A block that talks to Redis at `where`.

    Raises
    ------
    DependencyError
        Redis cannot be reached, or refuses for a reason that lies in its set-up; `code` says which.
    """
    try:
        yield
    except exceptions.RedisError as error:
        code = _refusal(error)
        if code is None:
            raise
        raise DependencyError(f"Redis at {where}: {error}", code=code, hint=_HINTS[code]) from error


def _refusal(error: exceptions.RedisError) -> str | None:
    text = str(error)
    for kind, marker, code in _REFUSALS:
        if (kind is not None and isinstance(error, kind)) or (marker and marker in text):
            return code
    return None
