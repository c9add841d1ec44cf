"""The fields of a settings model, one by one: dotted key, type and range in words, default, description.

A model is a frozen `msgspec.Struct` whose fields are sections, themselves Structs. What is not a Struct is a
field: it is set as a whole. Everything here is read from the annotations, so words and checks cannot part:

    class Kafka(Struct, frozen=True, forbid_unknown_fields=True):
        topic: Annotated[str, Meta(min_length=1, description="topic of the telemetry")] = "alice.telemetry"
        password: Annotated[str | None, Meta(extra=SECRET, description="SASL password")] = None
        half_life_hours: Annotated[Annotated[float, Meta(gt=0)] | None, Meta(description="...")] = None

TOML has no null. A field that may be None takes `"none"` in its place; if it is a text, `""`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import msgspec.inspect as mi
from msgspec import NODEFAULT, Struct

from alice_rl.log import SECRET_MARK, hide_passwords
from alice_rl.toml_text import write_value

__all__ = ["SECRET", "Field", "fields_of", "nearest"]

SECRET: Final = {"secret": True}
"""Marks a field as secret: `Meta(extra=SECRET)`."""

_SAME_NAME_BONUS = 0.2  # a key put into the wrong section is likelier than two slips in one name
_NEAR = 0.6
_TIE = 0.1
_SUGGESTIONS_MAX = 3


class Field(Struct, frozen=True):
    """One field of a model.

    Attributes
    ----------
    key : str
        Dotted, as in "kafka.topic".
    hint : object
        The annotation, which says what is accepted.
    kind : msgspec.inspect.Type
        What the annotation means, without None and without notes.
    optional : bool
        Whether None is accepted.
    value : object
        The default, or what `given` holds; `msgspec.NODEFAULT` for a required field.
    description : str
    secret : bool
    """

    key: str
    hint: Any
    kind: mi.Type
    optional: bool
    value: Any
    description: str
    secret: bool

    @property
    def none_word(self) -> str:
        """What stands for None in TOML and in the environment."""
        return "" if _is_text(self.kind) else "none"

    @property
    def type_words(self) -> str:
        """The type, for people."""
        return _type_words(self.kind) + (
            f", or {write_value(self.none_word)} for none" if self.optional else ""
        )

    @property
    def range_words(self) -> str:
        """The range, for people; empty where there is none."""
        return _range_words(self.kind)

    @property
    def value_text(self) -> str:
        """The value as TOML, secrets and passwords in URLs as `***`; empty for a required field."""
        if self.value is NODEFAULT:
            return ""
        if self.value is None or (self.secret and not self.value):
            return write_value(self.none_word)
        return (
            write_value(SECRET_MARK)
            if self.secret
            else hide_passwords(write_value(msgspec.to_builtins(self.value)))
        )

    def from_text(self, text: str) -> object:
        """What a text from the environment or a flag stands for, to be converted to the field's type.

        A text field takes it as it is. A list or a table is JSON; a list may also be separated by commas.
        """
        if self.optional and text.strip().lower() in ("", self.none_word):
            return None
        if _is_text(self.kind):
            return text
        return _listed(text) if _holds_items(self.kind) else text.strip()


def fields_of(model: type[Struct], given: Struct | None = None, prefix: str = "") -> Iterator[Field]:
    """The fields of a model, depth first.

    Parameters
    ----------
    model : type of Struct
    given : Struct, optional
        A `model` whose values are taken in place of the defaults.
    prefix : str
        Put before each key.
    """
    for plain, inspected in zip(msgspec.structs.fields(model), _struct_type(model).fields, strict=True):
        kind, optional, notes = _unwrapped(inspected.type)
        value = _default(plain) if given is None else getattr(given, plain.name)
        key = prefix + plain.name
        if isinstance(kind, mi.StructType) and not optional:
            yield from fields_of(kind.cls, value if isinstance(value, Struct) else None, f"{key}.")
        else:
            description = str(notes.get("description", ""))
            secret = bool(notes.get("secret", False))
            yield Field(key, plain.type, kind, optional, value, description, secret)


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
    best = max(scored[0][0], _NEAR) if scored else _NEAR
    return [valid for score, valid in scored if score >= max(best - _TIE, _NEAR)][:_SUGGESTIONS_MAX]


def _likeness(key: str, valid: str) -> float:
    (section, _, name), (valid_section, _, valid_name) = key.rpartition("."), valid.rpartition(".")
    bonus = _SAME_NAME_BONUS if name == valid_name else 0.0
    return 0.7 * _ratio(name, valid_name) + 0.3 * _ratio(section, valid_section) + bonus


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _struct_type(model: type[Struct]) -> mi.StructType:
    found = mi.type_info(model)
    assert isinstance(found, mi.StructType)
    return found


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default_factory() if field.default_factory is not NODEFAULT else field.default


def _unwrapped(kind: mi.Type) -> tuple[mi.Type, bool, dict[str, object]]:
    """The type without notes and None, whether None was among it, and the notes."""
    notes: dict[str, object] = {}
    optional = False
    while isinstance(kind, mi.Metadata | mi.UnionType):
        if isinstance(kind, mi.Metadata):
            notes = {**(kind.extra_json_schema or {}), **(kind.extra or {}), **notes}
            kind = kind.type
            continue
        some = tuple(option for option in kind.types if not isinstance(option, mi.NoneType))
        optional = optional or len(some) < len(kind.types)
        kind = some[0] if len(some) == 1 else mi.UnionType(some)
        if len(some) > 1:
            break
    return kind, optional, notes


def _is_text(kind: mi.Type) -> bool:
    match kind:
        case mi.StrType():
            return True
        case mi.LiteralType():
            return all(isinstance(value, str) for value in kind.values)
        case mi.EnumType():
            return all(isinstance(member.value, str) for member in kind.cls)
    return False


def _holds_items(kind: mi.Type) -> bool:
    return isinstance(kind, mi.CollectionType | mi.TupleType | mi.DictType | mi.StructType)


def _listed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        if text.lstrip().startswith(("[", "{")):
            return text  # meant as JSON: the conversion refuses it
    return [part.strip() for part in text.split(",") if part.strip()]


def _type_words(kind: mi.Type) -> str:
    kind, optional, _ = _unwrapped(kind)
    match kind:
        case mi.LiteralType():
            words = f"one of {', '.join(map(write_value, kind.values))}"
        case mi.EnumType():
            words = f"one of {', '.join(write_value(member.value) for member in kind.cls)}"
        case mi.CollectionType():
            words = f"list of {_type_words(kind.item_type)}"
        case mi.TupleType():
            words = f"list of {', '.join(map(_type_words, kind.item_types))}"
        case mi.DictType():
            words = f"table of {_type_words(kind.value_type)}"
        case mi.UnionType():
            words = " or ".join(map(_type_words, kind.types))
        case mi.StructType():
            words = f"table with {', '.join(field.name for field in kind.fields)}"
        case _:
            words = _PLAIN_WORDS.get(type(kind), type(kind).__name__.removesuffix("Type").lower())
    return f"{words} or none" if optional else words


_PLAIN_WORDS: dict[type[mi.Type], str] = {
    mi.BoolType: "true or false",
    mi.IntType: "whole number",
    mi.FloatType: "number",
    mi.StrType: "text",
    mi.AnyType: "any value",
    mi.DateTimeType: "date and time",
}


def _range_words(kind: mi.Type) -> str:
    kind, _, _ = _unwrapped(kind)
    match kind:
        case mi.IntType() | mi.FloatType():
            multiple = f"a multiple of {_number(kind.multiple_of)}" if kind.multiple_of else ""
            return _joined(_bounds(kind.ge, kind.le, kind.gt, kind.lt), multiple)
        case mi.StrType():
            pattern = f"matching {kind.pattern}" if kind.pattern else ""
            return _joined(_length(kind.min_length, kind.max_length, "characters"), pattern)
        case mi.CollectionType():
            return _joined(_length(kind.min_length, kind.max_length, "items"), _each(kind.item_type))
        case mi.DictType():
            return _joined(_length(kind.min_length, kind.max_length, "entries"), _each(kind.value_type))
        case mi.UnionType():
            return _joined(*map(_range_words, kind.types))
    return ""


def _each(kind: mi.Type) -> str:
    words = _range_words(kind)
    return f"each {words}" if words else ""


def _length(least: int | None, most: int | None, unit: str) -> str:
    words = _bounds(least, most, None, None)
    return f"{words} {unit}" if words else ""


def _bounds(ge: float | None, le: float | None, gt: float | None, lt: float | None) -> str:
    if ge is not None and le is not None:
        return f"{_number(ge)} to {_number(le)}"
    named = (("at least", ge), ("above", gt), ("at most", le), ("below", lt))
    return " and ".join(f"{word} {_number(bound)}" for word, bound in named if bound is not None)


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
