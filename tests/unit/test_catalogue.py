"""The catalogue of log events: well formed, and held to by the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from alice_rl.catalogue import _DECLARED, EVENTS, LogEvent
from alice_rl.log import looks_secret

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for package in ("alice_rl", "worker") for path in (ROOT / package).rglob("*.py"))
LEVEL_OF_METHOD = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
}
NOT_FIELDS = {"exc_info", "stack_info"}
WRITTEN_BY_THE_LOGGER = {"timestamp", "level", "event", "logger", "exception"}


class Call(NamedTuple):
    """A logging call in the source; `name` is None if it is not a literal."""

    place: str
    method: str
    name: str | None
    fields: tuple[str | None, ...]


def is_logger(expression: ast.expr) -> bool:
    """`log`, `logger`, `_log`, `self._logger`, ..., or one of these with `.bind(...)`."""
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.lower().strip("_") in {"log", "logger"} or name.endswith(("_log", "_logger"))
        case ast.Call(func=ast.Attribute(value=inner, attr="bind")):
            return is_logger(inner)
    return False


def names(argument: ast.expr | None) -> tuple[str | None, ...]:
    """The literals that an argument may be; None stands for one that cannot be read."""
    match argument:
        case ast.Constant(value=str(name)):
            return (name,)
        case ast.IfExp(body=one, orelse=other):
            return names(one) + names(other)
    return (None,)


def calls_in(source: str, place: str = "example.py") -> Iterator[Call]:
    """Every call `logger.<level>(...)`, once for each name that it may log."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr=method)) if method in LEVEL_OF_METHOD:
                if is_logger(value):
                    fields = tuple(keyword.arg for keyword in node.keywords)
                    for name in names(node.args[0] if node.args else None):
                        yield Call(f"{place}:{node.lineno}", method, name, fields)


def complaints(call: Call) -> Iterator[str]:
    """What parts a call from the catalogue."""
    if call.name is None:
        yield f"{call.place}: the event's name is not a literal"
        return
    event = EVENTS.get(call.name)
    if event is None:
        yield f"{call.place}: {call.name!r} is not declared in alice_rl/catalogue.py"
        return
    if LEVEL_OF_METHOD[call.method] != event.level:
        yield f"{call.place}: {call.name} is declared as {event.level}, not {call.method}"
    for field in call.fields:
        if field is None:
            yield f"{call.place}: {call.name} takes **fields, which nobody can check"
        elif field not in event.fields and field not in NOT_FIELDS:
            yield f"{call.place}: {call.name} has no field {field!r}"


def all_calls() -> Iterator[Call]:
    for path in SOURCES:
        yield from calls_in(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))


@pytest.mark.parametrize("event", _DECLARED, ids=lambda event: event.name)
class TestDeclarations:
    def test_names_are_noun_and_past_participle(self, event: LogEvent) -> None:
        """A name is a noun, a dot and what happened to it; three names say what is, and are listed here."""
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*", event.name)
        if event.name not in {"worker.heartbeat", "kafka.unreachable", "redis.unreachable"}:
            assert event.name.endswith(("ed", "back", "sent", "written", "withdrawn"))

    def test_fields_are_snake_case_and_visible(self, event: LogEvent) -> None:
        """No field is named like a secret, which would be redacted, or like a key that every line has."""
        assert len(set(event.fields)) == len(event.fields)
        for field in event.fields:
            assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", field)
            assert not looks_secret(field)
            assert field not in WRITTEN_BY_THE_LOGGER

    def test_what_asks_for_a_person_says_what_to_do(self, event: LogEvent) -> None:
        """Warnings, errors and alerts tell the operator what to do; alerts are at least warnings."""
        if event.alerts or event.level in ("warning", "error"):
            assert event.what_to_do.endswith(".")
        if event.alerts:
            assert event.level in ("warning", "error")


def test_names_are_unique() -> None:
    """No event is declared twice."""
    assert len(EVENTS) == len(_DECLARED)


def test_every_logger_is_silent_until_configured() -> None:
    """Loggers come from `alice_rl.log`: structlog's own, or the root's, print into other people's output."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        if path.name not in ("log.py", "log_output.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("get_logger", "getLogger")
        if isinstance(node.value, ast.Name) and node.value.id in ("structlog", "logging")
    ]
    assert not found, f"use alice_rl.log.get_logger: {', '.join(found)}"


def test_every_logged_event_is_declared() -> None:
    """Every logging call in the source names a declared event, at its level, with declared fields."""
    found = [complaint for call in all_calls() for complaint in complaints(call)]
    assert not found, "\n".join(found)


def test_every_declared_event_is_logged() -> None:
    """Nothing is declared that the source never logs."""
    unused = sorted(set(EVENTS) - {call.name for call in all_calls()})
    assert not unused, f"declared but never logged: {', '.join(unused)}"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('logger.info("snapshot.vanished")', "not declared"),
        ('self._log.error("snapshot.published")', "declared as info"),
        ('log.info("snapshot.published", versoin=1)', "no field 'versoin'"),
        ('log.bind(partition=1).info("snapshot.published", **numbers)', "nobody can check"),
        ("_logger.warning(message)", "not a literal"),
        ('log.info("snapshot.published" if ok else "snapshot.lost")', "'snapshot.lost' is not declared"),
    ],
)
def test_the_check_finds_what_is_wrong(source: str, words: str) -> None:
    """The reader of the source sees every form of a call, and says what is wrong with it."""
    found = [complaint for call in calls_in(source) for complaint in complaints(call)]
    assert len(found) == 1
    assert words in found[0]


def test_the_check_passes_what_is_right() -> None:
    """A declared event with its fields and an exception is right, and so is another object's method."""
    source = 'log.info("snapshot.published", version=1, exc_info=True)\nparser.error("bad")\nmath.log.debug\n'
    assert [complaint for call in calls_in(source) for complaint in complaints(call)] == []
