"""Records as rows for PostgreSQL, and back.

A number stands in `value` as a double, and an integer in `whole` too, exactly. A text stands in `content`; so do a
document, a list and a datetime, as JSON, and then `extra` says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from tallystick.codec import encode, plain, with_datetimes
from tallystick.records import Header, Record, Value

Row = tuple[
    int, int, int, str, str, str | None, float | None, int | None, str | None, str, float, str | None, str | None
]
"""In the order of `postgresql_schema.COLUMNS`."""


class Extra(msgspec.Struct, frozen=True, omit_defaults=True):
    """`type` is "bool" for a truth value that stands in `value` as 1 or 0, "json" for JSON in `content`."""

    type: Literal["", "bool", "json"] = ""
    datetimes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}


_NO_EXTRA: Final = Extra()
_decode_extra: Final = msgspec.json.Decoder(Extra).decode
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def row_of(record: Record, segment: int) -> Row:
    """Raises `TypeError`, `ValueError` or `OverflowError` for a value that no record may have."""
    number, whole, content, extra = _cells(record)
    own = record.own_id
    tags = encode(record.tags).decode()
    head = (record.timestamp_ns, segment, record.offset, record.name, record.kind, record.unit)
    return (*head, number, whole, content, tags, record.sample_rate, extra, own)


def _cells(record: Record) -> tuple[float | None, int | None, str | None, str | None]:
    value = record.value
    number: float | None = None
    whole: int | None = None
    content: str | None = None
    kind: Literal["", "bool", "json"] = ""
    pointers: list[str] = []
    if type(value) is bool:
        number, kind = float(value), "bool"
    elif type(value) is int:
        if not -(2**63) <= value < 2**63:
            raise OverflowError(f"value: {value} does not fit 64 bits")
        number, whole = float(value), value
    elif type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"value: {value} is not finite")
        number = value
    elif type(value) is str:
        content = value
    elif isinstance(value, dict | list | datetime):
        value, pointers = plain(value)
        content, kind = encode(value).decode(), "json"
    elif value is not None:
        raise TypeError(f"value: {type(value).__name__} is no type of a record's value")
    if not (kind or pointers or record.words or record.metadata):
        return number, whole, content, None
    extra = Extra(kind, tuple(pointers), record.words, record.metadata)
    return number, whole, content, encode(extra).decode()


def copy_text(records: Iterable[Record], segment: int) -> str:
    """The rows as COPY's text format. What equal records share is made once."""
    lines: list[str] = []
    shared: dict[tuple[str, str, str | None, int], tuple[str, str]] = {}
    for record in records:
        key = (record.name, record.kind, record.unit, id(record.tags))
        known = shared.get(key)
        if known is None:
            head = "\t".join(map(_field, key[:3]))
            known = shared[key] = head, _field(encode(record.tags).decode())
        value, extra = record.value, "\\N"
        if type(value) is float and not record.words and not record.metadata and value - value == 0.0:
            cells = f"{value!r}\t\\N\t\\N"
        else:
            number, whole, content, more = _cells(record)
            cells = f"{_field(number)}\t{_field(whole)}\t{_field(content)}"
            extra = _field(more)
        start = f"{record.timestamp_ns}\t{segment}\t{record.offset}\t{known[0]}"
        lines.append(f"{start}\t{cells}\t{known[1]}\t{record.sample_rate!r}\t{extra}\t\\N\n")
    return "".join(lines)


def _field(value: object) -> str:
    return "\\N" if value is None else str(value).translate(_ESCAPES)


def to_record(row: tuple[Any, ...], header: Header) -> Record:
    """The inverse of `row_of`; `tags` may come as a dict, `extra` as JSON text."""
    moment, _, place, name, kind, unit, number, whole, content, tags, rate, extra, own = row
    known = _NO_EXTRA if extra is None else _decode_extra(extra)
    value: Value
    if known.type == "json":
        value = with_datetimes(msgspec.json.decode(content), known.datetimes)
    elif known.type == "bool":
        value = bool(number)
    else:
        value = content if content is not None else whole if whole is not None else number
    return Record(moment, kind, name, value, tags, known.words, header, place, unit, known.metadata, rate, own)
