"""Reaching Redis: settings, addresses, and a start against servers that are away or unfit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
import redis.asyncio

from alice_rl.errors import ConfigError, DependencyError
from alice_rl.snapshot.connection import RedisSettings, address, connect, connect_async
from alice_rl.snapshot.store import Store
from tests.integration.store.steps import (
    WAIT_SECONDS,
)
from tests.services import RedisServer


@pytest.mark.parametrize("url", ["127.0.0.1:6379", "http://h", "redis://h:port/0", "redis://[::1/0"])
def test_an_unusable_url_is_a_config_error(url: str) -> None:
    """A URL that no client can be made from is refused with the forms that can."""
    for make in (connect, connect_async):
        with pytest.raises(ConfigError, match="redis.url"):
            make(RedisSettings(url=url))


def test_settings_that_contradict_each_other_are_refused() -> None:
    """TLS files without TLS, and a user without a password, name what is missing."""
    with pytest.raises(ConfigError, match="rediss://"):
        connect(RedisSettings(ssl_ca_file="ca.pem"))
    with pytest.raises(ConfigError, match="ALICE__REDIS__PASSWORD"):
        connect(RedisSettings(username="worker"), environ={})


def test_tls_files_user_and_password_reach_the_connection() -> None:
    """Every field of the section and the password end up in the client's options."""
    settings = RedisSettings(
        url="rediss://h:6380/2",
        username="worker",
        ssl_ca_file="ca.pem",
        ssl_cert_file="c.pem",
        ssl_key_file="k.pem",
        socket_timeout_seconds=3.0,
        connect_timeout_seconds=1.5,
    )
    for make in (connect, connect_async):
        options = make(settings, environ={"ALICE__REDIS__PASSWORD": "pw"}).connection_pool.connection_kwargs
        wanted = {"host": "h", "port": 6380, "db": 2, "username": "worker", "password": "pw"}
        wanted |= {"ssl_ca_certs": "ca.pem", "ssl_certfile": "c.pem", "ssl_keyfile": "k.pem"}
        wanted |= {"socket_timeout": 3.0, "socket_connect_timeout": 1.5, "protocol": 2}
        assert wanted.items() <= options.items()


def test_addresses_never_show_a_password() -> None:
    """Only scheme, host and path of a URL are fit for a log line."""
    assert address("redis://u:p@h:1/0") == "redis://h:1/0"
    assert address("unix:///run/r.sock?password=p") == "unix:///run/r.sock"


async def test_a_redis_that_evicts_is_refused_at_once() -> None:
    """A server that would delete shards is refused with the setting to change, without waiting."""
    with RedisServer(maxmemory="64mb", maxmemory_policy="allkeys-lru") as server:
        store = Store.from_settings(RedisSettings(url=server.url))
        with pytest.raises(DependencyError, match="allkeys-lru.*noeviction") as caught:
            await asyncio.wait_for(store.wait_ready(timeout_seconds=60), WAIT_SECONDS)
        assert caught.value.code == "redis_evicts"
        await store.close()


async def test_a_fit_redis_is_accepted(client: Any) -> None:
    """The default policy passes, and so does a server that cannot tell its policy."""
    await Store(client).ensure_ready()


async def test_a_start_waits_for_redis() -> None:
    """A Redis that comes up during the wait is used; one that never comes ends the wait with its address."""
    with RedisServer() as server:
        settings = RedisSettings(url=server.url, retries_max=0, connect_timeout_seconds=0.5)
        store = Store.from_settings(settings)
        await asyncio.to_thread(server.stop)
        with pytest.raises(DependencyError, match=str(server.port)) as caught:
            await store.wait_ready(timeout_seconds=0.3)
        assert caught.value.code == "redis_unreachable"
        waiting = asyncio.create_task(store.wait_ready(timeout_seconds=30))
        await asyncio.to_thread(server.restart)
        await asyncio.wait_for(waiting, WAIT_SECONDS)
        await store.close()


async def test_a_frozen_redis_is_a_dependency_error() -> None:
    """A server that holds the connection and says nothing is given up after the socket timeout."""
    with RedisServer() as server:
        store = Store.from_settings(RedisSettings(url=server.url, socket_timeout_seconds=0.2, retries_max=1))
        await store.ensure_ready()
        server.pause()
        try:
            with pytest.raises(DependencyError) as caught:
                await asyncio.wait_for(store.read_head(), WAIT_SECONDS)
            assert caught.value.code == "redis_unreachable"
        finally:
            server.resume()
        assert (await store.read_head()).seq == 0
        await store.close()


async def test_a_wrong_password_is_told_from_an_absent_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The password comes from the environment; a wrong one fails at once and the message shows neither."""
    with RedisServer() as server:
        with redis.Redis.from_url(server.url) as admin:
            admin.config_set("requirepass", "s3cret-word")
        store = Store.from_settings(RedisSettings(url=server.url.replace("//", "//default:wr0ng@")))
        with pytest.raises(DependencyError) as caught:
            await asyncio.wait_for(store.wait_ready(timeout_seconds=60), WAIT_SECONDS)
        assert caught.value.code == "redis_auth_failed"
        assert "wr0ng" not in str(caught.value)
        await store.close()
        monkeypatch.setenv("ALICE__REDIS__PASSWORD", "s3cret-word")
        right = Store.from_settings(RedisSettings(url=server.url, username="default"))
        await right.ensure_ready()
        await right.close()
