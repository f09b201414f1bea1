"""A record as a MongoDB document, and back.

    {"_id": "0198…-139", "timestamp": ISODate(…), "timestamp_ns": NumberLong(…), "kind": "counter",
     "name": "user.signup", "value": 1, "number": 1.0, "tags": {"plan": "pro"}, "host": "web-1", "app": "shop",
     "pid": 4242, "segment": "0198…", "place": 139}

`number` is the value as a double, where it is a number or a truth value: what aggregates see.
`unit`, `words`, `metadata` and `sample_rate` are there only when the record has them. A key of tags, metadata or a
document that MongoDB would take for a path or an operator has its `.`, `$` and `%` written as `%2E`, `%24` and `%25`.
Datetimes are native dates, which end at milliseconds; finer ones are kept beside them in `precise`, by JSON pointer.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

from tallystick.backends.base import Foreign
from tallystick.backends.mongodb.care import INDEXES
from tallystick.codec import plain
from tallystick.records import Header, Record, checked_rate

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS: Final = 253_402_300_799_999


@lru_cache(10_000)
def escaped(key: str) -> str:
    """A tag's or document's key as the name of a field."""
    return re.sub(r"[%.$]", lambda found: f"%{ord(found[0]):02X}", key)


class Native:
    """The library's own shape; what another one has is said by `backends/shapes.py`."""

    name = ""
    foreign: Foreign | None = None
    age = "timestamp_ns"
    indexes: tuple[tuple[str, ...], ...] = INDEXES

    def place(self, record: Record) -> str | None:
        return None

    def document(self, record: Record) -> dict[str, Any]:
        """A new dict, nothing in it shared with the record: the driver may change it.

        Raises `TypeError` or `ValueError` for a value that no record may have, be it that MongoDB could store it.
        """
        header, value = record.header, record.value
        milliseconds = min(record.timestamp_ns // 1_000_000, _LATEST_MS)
        made: dict[str, Any] = {
            "_id": record.id,
            "timestamp": _EPOCH + timedelta(0, milliseconds // 1_000, milliseconds % 1_000 * 1_000),
            "timestamp_ns": record.timestamp_ns,
            "kind": record.kind,
            "name": record.name,
            "value": value,
            "tags": {escaped(key): tag for key, tag in record.tags.items()},
            "host": header.host,
            "app": header.app,
            "pid": header.pid,
            "segment": header.segment,
            "place": record.offset,
        }
        if isinstance(value, int | float):
            made["number"] = number = float(value)
            if number - number:  # of infinity or no number, which is not 0
                raise ValueError(f"value: {value} is not finite")
        elif value is not None and type(value) is not str:
            made |= _nested(value)
        if record.unit is not None:
            made["unit"] = record.unit
        if record.words:
            made["words"] = list(record.words)
        if record.metadata:
            made["metadata"] = _keys(record.metadata, escaped)
        if record.sample_rate != 1.0:
            made["sample_rate"] = checked_rate(record.sample_rate)
        if record.own_id is not None:
            made["replaces"] = True
        return made

    def record(self, found: dict[str, Any]) -> Record:
        """The inverse of `document`."""
        header = Header(1, found["segment"], found["host"], found["pid"], found["app"])
        value = _keys(found["value"], unquote)
        if precise := found.get("precise"):
            value = _put_all({unquote(pointer): moment for pointer, moment in precise.items()}, value)
        return Record(
            int(found["timestamp_ns"]),
            found["kind"],
            found["name"],
            value,
            {unquote(key): tag for key, tag in found["tags"].items()},
            tuple(found.get("words", ())),
            header,
            int(found["place"]),
            found.get("unit"),
            _keys(found.get("metadata", {}), unquote),
            found.get("sample_rate", 1.0),
            found["_id"] if found.get("replaces") else None,
        )


def _nested(value: Any) -> dict[str, Any]:
    """The fields of a value that is a document, a list or a datetime."""
    _check(value)
    made = {"value": _keys(value, escaped)}
    if precise := _finer_than_milliseconds(value):
        made["precise"] = precise
    return made


def _check(value: Any) -> None:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            _check(part)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"value: {value} is not finite")
    elif value is not None and not isinstance(value, str | bool | int | float | datetime):
        raise TypeError(f"value: {type(value).__name__} is no type of a record's value")


def _keys(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {change(key): _keys(part, change) for key, part in value.items()}
    if isinstance(value, list):
        return [_keys(part, change) for part in value]
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value  # bson has an int of its own


def _finer_than_milliseconds(value: Any) -> dict[str, str]:
    """By JSON pointer (as a field's name) the datetimes of which a native date keeps only a part."""
    text, pointers = plain(value)
    if not pointers:
        return {}
    found = {}
    for pointer in pointers:
        moment = _at(value, pointer)
        if moment.microsecond % 1000:
            found[escaped(pointer)] = _at(text, pointer)
    return found


def _steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _at(value: Any, pointer: str) -> Any:
    for step in _steps(pointer):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def _put_all(precise: dict[str, str], value: Any) -> Any:
    """The value with its finer datetimes in place of the native ones."""
    for pointer, moment in precise.items():
        if pointer == "":
            return datetime.fromisoformat(moment).astimezone(UTC)
        *way, last = _steps(pointer)
        holder = value
        for step in way:
            holder = holder[int(step)] if isinstance(holder, list) else holder[step]
        holder[int(last) if isinstance(holder, list) else last] = datetime.fromisoformat(moment).astimezone(UTC)
    return value
