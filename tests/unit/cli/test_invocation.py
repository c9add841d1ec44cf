"""The global options: anywhere on the command line, the later one wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.runner import run
from worker.cli.invocation import Invocation

SHOW = ("config", "show", "--json")


class TestPlaces:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("--json", "--set", "kafka.topic=x", "config", "show"),
            ("config", "--json", "--set", "kafka.topic=x", "show"),
            ("config", "show", "--json", "--set", "kafka.topic=x"),
        ],
    )
    def test_they_stand_before_and_after_the_command(self, arguments: tuple[str, ...]) -> None:
        """Every level of the command line takes the global options."""
        assert run(*arguments).json["settings"]["kafka"]["topic"] == "x"

    def test_the_later_one_wins(self) -> None:
        """An option that is given twice counts as it was given last; overrides add up."""
        done = run(
            "--log-level",
            "error",
            "--set",
            "kafka.topic=a",
            *SHOW,
            "--set",
            "redis.retries_max=7",
            "--log-level",
            "debug",
        )
        settings = done.json["settings"]
        assert (settings["log"]["level"], settings["kafka"]["topic"], settings["redis"]["retries_max"]) == (
            "debug",
            "a",
            7,
        )

    def test_logs_have_options_of_their_own(self) -> None:
        """`--log-format` and `--log-level` override the section [log]."""
        log = run(*SHOW, "--log-format", "json", "--log-level", "warning").json["settings"]["log"]
        assert log == {"format": "json", "level": "warning"}


class TestFile:
    def test_the_folders_own_file_is_taken(self, nowhere: Path) -> None:
        """Without `--config`, config.toml of the working folder counts."""
        (nowhere / "config.toml").write_text('[kafka]\ntopic = "here"\n')
        assert run(*SHOW).json["settings"]["kafka"]["topic"] == "here"

    def test_a_named_file_is_taken_instead(self, nowhere: Path) -> None:
        """With `--config`, that file alone counts."""
        (nowhere / "config.toml").write_text('[kafka]\ntopic = "here"\n')
        (nowhere / "other.toml").write_text('[kafka]\ngroup_id = "g"\n')
        kafka = run(*SHOW, "--config", "other.toml").json["settings"]["kafka"]
        assert (kafka["topic"], kafka["group_id"]) == ("alice.telemetry", "g")

    def test_a_file_that_is_not_there_is_refused(self) -> None:
        """A configuration that was named but cannot be read is an error, not a default."""
        done = run("config", "check", "--config", "nowhere.toml")
        assert done.code == 2
        assert "nowhere.toml" in done.stderr


class TestOverrides:
    def test_an_override_beats_file_and_environment(self, nowhere: Path) -> None:
        """Command line over environment over file."""
        (nowhere / "config.toml").write_text('[kafka]\ntopic = "file"\ngroup_id = "file"\n')
        env = {"ALICE__KAFKA__TOPIC": "environment", "ALICE__KAFKA__GROUP_ID": "environment"}
        done = run(*SHOW, "--origin", "--set", "kafka.topic=flag", env=env).json
        assert (done["settings"]["kafka"]["topic"], done["settings"]["kafka"]["group_id"]) == ("flag", "environment")
        assert done["origins"]["kafka.topic"] == "flag --set kafka.topic"

    def test_a_value_may_hold_an_equals_sign(self) -> None:
        """Only the first sign divides key and value."""
        assert Invocation(overrides=("redis.url=redis://h/0?a=b",)).flags["redis.url"] == "redis://h/0?a=b"

    @pytest.mark.parametrize("override", ["kafka.topic", "topic=x", "=x"])
    def test_what_is_no_override_is_refused(self, override: str) -> None:
        """Anything but section.key=value is a usage error that says so."""
        done = run("config", "check", "--set", override)
        assert done.code == 2
        assert "--set takes section.key=value" in done.stderr

    def test_a_secret_is_refused_and_not_repeated(self) -> None:
        """A secret on the command line is refused, because other users can see it, and it is not printed again."""
        done = run("config", "check", "--json", "--set", "redis.password=s3cret")
        assert done.code == 2
        assert done.json["error"]["code"] == "config_secret_exposed"
        assert "s3cret" not in done.stdout + done.stderr
