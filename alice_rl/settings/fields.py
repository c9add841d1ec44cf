"""The fields of a settings model, one by one.

A model is a frozen `msgspec.Struct` whose fields are sections, themselves Structs. What is not a Struct is a
field: it is set as a whole. Everything here is read from the annotations, so words and checks cannot part:

    class Kafka(Struct, frozen=True, forbid_unknown_fields=True):
        topic: Annotated[str, Meta(min_length=1, description="topic of the telemetry")] = "alice.telemetry"
        password: Annotated[str | None, Meta(extra=SECRET, description="SASL password")] = None
        half_life_hours: Annotated[Annotated[float, Meta(gt=0)] | None, Meta(description="...")] = None

TOML has no null. A field that may be None takes `"none"` in its place; if it is a text, `""`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import msgspec.inspect as mi
from msgspec import NODEFAULT, Struct

from alice_rl.log import SECRET_MARK, hide_passwords
from alice_rl.settings.toml_text import write_value
from alice_rl.settings.words import range_words, type_words, unwrapped

__all__ = ["SECRET", "Field", "fields_of", "sections_of"]

SECRET: Final = {"secret": True}
"""Marks a field as secret: `Meta(extra=SECRET)`."""


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
        The default, or a given settings object's; `msgspec.NODEFAULT` for a required field.
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
    def is_table(self) -> bool:
        """Whether the field is a table of any entries, each of which may be set by its name."""
        return isinstance(self.kind, mi.DictType)

    @property
    def type_words(self) -> str:
        """The type, for people."""
        return type_words(self.kind) + (f", or {write_value(_none_word(self.kind))} for none" if self.optional else "")

    @property
    def range_words(self) -> str:
        """The range, for people; empty where there is none."""
        return range_words(self.kind)

    @property
    def value_text(self) -> str:
        """The value as TOML, secrets and passwords in URLs as `***`; empty for a required field."""
        if self.value is NODEFAULT:
            return ""
        if self.value is None or (self.secret and not self.value):
            return write_value(_none_word(self.kind))
        if self.secret:
            return write_value(SECRET_MARK)
        return hide_passwords(write_value(msgspec.to_builtins(self.value)))

    def read(self, value: object, *, text: bool) -> object:
        """What a value of a source stands for, to be converted to the field's type.

        Parameters
        ----------
        value : object
        text : bool
            The source knows texts only. A text field takes the text as it is; lists and tables are read as
            JSON, lists also as texts between commas.
        """
        if self.optional and isinstance(value, str) and value.lower() in {_none_word(self.kind), "" if text else None}:
            return None
        return _from_text(self.kind, value) if text and isinstance(value, str) else value

    def read_entry(self, value: object, *, text: bool) -> object:
        """As `read`, for one entry of a table."""
        if not (text and isinstance(value, str) and isinstance(self.kind, mi.DictType)):
            return value
        return _from_text(unwrapped(self.kind.value_type)[0], value)


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
    sections = sections_of(model)
    for plain, inspected in zip(msgspec.structs.fields(model), _members(model), strict=True):
        value = _default(plain) if given is None else getattr(given, plain.name)
        key = prefix + plain.name
        if plain.name in sections:
            yield from fields_of(sections[plain.name], value if isinstance(value, Struct) else None, f"{key}.")
            continue
        kind, optional, notes = unwrapped(inspected.type)
        description = str(notes.get("description", ""))
        secret = bool(notes.get("secret", False))
        own = copy.deepcopy(value) if isinstance(value, (list, dict, set)) else value  # a default is shared
        yield Field(key, plain.type, kind, optional, own, description, secret)


def sections_of(model: type[Struct]) -> dict[str, type[Struct]]:
    """The members of a model that are sections, by name."""
    unpacked = ((member.name, unwrapped(member.type)) for member in _members(model))
    return {
        name: kind.cls for name, (kind, optional, _) in unpacked if isinstance(kind, mi.StructType) and not optional
    }


def _members(model: type[Struct]) -> tuple[mi.Field, ...]:
    found = mi.type_info(model)
    assert isinstance(found, mi.StructType)
    return found.fields


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default_factory() if field.default_factory is not NODEFAULT else field.default


def _none_word(kind: mi.Type) -> str:
    return "" if _is_text(kind) else "none"


def _is_text(kind: mi.Type) -> bool:
    match kind:
        case mi.StrType():
            return True
        case mi.LiteralType():
            return all(isinstance(value, str) for value in kind.values)
        case mi.EnumType():
            return all(isinstance(member.value, str) for member in kind.cls)
    return False


def _from_text(kind: mi.Type, text: str) -> object:
    if _is_text(kind):
        return text
    if not isinstance(kind, (mi.CollectionType, mi.TupleType, mi.DictType, mi.StructType)):
        return text.strip()
    if text.lstrip().startswith(("[", "{")):
        try:
            return json.loads(text)
        except ValueError:
            return text  # the conversion refuses it, showing what was written
    is_list = isinstance(kind, (mi.CollectionType, mi.TupleType))
    return [part.strip() for part in text.split(",") if part.strip()] if is_list else text
