"""The error tree: what failed, under a stable code, with a hint for the person who has to mend it.

    AliceError
    |-- EventError        one record cannot be learned: dead-letter it and go on
    |-- SnapshotError     a snapshot is refused: keep the last good one
    |-- ConfigError       the configuration is wrong: exit code 2, names the key and the nearest valid one
    `-- DependencyError   Kafka or Redis is away or unfit: bounded retry, then exit code 3

Late, duplicate and unmatched events are results of the join, not errors. Anything else that is raised is a bug and
crashes.
"""

from __future__ import annotations

__all__ = ["AliceError", "ConfigError", "DependencyError", "EventError", "SnapshotError"]


class AliceError(Exception):
    """An operating error with a stable `code` and a `hint` that says what to do.

    Parameters
    ----------
    message : str
        What happened, with the key, path or offset it happened at.
    code : str, optional
        Machine-readable reason in snake_case; defaults to the class's own.
    hint : str, optional
        What the reader should do next; defaults to the class's own.

    Examples
    --------
    >>> str(ConfigError("unknown key 'kafka.topc'", hint="did you mean 'kafka.topic'?"))
    "unknown key 'kafka.topc' (did you mean 'kafka.topic'?)"
    """

    code: str = "error"
    hint: str = ""

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else type(self).code
        self.hint = hint if hint is not None else type(self).hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class EventError(AliceError):
    """One telemetry record that cannot be learned from."""

    code = "event_invalid"


class SnapshotError(AliceError):
    """A snapshot that must not be served."""

    code = "snapshot_refused"
    hint = "the last good snapshot stays in use"


class ConfigError(AliceError):
    """A configuration that cannot be run."""

    code = "config_invalid"


class DependencyError(AliceError):
    """Kafka or Redis is unreachable or not set up as it must be."""

    code = "dependency_unavailable"
