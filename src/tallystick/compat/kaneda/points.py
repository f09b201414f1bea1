"""Kaneda's points in InfluxDB: the measurement is the kind; `name` and the value are fields, the tags tags.

    gauge,host=web-1,from=login name="users.notifications",value=13i 1763683200123456789

- Integers are integer fields, as Kaneda wrote them. A field keeps its first type for a week (a shard), so a number
  that the server refuses for its type goes into `value_float` beside it, and any other value into `value_text`. The
  server's refusal tells the type, and the shape remembers it; `query` reads both fields.
- Words as tags are tags of their own with the value `true`. Lists and nested values are JSON texts.
- A point's time is its record's. Of two records of one series and nanosecond the later one is shifted, by its place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

from msgspec import structs

from tallystick.backends.base import Foreign
from tallystick.codec import encode, plain
from tallystick.compat.kaneda.documents import record_of
from tallystick.compat.kaneda.given import host_of, kind_of, shown, tags_of
from tallystick.records import Batch, Record

_REFUSALS: Final = (TypeError, ValueError, OverflowError, RecursionError)
_CONFLICT: Final = re.compile(
    r'input field \\?"(.+?)\\?" on measurement \\?"(.+?)\\?" is type (\w+), already exists as type (\w+)'
)
_SPREAD_NS: Final = 999_983
_LINE_BYTES: Final = 16


class Influx:
    name = "kaneda"
    foreign: Foreign | None = None

    def __init__(self, _place: str = "", _argument: str = "") -> None:
        self._types: dict[tuple[str, str], str] = {}

    def lines(self, batch: Batch) -> tuple[list[str], list[int], dict[int, str]]:
        lines: list[str] = []
        indices: list[int] = []
        rejected: dict[int, str] = {}
        taken: set[tuple[str, int]] = set()
        for index, record in enumerate(batch.records):
            try:
                head, fields = self._point(record)
            except _REFUSALS as error:
                rejected[index] = f"{type(error).__name__}: {error}"
                continue
            moment = record.timestamp_ns
            if (head, moment) in taken:
                moment += 1 + record.offset // _LINE_BYTES % _SPREAD_NS
            taken.add((head, moment))
            lines.append(f"{head} {fields} {moment}")
            indices.append(index)
        return lines, indices, rejected

    def record(self, measurement: str, at: int, tags: dict[str, str], fields: dict[str, Any]) -> Record:
        """Of a point. It has no id, so its place and time make one."""
        whole = {key: part for key, part in fields.items() if part is not None}
        for suffix in ("_float", "_text"):
            for key in [key for key in whole if key.endswith(suffix) and key.removesuffix(suffix) not in whole]:
                whole[key.removesuffix(suffix)] = whole.pop(key)
        known = {key: tag for key, tag in tags.items() if tag}
        id_ = blake2b(repr((measurement, sorted(known.items()), at)).encode(), digest_size=16).hexdigest()
        host = known.pop("host", "")
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at // 1000)
        made = record_of({**whole, "host": host, "tags": known}, id_, moment, measurement)
        return structs.replace(made, timestamp_ns=at)

    def learn(self, _record: Record, reason: str) -> bool:
        """Whether a server's refusal told the type of a field that we did not know: the line is another one then."""
        news = False
        for field, measurement, _, there in _CONFLICT.findall(reason):
            if self._types.get((measurement, field)) != there:
                self._types[measurement, field] = there
                news = True
        return news

    def _point(self, record: Record) -> tuple[str, str]:
        kind, value = kind_of(record), record.value
        tags = {**_texts(tags_of(record)), "host": host_of(record)}
        pairs = "".join(f",{_key(key)}={_tag(text)}" for key, text in sorted(tags.items()) if text)
        fields = {**(value if isinstance(value, dict) else {"value": value}), "name": record.name}
        written = [self._field(kind, key, part) for key, part in fields.items() if part is not None]
        return f"{_measurement(kind)}{pairs}", ",".join(written)

    def _field(self, measurement: str, key: str, value: Any) -> str:
        there = self._types.get((measurement, key))
        own, text = _typed(value)
        if there is None or there == own:
            return f"{_key(key)}={text}"
        if own in ("integer", "float", "boolean"):
            number = f"{int(value)}" if isinstance(value, int) else repr(value)
            if there == "float":
                return f"{_key(key)}={number}"
            if there == "integer" and isinstance(value, int):
                return f"{_key(key)}={number}i"
            return f"{_key(f'{key}_float')}={number}"
        return f"{_key(f'{key}_text')}={text}"


def _typed(value: Any) -> tuple[str, str]:
    """The type of the field, and the value as it stands in a line."""
    if isinstance(value, bool):
        return "boolean", "true" if value else "false"
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise OverflowError(f"value: {value} does not fit 64 bits")
        return "integer", f"{value}i"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"value: {value} is not finite")
        return "float", repr(value)
    if isinstance(value, datetime):
        value = value.isoformat()
    elif not isinstance(value, str):
        value = encode(plain(value)[0]).decode()
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return "string", f'"{escaped}"'


def _texts(tags: Any) -> dict[str, str]:
    """Each tag as text; those without one are left out, as they are on the server."""
    if isinstance(tags, Mapping):
        return {key: shown(tag) for key, tag in tags.items() if tag is not None and tag != ""}
    words = [tags] if isinstance(tags, str) else tags
    return {shown(word): "true" for word in words if word is not None and word != ""}


def _key(text: str) -> str:
    return _tag(text)


def _tag(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    return escaped.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def _measurement(text: str) -> str:
    return text.replace("\n", "\\n").replace(",", "\\,").replace(" ", "\\ ")
