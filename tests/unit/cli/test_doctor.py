"""`alice-rl doctor`: what each finding comes to."""

from __future__ import annotations

from typing import Any

import pytest

from alice_rl.errors import ConfigError, DependencyError
from tests.unit.cli.runner import run
from worker.cli.checks import Check, exit_code, failed
from worker.cli.checks_redis import _eviction_check, _persistence_check, _version_check

AWAY = (
    *("--set", "redis.url=redis://127.0.0.1:1/0", "--set", "redis.retries_max=0"),
    *("--set", "kafka.bootstrap_servers=127.0.0.1:1"),
)


def named(done: Any) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in done.json["checks"]}


class TestExitCode:
    @pytest.mark.parametrize(
        ("statuses", "code"),
        [
            (("ok", "warning", "skipped"), 0),
            (("ok", "failed", "warning"), 1),
            (("failed", "unreachable", "skipped"), 3),
            ((), 0),
        ],
    )
    def test_the_worst_finding_counts(self, statuses: tuple[Any, ...], code: int) -> None:
        """Warnings are 0, a failed check 1, an unreachable dependency 3."""
        assert exit_code([Check("c", status, "m") for status in statuses]) == code

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (DependencyError("m", code="redis_unreachable"), "unreachable"),
            (DependencyError("m", code="kafka_unreachable"), "unreachable"),
            (DependencyError("m", code="redis_auth_failed"), "failed"),
            (ConfigError("m"), "failed"),
        ],
    )
    def test_a_refusal_is_not_an_absence(self, error: Any, status: str) -> None:
        """Who answers "no" was reached: that is a failed check."""
        assert failed("c", error).status == status


class TestRedis:
    @pytest.mark.parametrize(
        ("info", "status"),
        [
            ({"maxmemory_policy": "noeviction"}, "ok"),
            ({"maxmemory_policy": "allkeys-lru"}, "failed"),
            ({}, "ok"),
            (None, "warning"),
        ],
    )
    def test_eviction(self, info: dict[str, Any] | None, status: str) -> None:
        """A Redis that evicts fails; one that may not be asked is a warning."""
        assert _eviction_check(info).status == status

    @pytest.mark.parametrize(
        ("info", "status"),
        [
            ({"role": "master", "aof_enabled": 1}, "ok"),
            ({"role": "master", "aof_enabled": 0}, "warning"),
            ({"role": "slave", "aof_enabled": 1}, "failed"),
            (None, "warning"),
        ],
    )
    def test_persistence(self, info: dict[str, Any] | None, status: str) -> None:
        """A replica fails; a Redis that keeps nothing on disk is a warning."""
        assert _persistence_check(info).status == status

    @pytest.mark.parametrize(
        ("version", "status"), [("7.2.4", "ok"), ("6.2.14", "ok"), ("5.0.7", "warning"), ("", "ok")]
    )
    def test_version(self, version: str, status: str) -> None:
        """A Redis older than any that was tested is a warning."""
        assert _version_check("redis://h/0", version, 0.001).status == status


class TestCommand:
    def test_both_dependencies_away(self) -> None:
        """Nothing answers: exit code 3, one finding each, and the rest is skipped rather than waited for."""
        done = run("doctor", "--json", *AWAY)
        assert (done.code, done.json["ok"]) == (3, False)
        checks = named(done)
        assert checks["config"]["status"] == "ok"
        for name in ("redis", "kafka"):
            assert checks[name]["status"] == "unreachable" and "127.0.0.1:1" in checks[name]["message"]
            assert checks[name]["hint"]
        assert checks["redis eviction"]["status"] == checks["kafka topic"]["status"] == "skipped"

    def test_people_see_what_to_do(self) -> None:
        """Each finding is a line, and the advice stands below it."""
        shown = run("doctor", *AWAY).stdout
        assert "unreachable  redis: " in shown
        assert "-> is Redis running" in shown

    def test_a_wrong_configuration_is_the_first_finding(self) -> None:
        """Without a configuration nothing can be looked at: exit code 2, and the list says why."""
        done = run("doctor", "--json", "--set", "kafka.topc=x")
        assert done.code == 2
        assert named(done)["config"]["hint"] == "did you mean 'kafka.topic'?"
        assert run("doctor", "--set", "kafka.topc=x").stderr.startswith("error: unknown key 'kafka.topc'")

    def test_secrets_are_never_printed(self) -> None:
        """An address with a password, and secrets of the environment, stay unseen."""
        env = {"ALICE__REDIS__PASSWORD": "s3cret", "ALICE__KAFKA__SASL_PASSWORD": "s3cret"}
        url = ("--set", "redis.url=redis://u:s3cret@127.0.0.1:1/0")
        done = run("doctor", "--json", *AWAY, *url, env=env)
        assert "s3cret" not in done.stdout + done.stderr
