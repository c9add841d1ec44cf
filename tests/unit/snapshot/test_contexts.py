"""What callers hand in, made into what the wire accepts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import pytest

from alice_rl.events import Context
from alice_rl.snapshot.contexts import ContextReader


class Broken(Mapping[str, Any]):
    """A mapping that fails."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("text_len", 34, 34.0),
        ("text_len", np.int64(34), 34.0),
        ("text_len", Decimal("0.5"), 0.5),
        ("confidence", np.float32(0.5), 0.5),
        ("lang", None, None),
    ],
)
def test_equivalent_values_are_taken(field: str, value: object, read: object) -> None:
    """Numbers of other types mean what they mean, and None is a missing value."""
    context, mended = ContextReader().read({"intent": "weather", field: value})
    assert (getattr(context, field), mended) == (read, "")


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("text_len", math.nan, None),
        ("text_len", math.inf, None),
        ("text_len", -math.inf, None),
        ("text_len", -3, 0.0),
        ("text_len", True, None),
        ("text_len", "34", None),
        ("text_len", [34], None),
        ("text_len", 10**400, None),
        ("confidence", 1.5, 1.0),
        ("confidence", -0.5, 0.0),
        ("recent_latency_ms", math.inf, None),
        ("recent_cost_usd", math.inf, None),
        ("lang", 5, None),
        ("lang", "x" * 65, "x" * 64),
        ("guardian_state", b"LOCKDOWN", None),
        ("intent", "y" * 65, "y" * 64),
        ("intent", "\ud800", "?"),
        ("lang", "a\udfff", "a?"),
    ],
)
def test_bad_values_are_mended_and_named(field: str, value: object, read: object) -> None:
    """What is out of range is clamped, what is unusable is missing; the field is named, also the second time."""
    reader = ContextReader()
    for _ in range(2):
        context, mended = reader.read({"intent": "weather", field: value})
        assert context is not None
        assert (getattr(context, field), mended) == (read, field)
        assert msgspec.json.decode(msgspec.json.encode(context), type=Context) == context


@pytest.mark.parametrize(
    "raw", [None, 5, "weather", [], ["intent"], {}, {"intent": None}, {"intent": 5}, {"lang": "sv"}, Broken(), {5: 6}]
)
def test_without_an_intent_a_context_is_unusable(raw: object) -> None:
    """No mapping, no intent, or a mapping that fails: there is nothing to decide by."""
    context, why = ContextReader().read(raw)
    assert context is None
    assert ContextReader().remains(raw).intent == ""
    assert why in {"context", "intent"}


def test_any_mapping_will_do() -> None:
    """A read-only view, a dict with other keys beside ours and a `Context` are read alike."""
    wanted = Context("weather", lang="sv")
    for raw in (
        MappingProxyType({"intent": "weather", "lang": "sv"}),
        {"intent": "weather", "lang": "sv", "x": object()},
        wanted,
    ):
        assert ContextReader().read(raw) == (wanted, "")
