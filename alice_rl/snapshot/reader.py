"""What a client of the policy sees of Redis: the head, the bytes of a snapshot, a hint of a change."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import redis

from alice_rl.snapshot import keys, scripts
from alice_rl.snapshot.connection import RedisSettings, address, connect, reaching
from alice_rl.snapshot.head import Head

__all__ = ["HeadReader"]


class HeadReader:
    """A synchronous, read-only view of one policy, with short timeouts.

    Parameters
    ----------
    client : redis.Redis
        Without `decode_responses`.
    policy : str
        Name of the policy.
    where : str
        Address for error messages, without a password.

    Notes
    -----
    `read_head` and `get_snapshot` may be called from several threads, `wait_for_hint` from one.
    Polling the head is the truth: pub/sub loses messages in a reconnect without saying so, so a hint only
    makes the next poll come earlier.
    """

    def __init__(self, client: redis.Redis, policy: str = "alice", *, where: str = "redis") -> None:
        # redis-py's annotations mix its two clients and change with releases: answers are typed here.
        self._redis: Any = client
        self._policy = policy
        self._where = where
        self._read_head = client.register_script(scripts.source("read_head"))
        self._hints: Any = None

    @classmethod
    def from_url(cls, url: str, policy: str = "alice", *, timeout_seconds: float = 0.5) -> Self:
        """A reader that gives up after `timeout_seconds` and repeats a command once, at once.

        Raises
        ------
        ConfigError
            The URL cannot be used.

        Notes
        -----
        The single repetition is for a connection that died while it was idle; anything longer is
        the caller's circuit breaker's to decide.
        """
        settings = RedisSettings(
            url=url,
            socket_timeout_seconds=timeout_seconds,
            connect_timeout_seconds=timeout_seconds,
            retries_max=1,
            retry_pause_max_seconds=0.0,
        )
        return cls.from_settings(settings, policy)

    @classmethod
    def from_settings(cls, settings: RedisSettings, policy: str = "alice") -> Self:
        """A reader with the timeouts of the config section. Raises as `from_url` does."""
        return cls(connect(settings), policy, where=address(settings.url))

    def read_head(self) -> Head:
        """The head and Redis's clock; an empty `Head` before the first publish.

        Raises
        ------
        DependencyError
            Redis is away.
        """
        with reaching(self._where):
            return Head.from_reply(self._read_head(keys=[keys.head(self._policy)]))

    def get_snapshot(self, version: int) -> bytes | None:
        """The bytes of one snapshot, None when it expired or never was. Raises as `read_head` does."""
        with reaching(self._where):
            blob: bytes | None = self._redis.get(keys.snapshot(self._policy, version))
        return blob

    def wait_for_hint(self, timeout_seconds: float) -> bool:
        """Whether a hint came within `timeout_seconds`; those that came together count as one.

        Raises
        ------
        DependencyError
            Redis is away; the next call subscribes anew.
        """
        try:
            with reaching(self._where):
                hinted = self._next_hint(timeout_seconds)
                while hinted and self._next_hint(0.0):
                    pass
                return hinted
        except BaseException:
            self._unsubscribe()
            raise

    def _next_hint(self, timeout_seconds: float) -> bool:
        if self._hints is None:
            self._hints = self._redis.pubsub(ignore_subscribe_messages=True)
            self._hints.subscribe(keys.events(self._policy))
            # The confirmation is a message of its own, which would end the first wait early.
            self._hints.get_message(timeout=timeout_seconds)
        return self._hints.get_message(timeout=timeout_seconds) is not None

    def _unsubscribe(self) -> None:
        hints, self._hints = self._hints, None
        if hints is not None:
            hints.close()

    def close(self) -> None:
        """Give the connections back; the reader is not used afterwards."""
        self._unsubscribe()
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
