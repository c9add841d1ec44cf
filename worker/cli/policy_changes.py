"""What two policies say about themselves, where it differs: reward weights, exploration, arms, as-of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from alice_rl.snapshot.manifest import Manifest
from worker.cli.status_view import time_words

__all__ = ["Change", "changes"]

# Told in words of their own below, or facts that follow from the rest.
_APART = {"created_at_ms", "offsets", "intents", "classes", "counts", "mean_reward", "moments_digest"}
_FINGERPRINTS = {"lineage_fingerprint", "features_fingerprint"}
_FINGERPRINT_SHOWN = 12
_NAMES_SHOWN = 3


class Change(Struct, frozen=True):
    """One thing that two manifests say differently, in words; "-" where one says nothing."""

    name: str
    a: str
    b: str


def changes(a: Manifest, b: Manifest) -> list[Change]:
    """What differs, in the order of the manifest; a component, arm or setting that stands in both alike is absent."""
    mine, theirs = _facts(a, b), _facts(b, a)
    names = [*mine, *(name for name in theirs if name not in mine)]
    return [
        Change(name, mine.get(name, "-"), theirs.get(name, "-")) for name in names if mine.get(name) != theirs.get(name)
    ]


def _facts(manifest: Manifest, other: Manifest) -> dict[str, str]:
    values = msgspec.to_builtins(manifest, str_keys=True)
    facts = {
        "version": str(manifest.version),
        "as of": f"{time_words(manifest.created_at_ms)}, {sum(manifest.offsets.values()):,} records",
        "episodes": f"{manifest.counts.get('episodes', 0):,}",
    }
    for name, value in values.items():
        if name in _FINGERPRINTS:
            facts[name] = value[:_FINGERPRINT_SHOWN]
        elif name not in _APART and name != "version":
            facts.update(_flat(name, value))
    for name in ("intents", "classes"):
        facts[name] = _names_words(getattr(manifest, name), getattr(other, name))
    return facts


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Values under dotted names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    elif isinstance(value, list | tuple) and all(isinstance(inner, str) for inner in value):
        yield name, ", ".join(value)
    elif isinstance(value, float):
        yield name, f"{value:g}"
    else:
        yield name, value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _names_words(names: tuple[str, ...], others: tuple[str, ...]) -> str:
    """How many names, and which of them the other one does not have."""
    alone = [name for name in names if name not in set(others)]
    if not alone:
        return f"{len(names)}"
    more = f" and {len(alone) - _NAMES_SHOWN} more" if len(alone) > _NAMES_SHOWN else ""
    return f"{len(names)}, alone: {', '.join(alone[:_NAMES_SHOWN])}{more}"
