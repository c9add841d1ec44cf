"""What is wrong with a configuration, as errors that name the key, what was meant and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence

import msgspec

from alice_rl.errors import ConfigError
from alice_rl.log import SECRET_MARK, hide_passwords
from alice_rl.settings.fields import Field
from alice_rl.settings.toml_text import write_value

__all__ = [
    "PREFIX",
    "key_missing",
    "key_unknown",
    "nearest",
    "raise_all",
    "secret_exposed",
    "section_unknown",
    "value_refused",
    "variable",
]

PREFIX = "ALICE__"
"""What the environment's variables begin with."""

_SAME_NAME_BONUS = 0.2  # a key put into the wrong section is likelier than two slips in one name
_NEAR = 0.6
_TIE = 0.1
_SUGGESTIONS_MAX = 3


def variable(key: str) -> str:
    """The environment variable of a dotted key.

    Examples
    --------
    >>> variable("kafka.topic")
    'ALICE__KAFKA__TOPIC'
    """
    return PREFIX + key.replace(".", "__").upper()


def value_refused(field: Field, key: str, value: object, origin: str, error: Exception) -> ConfigError:
    """`value` is not of the field's type or outside its range."""
    allowed = ", ".join(words for words in (field.type_words, field.range_words) if words)
    shown = SECRET_MARK if field.secret else hide_passwords(_written(value))
    detail = str(error)
    # The words say more than "Expected `int`, got `str`", unless that is about a place inside the value.
    told = field.secret or (detail.startswith("Expected ") and "`$" not in detail)
    message = f"{key} = {shown} ({origin}) is refused: it must be {allowed}" + ("" if told else f"; {detail}")
    return ConfigError(message, code="config_value_refused")


def secret_exposed(key: str, origin: str) -> ConfigError:
    """A secret stands in a file or on a command line, where others can read it."""
    return ConfigError(
        f"{key} is a secret and must not be given by {origin}",
        code="config_secret_exposed",
        hint=f"set {variable(key)} in the environment, or {variable(key)}_FILE naming a file",
    )


def key_missing(key: str) -> ConfigError:
    """A required key was given by no source."""
    return ConfigError(f"{key} is required", code="config_key_missing", hint=f"set it, or {variable(key)}")


def key_unknown(key: str, origin: str, keys: Collection[str]) -> ConfigError:
    """A key that is not in the model, with the one that was probably meant, spelt as the source spells it."""
    spell = variable if origin.startswith("environment ") else str
    inside = [spell(known) for known in keys if known.startswith(f"{key}.")]
    if inside:
        hint = f"it is a section; its keys are {', '.join(inside)}"
    else:
        hint = _suggestion([spell(near) for near in nearest(key, keys)]) or _all_of(key.rpartition(".")[0], keys)
    return ConfigError(f"unknown key {key!r} ({origin})", code="config_key_unknown", hint=hint)


def section_unknown(key: str, origin: str, sections: Iterable[str], keys: Collection[str]) -> ConfigError:
    """A table of the file that is not in the model."""
    near = nearest(key, sections) or nearest(key, keys)
    hint = _suggestion(near) or _all_of("", keys)
    return ConfigError(f"unknown section {key!r} ({origin})", code="config_key_unknown", hint=hint)


def raise_all(problems: Sequence[ConfigError]) -> None:
    """Raise what was found as one error, or return if there is nothing.

    Raises
    ------
    ConfigError
    """
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ConfigError("\n".join([f"{len(problems)} problems:", *(f"- {problem}" for problem in problems)]))


def nearest(key: str, keys: Iterable[str]) -> list[str]:
    """The valid keys that an unknown one was probably meant to be, best first; empty if none is near.

    Examples
    --------
    >>> nearest("kafka.topc", ["kafka.topic", "kafka.group", "redis.url"])
    ['kafka.topic']
    >>> nearest("kafka.url", ["kafka.topic", "kafka.group", "redis.url"])
    ['redis.url']
    """
    scored = sorted(((_likeness(key, valid), valid) for valid in keys), key=lambda pair: (-pair[0], pair[1]))
    floor = max(scored[0][0] - _TIE, _NEAR) if scored else _NEAR
    return [valid for score, valid in scored if score >= floor][:_SUGGESTIONS_MAX]


def _likeness(key: str, valid: str) -> float:
    (section, _, name), (valid_section, _, valid_name) = key.rpartition("."), valid.rpartition(".")
    if not section and valid_section:  # ALICE__KAFKA_TOPIC, or a key at the top of the file
        return max(_ratio(name, valid.replace(".", "_")), 0.9 * _ratio(name, valid_name))
    bonus = _SAME_NAME_BONUS if name == valid_name else 0.0
    return 0.7 * _ratio(name, valid_name) + 0.3 * _ratio(section, valid_section) + bonus


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _suggestion(near: Sequence[str]) -> str:
    return f"did you mean {' or '.join(repr(key) for key in near)}?" if near else ""


def _all_of(section: str, keys: Collection[str]) -> str:
    names = [key.removeprefix(f"{section}.") for key in keys if key.startswith(f"{section}.")]
    if section and names:
        return f"[{section}] has {', '.join(names)}"
    return f"sections are {', '.join(dict.fromkeys(key.partition('.')[0] for key in keys))}"


def _written(value: object) -> str:
    try:
        return write_value(msgspec.to_builtins(value))
    except TypeError:
        return repr(value)
