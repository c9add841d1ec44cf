"""The doctor's checks: what one found, and what all of them come to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from alice_rl.errors import AliceError, DependencyError
from alice_rl.snapshot.connection import is_transient

__all__ = ["Check", "exit_code", "failed", "ok", "skipped", "unreachable", "warning"]

Status = Literal["ok", "warning", "failed", "unreachable", "skipped"]


class Check(Struct, frozen=True):
    """One check: what was looked at, how it stands, what was seen, and what to do about it."""

    name: str
    status: Status
    message: str
    hint: str = ""


def ok(name: str, message: str) -> Check:
    """All is well."""
    return Check(name, "ok", message)


def warning(name: str, message: str, hint: str) -> Check:
    """A worker would run, but not as it should."""
    return Check(name, "warning", message, hint)


def failed(name: str, error: AliceError) -> Check:
    """A worker would not run, or not for long."""
    away = isinstance(error, DependencyError) and (is_transient(error) or error.code == "kafka_unreachable")
    return Check(name, "unreachable" if away else "failed", error.message, error.hint)


def unreachable(name: str, message: str, hint: str) -> Check:
    """A dependency does not answer."""
    return Check(name, "unreachable", message, hint)


def skipped(names: Iterable[str], because: str) -> list[Check]:
    """Checks that could not be made."""
    return [Check(name, "skipped", because) for name in names]


def exit_code(checks: Iterable[Check]) -> int:
    """What the command exits with: 3 before 1 before 0.

    Examples
    --------
    >>> exit_code([ok("redis", ""), warning("redis clock", "", "")]), exit_code([ok("a", ""), Check("b", "failed", "")])
    (0, 1)
    """
    statuses = {check.status for check in checks}
    return 3 if "unreachable" in statuses else 1 if "failed" in statuses else 0
