"""A type and its range as words: what a person is told about a field."""

from __future__ import annotations

import msgspec.inspect as mi

from alice_rl.settings.toml_text import write_value

__all__ = ["range_words", "type_words", "unwrapped"]


def unwrapped(kind: mi.Type) -> tuple[mi.Type, bool, dict[str, object]]:
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


def type_words(kind: mi.Type) -> str:
    """The type, as in "list of whole number"."""
    kind, optional, _ = unwrapped(kind)
    match kind:
        case mi.LiteralType():
            words = f"one of {', '.join(map(write_value, kind.values))}"
        case mi.EnumType():
            words = f"one of {', '.join(write_value(member.value) for member in kind.cls)}"
        case mi.CollectionType():
            words = f"list of {type_words(kind.item_type)}"
        case mi.TupleType():
            words = f"list of {', '.join(map(type_words, kind.item_types))}"
        case mi.DictType():
            words = f"table of {type_words(kind.value_type)}"
        case mi.UnionType():
            words = " or ".join(map(type_words, kind.types))
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


def range_words(kind: mi.Type) -> str:
    """The range, as in "1 to 65535"; empty where there is none."""
    kind, _, _ = unwrapped(kind)
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
            return _joined(*map(range_words, kind.types))
    return ""


def _each(kind: mi.Type) -> str:
    words = range_words(kind)
    return f"each {words}" if words else ""


def _length(least: int | None, most: int | None, unit: str) -> str:
    if least == 1 and most is None:
        return "not empty"
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
