"""Logs: silent for a library's user, JSON on stderr for the command line, and never a secret."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from alice_rl import log, log_output
from alice_rl.errors import ConfigError


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins with a process in which nobody has configured logs, and leaves it so."""
    structlog.reset_defaults()
    monkeypatch.setattr(log.Logger, "configured", 0)
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class TestUnconfigured:
    def test_a_library_prints_nothing(self) -> None:
        """In a fresh process that configures nothing, no line reaches stdout or stderr, not even an error."""
        code = "from alice_rl.log import get_logger; get_logger('a').info('a.b'); get_logger('b').error('a.b')"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert (done.stdout, done.stderr) == (b"", b"")

    def test_the_standard_library_sees_the_lines(self, caplog: pytest.LogCaptureFixture) -> None:
        """A user of `logging` gets them as messages of the logger `alice_rl`, with secrets masked."""
        with caplog.at_level(logging.INFO, "alice_rl"):
            log.get_logger("alice_rl.snapshot").info("snapshot.adopted", version=7, sasl_password="s3cret")
            log.get_logger("worker.service").warning("worker.stopped", share="5%")
        assert [(record.name, record.getMessage()) for record in caplog.records] == [
            ("alice_rl.snapshot", "snapshot.adopted version=7 sasl_password=***"),
            ("alice_rl.worker.service", "worker.stopped share=5%"),
        ]

    def test_exceptions_go_along(self, caplog: pytest.LogCaptureFixture) -> None:
        """An exception is handed to `logging` as one."""
        try:
            raise KeyError("gone")
        except KeyError:
            log.get_logger("alice_rl.x").exception("a.failed")
        assert caplog.records[0].exc_info is not None
        assert caplog.records[0].levelname == "ERROR"

    def test_an_application_with_structlog_gets_the_lines_there(self) -> None:
        """Where the application has set structlog up, its processors see the line with the logger's name."""
        with structlog.testing.capture_logs() as seen:
            log.get_logger("alice_rl.x").info("a.b", version=1)
        assert seen == [{"event": "a.b", "log_level": "info", "logger": "alice_rl.x", "version": 1}]


