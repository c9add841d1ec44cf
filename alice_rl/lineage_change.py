"""What parts two structures of learning, and what follows from it: go on, extend the lineage, or learn anew.

- *equal*: the same sums.
- *extends*: numerics appended to the end of `features.numerics`. `x` grows at its end, so old sums go on with zeros.
- *shrinks*: the other way round. The lineage was extended, and this configuration is from before.
- *differs*: anything else means other sums, which only a replay of the log can make.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import count
from typing import Any

import msgspec
from msgspec import Struct

from alice_rl.errors import ConfigError

__all__ = ["LineageChange", "Relation", "compare", "next_names"]

_SECTIONS = {"features": "features", "bounds": "reward", "join": "join"}
_KEYS = {
    "bucket_seconds": "decay.bucket_seconds",
    "cache_class": "cache.class_by",
    "names_max": "worker.intents_max",
    "hits_teach_all": "worker.hits_teach_all",
}
_NUMERICS = "features.numerics"
_UNSET = msgspec.UNSET
# A message is read by a person: what is longer is cut, and `alice-rl config show` has the rest.
_SETTINGS_MAX = 8
_VALUE_LETTERS_MAX = 60
_ENTRIES_MAX = 6
_NAME_LETTERS_MAX = 64


class Relation(StrEnum):
    """How a configuration stands to the structure that a lineage was declared with."""

    EQUAL = "equal"
    EXTENDS = "extends"
    SHRINKS = "shrinks"
    DIFFERS = "differs"


class LineageChange(Struct, frozen=True):
    """What a configuration would change in a lineage.

    Attributes
    ----------
    relation : Relation
    numerics : tuple of str
        The numerics that the configuration appends (extends), or does not have yet (shrinks).
    settings : tuple of str
        What differs, by configuration key: `features.feature_dim: 64 -> 128`, `tool.arms: +"maps"`.
    """

    relation: Relation
    numerics: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def features(self) -> str:
        """The numerics in words."""
        return ", ".join(self.numerics)

    def refusal(self, lineage: str, replay_as: str) -> ConfigError:
        """Why a worker may not go on with this configuration, and what to do.

        Parameters
        ----------
        lineage : str
            The lineage's name.
        replay_as : str
            A free name, to learn the log anew under.
        """
        if self.relation is Relation.SHRINKS:
            return ConfigError(
                f"lineage {lineage} was extended by features {self.features}",
                code="lineage_extended",
                hint="restart this worker with the new configuration",
            )
        if self.relation is Relation.EXTENDS:
            return ConfigError(
                f"lineage {lineage} does not have features {self.features} yet",
                code="lineage_mismatch",
                hint="start a worker with this configuration first: it extends the lineage",
            )
        more = len(self.settings) - _SETTINGS_MAX
        told = [*self.settings[:_SETTINGS_MAX], *([f"and {more} more"] if more > 0 else [])]
        return ConfigError(
            f"lineage {lineage!r} was declared with another structure: {'; '.join(told) or 'of an older format'}",
            code="lineage_mismatch",
            hint=f"undo the change, or learn the log anew: alice-rl replay --lineage {replay_as} --from earliest, "
            f"then alice-rl policy promote --lineage {replay_as}",
        )


def compare(declared: bytes, own: bytes) -> LineageChange:
    """What parts a configuration from the structure that was declared, both as `Lineage.to_json` writes them.

    Notes
    -----
    The texts are compared, not what this version of the code reads in them: a structure with settings that it does
    not know is told apart like any other.

    Examples
    --------
    >>> from alice_rl.lineage import Arms, Lineage
    >>> compare(Lineage().to_json(), Lineage(arms=Arms(tool=("none", "maps")), bucket_seconds=60).to_json()).settings
    ('tool.arms: +"maps"', 'decay.bucket_seconds: 3600 -> 60')
    """
    before, after = _settings(declared), _settings(own)
    keys = [key for key in before | after if before.get(key, _UNSET) != after.get(key, _UNSET)]
    if not keys:
        return LineageChange(Relation.EQUAL)
    if keys == [_NUMERICS]:
        old, new = before.get(_NUMERICS), after.get(_NUMERICS)
        if isinstance(old, list) and isinstance(new, list):
            if new[: len(old)] == old:
                return LineageChange(Relation.EXTENDS, _names(new[len(old) :]))
            if old[: len(new)] == new:
                return LineageChange(Relation.SHRINKS, _names(old[len(new) :]))
    told = (f"{key}: {_difference(before.get(key, _UNSET), after.get(key, _UNSET))}" for key in keys)
    return LineageChange(Relation.DIFFERS, settings=tuple(told))


def next_names(lineage: str) -> Iterator[str]:
    """Names under which a lineage may be learned anew, the nearest first.

    Examples
    --------
    >>> names = next_names("main")
    >>> next(names), next(names), next(next_names("main-7"))
    ('main-2', 'main-3', 'main-8')
    """
    stem, dash, number = lineage.rpartition("-")
    numbered = bool(dash and stem) and number.isascii() and number.isdecimal()
    for n in count(int(number) + 1 if numbered else 2):
        suffix = f"-{n}"
        yield (stem if numbered else lineage)[: _NAME_LETTERS_MAX - len(suffix)] + suffix


def _settings(text: bytes) -> dict[str, Any]:
    """The settings of a structure by their configuration keys."""
    try:
        fields = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return {}
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "arms" and isinstance(value, dict):
            found |= {f"{slot}.arms": arms for slot, arms in value.items()}
        elif name in _SECTIONS and isinstance(value, dict):
            found |= {f"{_SECTIONS[name]}.{key}": inner for key, inner in value.items()}
        else:
            found[_KEYS.get(name, name)] = value
    return found


def _names(numerics: list[Any]) -> tuple[str, ...]:
    return tuple(str(numeric["name"]) for numeric in numerics)


def _difference(old: Any, new: Any) -> str:
    """From what to what; of lists, the entries that came and went."""
    if isinstance(old, list) and isinstance(new, list):
        came, gone = [e for e in new if e not in old], [e for e in old if e not in new]
        if came or gone:
            signed = [f"+{_shown(entry)}" for entry in came] + [f"-{_shown(entry)}" for entry in gone]
            return " ".join(signed[:_ENTRIES_MAX]) + (" ..." if len(signed) > _ENTRIES_MAX else "")
    return f"{_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    text = "unset" if value is _UNSET or value is None else msgspec.json.encode(value).decode()
    return text if len(text) <= _VALUE_LETTERS_MAX else text[: _VALUE_LETTERS_MAX - 3] + "..."
