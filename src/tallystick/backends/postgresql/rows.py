"""Records as rows for PostgreSQL, and the rows as COPY takes them. `_rows` says what stands in which column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

from tallystick.backends._rows import cells_of, to_record
from tallystick.codec import encode
from tallystick.records import Header, Record, checked_rate

Row = tuple[str, str, str | None, float | None, int | None, str | None, str, float, str | None, str | None]
"""The columns from `name` to `own_id`: name, kind, unit, value, whole, content, tags (JSON), sample_rate, extra (JSON),
own_id. The backend adds those before them, which tell what is stored."""

_LINES: Final = 500
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Shape(Protocol):
    """What a record is as a row, and back."""

    def writer(self) -> Callable[[Record], Row]:
        """A function for the records of one batch, so that it may remember what equal ones share. It raises
        `TypeError`, `ValueError` or `OverflowError` to reject a record."""

    def record(self, row: tuple[Any, ...], header: Header) -> Record:
        """The inverse, of all columns (from `timestamp_ns` on); `tags` come as a dict, `extra` as JSON text."""


class Native:
    """The library's own shape."""

    def writer(self) -> Callable[[Record], Row]:
        known: dict[int, str] = {}  # by the identity of tags, which the batch holds on to

        def row(record: Record) -> Row:
            tags = known.get(id(record.tags))
            if tags is None:
                tags = known[id(record.tags)] = encode(record.tags).decode()
            value, whole, content, extra = cells_of(record)
            head = record.name, record.kind, record.unit
            rate = checked_rate(record.sample_rate)
            return (*head, value, whole, content, tags, rate, extra, record.own_id)

        return row

    def record(self, row: tuple[Any, ...], header: Header) -> Record:
        return to_record(row, header)


def copy_texts(records: Iterable[Record], segment: int, row: Callable[[Record], Row]) -> Iterator[str]:
    """The rows as COPY's text format, in pieces: the server takes one while the next is made."""
    heads: dict[tuple[str, str, str | None], str] = {}  # what many rows share is escaped once
    tails: dict[tuple[str, float, str | None], str] = {}
    lines: list[str] = []
    for record in records:
        name, kind, unit, value, whole, content, tags, rate, extra, own_id = row(record)
        head = heads.get((name, kind, unit))
        if head is None:
            head = heads[name, kind, unit] = "\t".join(map(_field, (name, kind, unit)))
        tail = tails.get((tags, rate, extra))
        if tail is None:
            tail = tails[tags, rate, extra] = "\t".join(map(_field, (tags, rate, extra)))
        number = "\\N" if value is None else repr(value)
        exact = "\\N" if whole is None else repr(whole)
        text = "\\N" if content is None else _field(content)
        start = f"{record.timestamp_ns}\t{segment}\t{record.offset}\t{head}"
        lines.append(f"{start}\t{number}\t{exact}\t{text}\t{tail}\t{_field(own_id)}\n")
        if len(lines) == _LINES:
            yield "".join(lines)
            lines = []
    yield "".join(lines)


def _field(cell: str | float | None) -> str:
    return "\\N" if cell is None else str(cell).translate(_ESCAPES)
