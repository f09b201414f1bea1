"""Records as rows, and back, for the stores whose columns these are: PostgreSQL, ClickHouse and Parquet.

A number stands in `value` as a double, and an integer in `whole` too, exactly. A text stands in `content`; so do a
document, a list and a datetime, as JSON, and then `extra` says so. PostgreSQL keeps the host, application and process
in a table of their own; the others have them in each row, and take the rows as lines of JSON.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from tallystick.codec import encode, plain, with_datetimes
from tallystick.records import NOWHERE, Batch, Header, Record, Value, checked_rate

COLUMNS: Final = {
    "timestamp_ns": "BIGINT",
    "segment": "VARCHAR",
    "place": "BIGINT",
    "name": "VARCHAR",
    "kind": "VARCHAR",
    "unit": "VARCHAR",
    "value": "DOUBLE",
    "whole": "BIGINT",
    "content": "VARCHAR",
    "tags": "MAP(VARCHAR, VARCHAR)",
    "sample_rate": "DOUBLE",
    "extra": "VARCHAR",
    "own_id": "VARCHAR",
    "host": "VARCHAR",
    "app": "VARCHAR",
    "pid": "BIGINT",
    "written_ns": "BIGINT",
}
"""`value` is what aggregates see; `whole` keeps an integer exactly, `content` a text, or a document as JSON; `extra`
says what these columns cannot. `written_ns` is when the row was sent: it decides between equally old contents of
one own id."""

DAY_NS: Final = 86_400 * 10**9
_EPOCH: Final = dt.date(1970, 1, 1)

Cells = tuple[float | None, int | None, str | None, str | None]
"""`value`, `whole`, `content` and `extra`."""


class Part(NamedTuple):
    """The records of one day, either with or without ids of the caller's own."""

    day: str
    own: bool


class Shape(Protocol):
    """What stands in the columns from `name` to `own_id`. The backend adds the others, which tell what is stored."""

    def writer(self) -> Callable[[Record], str]:
        """A function for the records of one batch. It gives the cells as they stand in a JSON object, without its
        braces and without nulls, or raises `TypeError`, `ValueError` or `OverflowError` to reject the record."""

    def record(self, row: tuple[Any, ...], header: Header) -> Record:
        """The inverse, of the columns from `timestamp_ns` to `own_id`."""


class Native:
    """The library's own shape."""

    def writer(self) -> Callable[[Record], str]:
        shared: dict[tuple[str, str, str | None, int, float], str] = {}

        def cells(record: Record) -> str:
            key = (record.name, record.kind, record.unit, id(record.tags), record.sample_rate)
            head = shared.get(key)
            if head is None:
                head = shared[key] = _head(record)
            value = record.value
            if record.own_id is None and not record.words and not record.metadata:
                if type(value) is float and value - value == 0.0:
                    return f'{head},"value":{value!r}'
                if type(value) is int and -(2**63) <= value < 2**63:
                    return f'{head},"value":{float(value)!r},"whole":{value}'
            number, whole, content, extra = cells_of(record)
            fields = {"value": number, "whole": whole, "content": content, "extra": extra, "own_id": record.own_id}
            rest = (f',"{name}":{encode(cell).decode()}' for name, cell in fields.items() if cell is not None)
            return head + "".join(rest)

        return cells

    def record(self, row: tuple[Any, ...], header: Header) -> Record:
        return to_record(row, header)


def _head(record: Record) -> str:
    """What many records share."""
    fields = {
        "name": record.name,
        "kind": record.kind,
        "unit": record.unit,
        "tags": record.tags,
        "sample_rate": checked_rate(record.sample_rate),
    }
    return encode(fields).decode()[1:-1]


def day_of(timestamp_ns: int) -> str:
    """`2026-11-21`. Raises `OverflowError` for a moment that 64 bits cannot hold."""
    if not -(2**63) <= timestamp_ns < 2**63:
        raise OverflowError(f"timestamp_ns: {timestamp_ns} does not fit 64 bits")
    return (_EPOCH + dt.timedelta(days=timestamp_ns // DAY_NS)).isoformat()


def shared_cells(header: Header, written_ns: int) -> dict[str, Any]:
    """What all rows of a batch have in common, by column."""
    return {
        "segment": header.segment,
        "host": header.host,
        "app": header.app,
        "pid": header.pid,
        "written_ns": written_ns,
    }


def parts_of(
    batch: Batch, shape: Shape, shared: Mapping[str, Any] | None = None
) -> tuple[dict[Part, dict[int, str]], dict[int, str]]:
    """Each part's lines of JSON by the records' places, and why records were rejected, by index. The lines end with the
    cells of `shared`, for a store that takes nothing beside the lines."""
    tail = "," + encode(shared).decode()[1:] if shared else "}"
    parts: dict[Part, dict[int, str]] = defaultdict(dict)
    rejected: dict[int, str] = {}
    days: dict[int, str] = {}
    cells = shape.writer()
    for index, record in enumerate(batch.records):
        moment = record.timestamp_ns
        try:
            day = days.get(moment // DAY_NS)
            if day is None:
                day = days[moment // DAY_NS] = day_of(moment)
            line = f'{{"timestamp_ns":{moment},"place":{record.offset},{cells(record)}{tail}'
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            rejected[index] = f"{type(error).__name__}: {error}"
        else:
            parts[Part(day, record.own_id is not None)][record.offset] = line
    return parts, rejected


def from_rows(rows: Iterable[tuple[Any, ...]], headers: dict[tuple[Any, ...], Header], shape: Shape) -> list[Record]:
    """For rows with the columns of `COLUMNS` in order; `headers` is kept from call to call."""
    records = []
    for row in rows:
        key = (row[1], *row[13:16])
        header = headers.get(key)
        if header is None:
            header = headers[key] = Header(NOWHERE.tallystick, row[1], host=row[13], app=row[14], pid=row[15])
        records.append(shape.record(row[:13], header))
    return records


class Extra(msgspec.Struct, frozen=True, omit_defaults=True):
    """`type` is "bool" for a truth value that stands in `value` as 1 or 0, "json" for JSON in `content`."""

    type: Literal["", "bool", "json"] = ""
    datetimes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}


_NO_EXTRA: Final = Extra()
_decode_extra: Final = msgspec.json.Decoder(Extra).decode


def cells_of(record: Record) -> Cells:
    """Raises `TypeError`, `ValueError` or `OverflowError` for a value that no record may have."""
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
    elif isinstance(value, dict | list | dt.datetime):
        value, pointers = plain(value)
        content, kind = encode(value).decode(), "json"
    elif value is not None:
        raise TypeError(f"value: {type(value).__name__} is no type of a record's value")
    if not (kind or pointers or record.words or record.metadata):
        return number, whole, content, None
    extra = Extra(kind, tuple(pointers), record.words, record.metadata)
    return number, whole, content, encode(extra).decode()


def to_record(row: tuple[Any, ...], header: Header) -> Record:
    """Of the columns from `timestamp_ns` to `own_id`; `tags` may come as a dict, `extra` as JSON text."""
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
