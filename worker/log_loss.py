"""The two ways in which a log stops being the one that was learned from; neither is mended by waiting."""

from __future__ import annotations

from alice_rl.errors import DependencyError

__all__ = ["recreated", "truncated", "unreadable"]


def recreated(what: str) -> DependencyError:
    """The error of a topic that is not the one that was learned from."""
    return DependencyError(
        f"{what}: the topic was deleted and made anew",
        code="log_recreated",
        hint="learn the new topic under another policy.lineage",
    )


def truncated(what: str) -> DependencyError:
    """The error of a topic that lost records before they were read."""
    return DependencyError(
        what,
        code="log_truncated",
        hint="learn from what is left under another policy.lineage, and raise the topic's retention",
    )


def unreadable(partition: int, offset: int, first: int, end: int) -> DependencyError:
    """The error of a partition that holds `[first, end)` and is to be read from an offset that lies outside.

    Examples
    --------
    >>> unreadable(0, 7, 9, 20).code, unreadable(0, 21, 9, 20).code
    ('log_truncated', 'log_recreated')
    """
    if offset < first:
        return truncated(
            f"partition {partition} must go on at offset {offset}, but the topic begins at {first} by now: "
            f"{first - offset} records left retention before they were read"
        )
    return recreated(f"partition {partition} must go on at offset {offset}, but ends at {end}")
