"""A caller's mapping made into a `Context` that the wire accepts: bad values are dropped or clamped, and named."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite
from typing import Any

import msgspec

from alice_rl.events import Context

__all__ = ["ContextReader"]

_TEXTS = ("intent", "lang", "guardian_state")
_AMOUNTS = ("text_len", "confidence", "recent_latency_ms", "recent_cost_usd")
_TEXT_LENGTH_MAX = 64
_KNOWN_MAX = 16_384


class ContextReader:
    """Reads contexts; safe to share between threads.

    Examples
    --------
    >>> reader = ContextReader()
    >>> context, mended = reader.read({"intent": "weather", "text_len": 34, "confidence": 1.5})
    >>> context.text_len, context.confidence, mended
    (34.0, 1.0, 'confidence')
    >>> reader.read({"guardian_state": "LOCKDOWN"})
    (None, 'intent')
    >>> reader.remains({"guardian_state": "LOCKDOWN"}).guardian_state
    'LOCKDOWN'
    """

    def __init__(self) -> None:
        # Triples of texts that are known to be UTF-8: an assistant has some hundreds of them.
        self._known: set[tuple[str, str | None, str | None]] = set()

    def read(self, raw: object) -> tuple[Context | None, str]:
        """The context, None where it is unusable, and the names of the fields that had to be mended."""
        try:
            context = msgspec.convert(raw, Context)
            texts = (context.intent, context.lang, context.guardian_state)
            # Not a number is refused by its range, but infinity is within it.
            if texts in self._known and inf not in (
                context.text_len,
                context.recent_latency_ms,
                context.recent_cost_usd,
            ):
                return context, ""
        except Exception:  # whatever a foreign mapping raises: the turn must go on
            pass
        try:
            mended, usable, names = _mended(raw)
        except Exception:
            return None, "context"
        if not usable:
            return None, names
        self._remember((mended.intent, mended.lang, mended.guardian_state))
        return mended, names

    def remains(self, raw: object) -> Context:
        """What there is of an unusable context: the rules need the guardian's state even without an intent."""
        try:
            return _mended(raw)[0]
        except Exception:
            return Context("")

    def _remember(self, texts: tuple[str, str | None, str | None]) -> None:
        if len(self._known) >= _KNOWN_MAX:
            self._known = set()
        self._known.add(texts)


def _mended(raw: object) -> tuple[Context, bool, str]:
    """A context of what can be used, whether it has an intent, and the names of what was mended or is missing."""
    if isinstance(raw, Context):
        raw = msgspec.structs.asdict(raw)
    if not isinstance(raw, Mapping):
        return Context(""), False, "context"
    mended: list[str] = []
    intent, lang, guardian_state = [_text(raw, name, mended) for name in _TEXTS]
    amounts = [_amount(raw, name, mended) for name in _AMOUNTS]
    if intent is None:
        return Context("", lang, guardian_state, *amounts), False, "intent"
    return Context(intent, lang, guardian_state, *amounts), True, " ".join(mended)


def _text(raw: Mapping[Any, Any], name: str, mended: list[str]) -> str | None:
    value = raw.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        mended.append(name)
        return None
    text = str(value).encode("utf-8", "replace").decode()[:_TEXT_LENGTH_MAX]
    if text != value:
        mended.append(name)
    return text


def _amount(raw: Mapping[Any, Any], name: str, mended: list[str]) -> float | None:
    """A finite number in range: below it is clamped, what is no number is missing."""
    value = raw.get(name)
    if value is None:
        return None
    try:
        number = float(value) if not isinstance(value, (bool, str, bytes)) else inf
    except (TypeError, ValueError, OverflowError):
        number = inf
    if not isfinite(number):
        mended.append(name)
        return None
    clamped = max(number, 0.0)
    if name == "confidence":
        clamped = min(clamped, 1.0)
    if clamped != number:
        mended.append(name)
    return clamped