class TestJson:
    def test_a_line_is_one_json_object(self) -> None:
        """A line begins with time, level, event and logger, then its fields."""
        stream = io.StringIO()
        log_output.configure("json", stream=stream)
        log.get_logger("alice_rl.x").info("snapshot.published", version=7, seconds=0.5)
        (line,) = lines(stream)
        assert list(line) == ["timestamp", "level", "event", "logger", "version", "seconds"]
        assert line["timestamp"].endswith("Z")
        assert (line["level"], line["event"], line["logger"]) == ("info", "snapshot.published", "alice_rl.x")

    def test_lines_go_to_stderr(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Stdout is kept for results; stderr is looked up at each line, so that it may be replaced."""
        log_output.configure("json")
        log.get_logger("alice_rl.x").info("a.b")
        captured = capsys.readouterr()
        assert captured.out == ""
        assert json.loads(captured.err)["event"] == "a.b"

    def test_auto_is_json_where_nobody_watches(self) -> None:
        """A stream that is no terminal gets JSON."""
        stream = io.StringIO()
        log_output.configure("auto", stream=stream)
        log.get_logger("alice_rl.x").info("a.b")
        assert lines(stream)[0]["event"] == "a.b"

    def test_what_json_lacks_is_written_all_the_same(self) -> None:
        """Huge integers, lone surrogates, objects and NaN never lose a line."""
        stream = io.StringIO()
        log_output.configure("json", stream=stream)
        logger = log.get_logger("alice_rl.x")
        logger.info("a.b", huge=2**70)
        logger.info("a.b", text="\udc80")
        logger.info("a.b", thing=object(), number=float("nan"), table={1: {2}})
        assert [line["event"] for line in lines(stream)] == ["a.b"] * 3

    def test_an_exception_is_text_without_passwords(self) -> None:
        """A traceback is one field; a URL in it, or in a field, loses its password."""
        stream = io.StringIO()
        log_output.configure("json", stream=stream)
        try:
            raise ConnectionError("redis://me:s3cret@host:6379")
        except ConnectionError as error:
            log.get_logger("alice_rl.x").exception("redis.lost", error=error)
        (line,) = lines(stream)
        assert "redis://***@host:6379" in line["exception"]
        assert line["error"] == "redis://***@host:6379"
        assert "s3cret" not in stream.getvalue()

    def test_context_variables_are_part_of_the_line(self) -> None:
        """What is bound for a task stands on each of its lines."""
        stream = io.StringIO()
        log_output.configure("json", stream=stream)
        with structlog.contextvars.bound_contextvars(partition=3):
            log.get_logger("alice_rl.x").info("a.b")
        assert lines(stream)[0]["partition"] == 3

    def test_warnings_of_libraries_become_lines(self) -> None:
        """A library's warning is one `library.logged` line, however often `configure` ran."""
        stream = io.StringIO()
        log_output.configure("json", stream=io.StringIO())
        log_output.configure("json", stream=stream)
        logging.getLogger("aiokafka.conn").warning("lost %s", "redis://u:pw@host")
        logging.getLogger("aiokafka.conn").info("chatter")
        (line,) = lines(stream)
        assert (line["event"], line["level"], line["library"]) == (
            "library.logged",
            "warning",
            "aiokafka.conn",
        )
        assert line["message"] == "lost redis://***@host"


class TestLevels:
    def test_what_lies_below_the_level_is_dropped(self) -> None:
        """Debug is off at the level info, and on at the level debug."""
        stream = io.StringIO()
        logger = log.get_logger("alice_rl.x")
        log_output.configure("json", "info", stream=stream)
        logger.debug("a.b")
        assert stream.getvalue() == ""
        log_output.configure("json", "debug", stream=stream)
        logger.debug("a.b")
        assert len(lines(stream)) == 1

    def test_a_logger_made_before_follows_each_configuration(self) -> None:
        """Loggers made at import write to wherever the last `configure` said."""
        logger = log.get_logger("alice_rl.x")
        first, second = io.StringIO(), io.StringIO()
        for stream in (first, second):
            log_output.configure("json", stream=stream)
            logger.info("a.b")
        assert len(lines(first)) == len(lines(second)) == 1

    @pytest.mark.parametrize(("format", "level"), [("json", "loud"), ("xml", "info")])
    def test_unknown_words_are_refused(self, format: Any, level: str) -> None:
        """A format or a level that does not exist is a mistake in the configuration."""
        with pytest.raises(ConfigError, match="unknown"):
            log_output.configure(format, level)

    def test_tests_may_capture_after_configuring(self) -> None:
        """Structlog's own capture works on configured loggers, and the configuration holds again after it."""
        stream = io.StringIO()
        log_output.configure("json", stream=stream)
        logger = log.get_logger("alice_rl.x")
        logger.info("a.first")
        with structlog.testing.capture_logs() as seen:
            logger.info("a.b", version=1)
        logger.info("a.last")
        assert [line["event"] for line in seen] == ["a.b"]
        assert [line["event"] for line in lines(stream)] == ["a.first", "a.last"]


class TestConsole:
    def test_a_person_reads_text(self) -> None:
        """The console format is text with the event and its fields, without colours off a terminal."""
        stream = io.StringIO()
        log_output.configure("console", stream=stream)
        log.get_logger("alice_rl.x").info("snapshot.published", version=7, api_key="s3cret")
        text = stream.getvalue()
        assert "snapshot.published" in text
        assert "version=7" in text
        assert "api_key=***" in text
        assert "\x1b[" not in text

    def test_colours_are_for_terminals(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`auto` on a terminal is the console format in colours, unless NO_COLOR is set."""

        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        monkeypatch.delenv("NO_COLOR", raising=False)
        coloured, plain = Terminal(), Terminal()
        log_output.configure("auto", stream=coloured)
        log.get_logger("alice_rl.x").info("a.b")
        monkeypatch.setenv("NO_COLOR", "1")
        log_output.configure("auto", stream=plain)
        log.get_logger("alice_rl.x").info("a.b")
        assert "\x1b[" in coloured.getvalue()
        assert "\x1b[" not in plain.getvalue()


class TestRedaction:
    @pytest.mark.parametrize("name", ["password", "redis_password", "apiKey", "HMAC_KEY", "token", "sasl_mechanism"])
    def test_names_of_secrets_are_known(self, name: str) -> None:
        """A name with a secret's word in it is redacted, in any spelling."""
        assert log.redact(None, "info", {"event": "a.b", name: "s3cret"})[name] == "***"

    def test_other_names_are_left_alone(self) -> None:
        """A word that only contains one, a plural count and an unset secret are not redacted."""
        fields = {"monkey": "x", "tokens": 5, "keyboard": "y", "password": None}
        assert log.redact(None, "info", dict(fields)) == fields

    def test_secrets_inside_values_are_found(self) -> None:
        """Tables, lists and secrets under an innocent name are searched, to a bounded depth."""
        nested: dict[str, Any] = {"kafka": [{"password": "s3cret"}], "topic": log.SecretText("s3cret")}
        deep: Any = "s3cret"
        for _ in range(50):
            deep = [deep]
        redacted = log.redact(None, "info", {"event": "a.b", "config": nested, "deep": deep})
        assert redacted["config"] == {"kafka": [{"password": "***"}], "topic": "***"}
        assert "s3cret" not in repr(redacted)

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("redis://:p@ss@host", "redis://***@host"),
            ("redis://:pa/ss@host", "redis://***@host"),
            ("a://u:p@h, b://v:q@i", "a://***@h, b://***@i"),
            ("redis://host:6379/0?db=1&password=p", "redis://host:6379/0?db=1&password=***"),
            ("redis://host:6379/0", "redis://host:6379/0"),
            ("me@example.org", "me@example.org"),
        ],
    )
    def test_passwords_in_urls_are_hidden(self, text: str, shown: str) -> None:
        """Whatever stands between `://` and the last `@` of a URL is hidden; other texts stay."""
        assert log.hide_passwords(text) == shown
