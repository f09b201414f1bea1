"""A field's options, and the values of a document.

A document holds what a record's value may hold: numbers, texts, booleans, aware datetimes, lists and dicts of these. A
`Decimal`, a `UUID`, a date and an enum stand there as text (an enum of numbers as its number) and come back by the
field's annotation. A naive datetime means UTC.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from tallystick.codec import MAX_INTEGER
from tallystick.errors import RecordError

OPTIONS: Final = "tallystick"
_PLAIN: Final = (str, int, float, bool)
_KEPT: Final = (datetime, date, Decimal, UUID)


class FieldOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a store is told of a field: index it, hold it as full text, keep it as a tag of the record, too."""

    index: bool = False
    text: bool = False
    tag: bool = False


def field(
    *,
    default: Any = dataclasses.MISSING,
    default_factory: Callable[[], Any] | Any = dataclasses.MISSING,
    index: bool = False,
    text: bool = False,
    tag: bool = False,
) -> Any:
    """A field with options: `item_id: str = field(tag=True)`.

    `tag` puts the value among the record's tags, so that every backend filters and groups by it itself; `index` and
    `text` (full text instead of a keyword) are for the store's schema.
    """
    metadata = {OPTIONS: FieldOptions(index, text, tag)}
    if default is not dataclasses.MISSING:
        return dataclasses.field(default=default, metadata=metadata)
    return dataclasses.field(default_factory=default_factory, metadata=metadata)


def options_of(cls: type) -> dict[str, FieldOptions]:
    """The options of each field that has some. A dataclass field says them; an `Annotated` one holds them."""
    found = {}
    if dataclasses.is_dataclass(cls):
        found = {f.name: f.metadata[OPTIONS] for f in dataclasses.fields(cls) if OPTIONS in f.metadata}
    for base in reversed(cls.__mro__):
        for name, annotation in getattr(base, "__annotations__", {}).items():
            for extra in getattr(annotation, "__metadata__", ()):
                if isinstance(extra, FieldOptions):
                    found[name] = extra
    return found


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as a caller gives them, for validation: enums as their values, nested objects as dicts."""
    return {name: _given(value) for name, value in values.items()}


def _given(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, dict):
        return {key: _given(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_given(one) for one in value]
    try:
        plain = msgspec.to_builtins(value, builtin_types=_KEPT)
    except (TypeError, ValueError):
        return value  # the validation names the field
    return plain if plain is value or isinstance(plain, _KEPT) else _given(plain)


def storable(value: Any, field_name: str) -> Any:
    """The value in a document. Raises `RecordError` for a number that no store holds."""
    if isinstance(value, datetime):
        return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).astimezone(UTC)
    if isinstance(value, dict):
        return {key: storable(one, f"{field_name}.{key}") for key, one in value.items()}
    if isinstance(value, list):
        return [storable(one, f"{field_name}[{index}]") for index, one in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise RecordError("value", field_name, f"{value} is not finite; leave the field out, or make it optional")
    if isinstance(value, int) and not -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
        raise RecordError("value", field_name, f"{value} does not fit 64 bits; declare the field as Decimal")
    return value
