"""Records as PostgreSQL's COPY takes them. `_rows` says what stands in which column."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tallystick.backends._rows import cells_of
from tallystick.codec import encode
from tallystick.records import Record

_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


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
            number, whole, content, more = cells_of(record)
            cells = f"{_field(number)}\t{_field(whole)}\t{_field(content)}"
            extra = _field(more)
        start = f"{record.timestamp_ns}\t{segment}\t{record.offset}\t{known[0]}"
        lines.append(f"{start}\t{cells}\t{known[1]}\t{record.sample_rate!r}\t{extra}\t\\N\n")
    return "".join(lines)


def _field(value: object) -> str:
    return "\\N" if value is None else str(value).translate(_ESCAPES)
