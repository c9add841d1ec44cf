"""What a caller hands in beside the context, held against what the wire accepts."""

from __future__ import annotations

from typing import TypeGuard

__all__ = ["Offer", "believed_names", "is_identity", "is_session", "is_time", "offered_names"]

Offer = tuple[str, ...] | None
"""The arms that a caller offers, None for all."""

_ARM_LENGTH_MAX, _ARMS_MAX = 64, 256
_ID_LENGTH_MAX, _SESSION_LENGTH_MAX = 128, 64
_MS_2000, _MS_2100 = 946_684_800_000, 4_102_444_800_000


def offered_names(arms: object) -> Offer:
    """What a caller says is available, as names: whatever is not one is left out.

    Examples
    --------
    >>> offered_names(["search", 5, "none"]), offered_names("search"), offered_names(5)
    (('search', 'none'), ('search',), ())
    """
    if arms is None:
        return None
    if isinstance(arms, str):
        return (arms,)
    try:
        return tuple([arm for arm in arms if type(arm) is str])  # type: ignore[attr-defined]
    except Exception:  # not iterable, or an iterator that fails: nothing usable was offered
        return ()


def believed_names(offered: Offer, arms: tuple[str, ...] | None) -> tuple[str, ...]:
    """The arms the rules choose from: what is offered and configured, else what is configured.

    Where nothing is configured (None), what is offered and could go on the wire; empty for anything.

    Examples
    --------
    >>> believed_names(("search", "x"), ("none", "search")), believed_names(("x",), ("none",))
    (('search',), ('none',))
    >>> believed_names(("x",), None)
    ('x',)
    """
    if arms is not None:
        return tuple([arm for arm in arms if offered is not None and arm in offered]) or arms
    names = dict.fromkeys(offered or ())
    return tuple([name for name in names if _fits(name, 1, _ARM_LENGTH_MAX)])[:_ARMS_MAX]


def is_identity(value: object) -> TypeGuard[str]:
    """Whether the value can be a decision's id."""
    return type(value) is str and _fits(value, 1, _ID_LENGTH_MAX)


def is_session(value: object) -> TypeGuard[str]:
    """Whether the value can be a session's id."""
    return type(value) is str and _fits(value, 0, _SESSION_LENGTH_MAX)


def is_time(value: object) -> TypeGuard[int]:
    """Whether the value is milliseconds since the epoch, between the years 2000 and 2100."""
    return type(value) is int and _MS_2000 <= value < _MS_2100


def _fits(text: str, shortest: int, longest: int) -> bool:
    """Whether the text has such a length and can go on the wire: a lone surrogate cannot."""
    if not shortest <= len(text) <= longest:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
