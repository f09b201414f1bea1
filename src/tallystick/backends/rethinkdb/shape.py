"""A record as a RethinkDB document, and back.

    {"id": "0198…-139", "timestamp": TIME (milliseconds), "moment": [1763717400, 123456789], "kind": "counter",
     "name": "user.signup", "value": 1, "number": 1, "tags": {"plan": "pro"}, "host": "web-1", "app": "shop",
     "pid": 4242, "segment": "0198…", "place": 139}

- RethinkDB's numbers are doubles, so the exact time is `moment`: whole seconds since the epoch, and nanoseconds.
- `number` is the value as a double, where it is a number or a truth value: what aggregates see.
- `exact` is there only when value or metadata hold what a double or a TIME cannot give back (integers from 2**53 on,
  floats without a fraction, datetimes): a JSON text of both, with the places of the datetimes.
- A key has at most 127 bytes and no NUL: a longer own id is in `own_id`, and `id` is `sha256:` and its hash.
- In keys of tags, metadata and documents `$`, `%` and NUL are written `%24`, `%25` and `%00`: `$reql_type$` has a
  meaning of its own.
- `unit`, `words`, `metadata`, `sample_rate` and `replaces` (an own id) are there only when the record has them.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from tallystick.backends.base import Foreign
from tallystick.codec import plain, with_datetimes
from tallystick.records import Header, Record, checked_rate

SECOND_NS: Final = 1_000_000_000
LONGEST_KEY_BYTES: Final = 127
HASHED: Final = "sha256:"
DEEPEST: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def escaped(key: str) -> str:
    """A tag's or document's key as the name of a field."""
    return re.sub(r"[%$\0]", lambda found: f"%{ord(found[0]):02X}", key)


def key_of(id: str) -> str:
    """A record's id as a primary key. One that looks like a hash of ours is hashed too, so that no two meet."""
    data = id.encode()
    if len(data) <= LONGEST_KEY_BYTES and b"\0" not in data and not id.startswith(HASHED):
        return id
    return HASHED + hashlib.sha256(data).hexdigest()


def moment(timestamp_ns: int) -> list[int]:
    """`[seconds, nanoseconds]`, both of them exact as doubles, and in the order of time as a list."""
    return list(divmod(timestamp_ns, SECOND_NS))


class Native:
    """The library's own shape; what another one has is said by `backends/shapes.py`."""

    name = ""
    foreign: Foreign | None = None
    age = "moment"
    indexes: tuple[tuple[str, ...], ...] = (("moment",),)

    def place(self, record: Record) -> str | None:
        return None

    def document(self, record: Record) -> dict[str, Any]:
        """Of plain Python values and datetimes. Raises `TypeError` or `ValueError` for what no record may hold."""
        header = record.header
        if not -(2**63) <= record.timestamp_ns < 2**63:
            raise ValueError(f"timestamp_ns: {record.timestamp_ns} does not fit 64 bits")
        made: dict[str, Any] = {
            "id": key_of(record.id),
            "timestamp": _EPOCH + timedelta(milliseconds=record.timestamp_ns // 1_000_000),
            "moment": moment(record.timestamp_ns),
            "kind": record.kind,
            "name": record.name,
            "value": _keys(record.value, escaped),
            "tags": {escaped(key): value for key, value in record.tags.items()},
            "host": header.host,
            "app": header.app,
            "pid": header.pid,
            "segment": header.segment,
            "place": record.offset,
        }
        if isinstance(record.value, int | float):
            made["number"] = float(record.value)
        whole = _comes_back(record.value)
        if not _comes_back(record.metadata) or not whole:
            made["exact"] = msgspec.json.encode([*plain(record.value), *plain(record.metadata)]).decode()
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
            if made["id"] != record.own_id:
                made["own_id"] = record.own_id
        return made

    def record(self, found: dict[str, Any]) -> Record:
        """The inverse of `document`."""
        header = Header(1, found["segment"], found["host"], int(found["pid"]), found["app"])
        seconds, nanoseconds = found["moment"]
        if exact := found.get("exact"):
            value, moments, metadata, more = msgspec.json.decode(exact)
            value, metadata = with_datetimes(value, moments), with_datetimes(metadata, more)
        else:
            value, metadata = _keys(found["value"], unquote), _keys(found.get("metadata", {}), unquote)
        return Record(
            int(seconds) * SECOND_NS + int(nanoseconds),
            found["kind"],
            found["name"],
            value,
            {unquote(key): tag for key, tag in found["tags"].items()},
            tuple(found.get("words", ())),
            header,
            int(found["place"]),
            found.get("unit"),
            metadata,
            float(found.get("sample_rate", 1.0)),
            found.get("own_id", found["id"]) if found.get("replaces") else None,
        )


def _keys(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {change(key): _keys(part, change) for key, part in value.items()}
    if isinstance(value, list):
        return [_keys(part, change) for part in value]
    return value


def _comes_back(value: Any, depth: int = 0) -> bool:
    """Whether RethinkDB gives this back with its type."""
    if value is None or isinstance(value, bool | str):
        return True
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"{value} does not fit 64 bits")
        return abs(value) < 2**53
    if isinstance(value, float):
        return not value.is_integer()
    if isinstance(value, datetime):
        return False
    if depth > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST} levels")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        parts = [_comes_back(part, depth + 1) for part in value]  # a bad one is found wherever it is
        return all(parts)
    raise TypeError(f"a {type(value).__name__} is no value of a record")
