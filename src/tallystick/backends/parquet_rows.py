"""Records as lines of JSON, from which DuckDB makes the columns of a Parquet file, and back.

DuckDB's own JSON reader is the quickest way into it that needs no second library. The columns are those of the
PostgreSQL backend, with the host, application and process beside them, since a file has no tables to join with.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from tallystick.backends.postgresql_rows import row_of, to_record
from tallystick.codec import encode
from tallystick.records import NOWHERE, Batch, Header, Record

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
says what these columns cannot. `written_ns` is when the file was written: it decides between equally old contents of
one own id."""

DAY_NS: Final = 86_400 * 10**9
_EPOCH: Final = dt.date(1970, 1, 1)


class Part(NamedTuple):
    """What becomes one file: the records of one day, either with or without ids of the caller's own."""

    day: str
    own: bool


def day_of(timestamp_ns: int) -> str:
    """`2026-11-21`. Raises `OverflowError` for a moment that 64 bits cannot hold."""
    if not -(2**63) <= timestamp_ns < 2**63:
        raise OverflowError(f"timestamp_ns: {timestamp_ns} does not fit 64 bits")
    return (_EPOCH + dt.timedelta(days=timestamp_ns // DAY_NS)).isoformat()


def parts_of(batch: Batch, written_ns: int) -> tuple[dict[Part, dict[int, str]], dict[int, str]]:
    """The lines of each file by the records' places, and why records were rejected, by index."""
    header = batch.header
    common = {
        "segment": header.segment,
        "host": header.host,
        "app": header.app,
        "pid": header.pid,
        "written_ns": written_ns,
    }
    tail = "," + encode(common).decode()[1:]
    parts: dict[Part, dict[int, str]] = defaultdict(dict)
    rejected: dict[int, str] = {}
    shared: dict[tuple[str, str, str | None, int, float], str] = {}
    days: dict[int, str] = {}
    for index, record in enumerate(batch.records):
        moment = record.timestamp_ns
        try:
            day = days.get(moment // DAY_NS)
            if day is None:
                day = days[moment // DAY_NS] = day_of(moment)
            key = (record.name, record.kind, record.unit, id(record.tags), record.sample_rate)
            head = shared.get(key)
            if head is None:
                head = shared[key] = _head(record)
            line = f'{{"timestamp_ns":{moment},"place":{record.offset}{head}{_cells(record)}{tail}'
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            rejected[index] = f"{type(error).__name__}: {error}"
        else:
            parts[Part(day, record.own_id is not None)][record.offset] = line
    return parts, rejected


def _head(record: Record) -> str:
    """What many records share."""
    fields = {
        "name": record.name,
        "kind": record.kind,
        "unit": record.unit,
        "tags": record.tags,
        "sample_rate": record.sample_rate,
    }
    return "," + encode(fields).decode()[1:-1]


def _cells(record: Record) -> str:
    value = record.value
    if record.own_id is None and not record.words and not record.metadata:
        if type(value) is float and value - value == 0.0:
            return f',"value":{value!r}'
        if type(value) is int and -(2**63) <= value < 2**63:
            return f',"value":{float(value)!r},"whole":{value}'
    row = row_of(record, 0)
    fields = {"value": row[6], "whole": row[7], "content": row[8], "extra": row[11], "own_id": row[12]}
    return "".join(f',"{name}":{encode(cell).decode()}' for name, cell in fields.items() if cell is not None)


def from_rows(rows: Iterable[tuple[Any, ...]], headers: dict[tuple[Any, ...], Header]) -> list[Record]:
    """The inverse, for rows with the columns of `COLUMNS` in order; `headers` is kept from call to call."""
    records = []
    for row in rows:
        key = (row[1], *row[13:16])
        header = headers.get(key)
        if header is None:
            header = headers[key] = Header(NOWHERE.tallystick, row[1], host=row[13], app=row[14], pid=row[15])
        records.append(to_record(row[:13], header))
    return records
