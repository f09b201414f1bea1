"""Kadabra's wire: one JSON object an entry of the list, and what it is in records.

    {"dimensions": [{"name": "env", "value": "prod"}], "counters": […], "timers": […], "timestamp_format": "…", …}

In records it is one for each counter and timer: the dimensions are tags, the unit's name is the unit. Where whole
collections are wanted (by a publisher with `publish(list)`, or on the way into a list), an entry is a single record of
the kind `kadabra.entry` whose value is the text of the entry.

Invariants
- An entry is data of others: nothing in it is run, and what cannot be read is a damaged line of its batch, that is, a
  dead letter with its bytes. Its neighbours are delivered.
- The same entry gives the same lines, byte by byte, so a batch that comes again has its records at the same places.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from tallystick.codec import UNREADABLE, Extra, Reader, encode_line
from tallystick.compat.kadabra.metrics import Metrics
from tallystick.records import COUNTER, TIMING, Batch, Damage, Header, Record

WHOLE: Final = "kadabra.entry"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MAX: Final = 2**63
FORMATS: Final = ("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%SZ")
"""What `datetime.fromisoformat` reads, which is ten times as fast as `strptime`."""


def whole_line(entry: bytes, name: str, at_ns: int) -> bytes:
    """The line of the record that is the entry as it stands. Raises one of `UNREADABLE`."""
    return encode_line(at_ns, WHOLE, name, entry.decode(), None)


def text_of(record: Record) -> str:
    """The entry in a record of the kind `WHOLE`. Raises `ValueError` for any other."""
    if record.kind != WHOLE or not isinstance(record.value, str):
        raise ValueError(f"a record of kind {record.kind!r} is no entry of Kadabra's")
    return record.value


def metrics_of(record: Record) -> Metrics:
    """Raises `ValueError` for a record that is no entry."""
    return Metrics.deserialize(json.loads(text_of(record)))


def batch_of(identity: str, start: int, entries: Iterable[bytes], *, whole: str | None = None) -> Batch:
    """The batch of these entries, which begins at byte `start` of the segment `identity`.

    `whole` is the name of records that are whole entries; without it each metric is a record.
    """
    parts: list[bytes] = []
    reasons: dict[int, str] = {}
    at = start
    for entry in entries:
        try:
            part = _whole(entry, whole) if whole is not None else b"".join(lines_of(entry))
        except UNREADABLE as error:
            part = entry.replace(b"\n", b" ") + b"\n"
            reasons[at] = f"an entry that cannot be read: {type(error).__name__}: {error}"
        parts.append(part)
        at += len(part)
    header = Header(tallystick=1, segment=identity)
    return Batch.of(header, start, b"".join(parts), _EntryReader(header, reasons))


class _EntryReader(Reader):
    """Says of an entry that cannot be read why it cannot."""

    def __init__(self, header: Header, reasons: dict[int, str]) -> None:
        super().__init__(header)
        self._reasons = reasons

    def names(self, raw: bytes, start: int) -> tuple[list[str], list[int], list[Damage]]:
        names, offsets, damaged = super().names(raw, start)
        return names, offsets, self._told(damaged)

    def records(self, raw: bytes, start: int) -> tuple[list[Record], list[Damage]]:
        records, damaged = super().records(raw, start)
        return records, self._told(damaged)

    def _told(self, damaged: list[Damage]) -> list[Damage]:
        return [Damage(one.offset, one.line, self._reasons.get(one.offset, one.reason)) for one in damaged]


def _whole(entry: bytes, name: str) -> bytes:
    loaded = _loaded(entry)
    Metrics.deserialize(loaded)  # what it cannot read, no publisher can
    sent = loaded.get("serialized_at")
    at = _nanoseconds(sent, loaded["timestamp_format"]) if sent else 0
    return whole_line(entry, name, at)


def lines_of(entry: bytes) -> list[bytes]:
    """The lines of the entry's records. Raises one of `UNREADABLE`."""
    loaded = _loaded(entry)
    shape = loaded["timestamp_format"]
    tags = {_text(one["name"]): _text(one["value"]) for one in loaded["dimensions"] if one["value"] not in (None, "")}
    lines, moments = [], dict[str, int]()
    for kind, metrics in ((COUNTER, loaded["counters"]), (TIMING, loaded["timers"])):
        for one in metrics:
            text = one["timestamp"]
            if (at := moments.get(text)) is None:
                at = moments[text] = _nanoseconds(text, shape)
            value = float(one["value"])
            if not math.isfinite(value):
                raise ValueError(f"{one['name']}: value {value} is not finite")
            unit = one["unit"]["name"] if kind == TIMING else None
            metadata = one["metadata"] or {}
            extra = Extra(unit=unit, metadata=metadata) if unit is not None or metadata else None
            lines.append(encode_line(at, kind, one["name"], value, tags, *([extra] if extra else [])))
    return lines


def _loaded(entry: bytes) -> dict[str, Any]:
    try:
        loaded = msgspec.json.decode(entry)
    except msgspec.MsgspecError:  # it knows no NaN, and says less of what is wrong
        loaded = json.loads(entry)
    if not isinstance(loaded, Mapping):
        raise TypeError(f"{type(loaded).__name__} instead of an object")
    return dict(loaded)


def _nanoseconds(text: str, shape: str) -> int:
    short = shape in FORMATS and text[-1:] == "Z"
    moment = datetime.fromisoformat(text) if short else datetime.strptime(text, shape)  # noqa: DTZ007
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    at = (moment - _EPOCH) // _MICROSECOND * 1000
    if not -_MAX <= at < _MAX:
        raise OverflowError(f"timestamp: {text} is not between the years 1677 and 2262")
    return at


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)
