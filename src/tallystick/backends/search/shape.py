"""Records as documents of a search engine, and back: the native shape.

    {"create": {"_id": "0198f3…-512"}}
    {"@timestamp": "2026-11-21T09:30:00.123456789Z", "value": 1, "offset": 512, "name": "user.signup",
     "kind": "counter", "tags": {"plan": "pro"}, "host": "web-1", "app": "shop", "pid": 4242, "segment": "0198f3…"}

What it keeps
- A record without an id of its own goes to the index of its own UTC day, `<prefix>-2026.11.21`, whenever it is
  delivered: a second delivery meets the first one, and `create` leaves that alone.
- A record with an id of the caller's goes to `<prefix>-unique`, whatever its day, with its time as version: the newest
  content of an id is the one document there. An id of more than the 512 bytes that a server takes is its digest there.
- `_source` holds every value exactly. `value` is indexed as a double, with True as 1; texts are in `text`, documents
  and lists in `document`, neither of which a number's field could take.
- `weight` is the inverse of the sample rate, and there only where that is not 1.

Making these lines is the hot loop of delivery, so what equal series share is made once: it is looked up by the identity
of the tags (the reader of a spool gives equal tags as one dict), and the cache holds on to these dicts, which keeps an
identity from being used again for other tags.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, Protocol

from msgspec.structs import astuple

from tallystick.backends.base import Foreign
from tallystick.backends.search.tags import TagStyle
from tallystick.codec import MAX_INTEGER, encode, plain, with_datetimes
from tallystick.errors import SettingsError
from tallystick.records import NOWHERE, Batch, Header, Record, Tags, checked_rate

DAY_NS: Final = 86_400_000_000_000
SECOND_NS: Final = 1_000_000_000
LATEST_NS: Final = 2**63
"""The first moment, in the year 2262, that a `date_nanos` field cannot hold; the first that it can is 1970's."""

_LAST_DAY: Final = (LATEST_NS - 1) // DAY_NS

ID_BYTES: Final = 512
_KNOWN_AT_MOST: Final = 50_000

REFUSALS: Final = (TypeError, ValueError, OverflowError, RecursionError)
"""What a record that cannot be a document raises."""


class Shape(Protocol):
    """Documents of a shape of their own go through the same writer. `foreign` says where such documents keep what a
    query needs; None means that they are of the native shape, with our template. One that tells of single documents
    (`backends/shapes.py`) becomes such a shape by `documents.Lines`.

    One that has `prepare(ask, batch)` is called before each request, to make on the server what its documents need. One
    that has `learn(record, reason)` is told why the server refused a record; when it answers True for any, it is asked
    once more for the lines of all that were refused."""

    name: str
    foreign: Foreign | None

    def lines(self, batch: Batch) -> tuple[str, list[str], list[int], dict[int, str]]:
        """The index that most of it goes to; for each record that can be a document two lines of a bulk request, the
        action (which need not name that index) and the document; the indices of these records in the batch; and why
        the others are refused, by index."""


class NativeShape:
    name = ""
    foreign: Foreign | None = None

    def __init__(self, prefix: str, tags: TagStyle) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,199}", prefix):
            raise SettingsError(
                f"backend: {prefix!r} cannot begin an index's name; use lower-case letters, digits, -, _ and ."
            )
        self.prefix = prefix
        self.unique = f"{prefix}-unique"
        self._tags = tags
        self._header: Header = NOWHERE
        self._known: dict[Any, tuple[str, Tags]] = {}

    def index_of(self, timestamp_ns: int) -> str:
        return f"{self.prefix}-{_day(timestamp_ns // DAY_NS)}"

    def indices(self, batch: Batch) -> set[str]:
        """The indices that the records of a batch go to."""
        days = {record.timestamp_ns // DAY_NS for record in batch.records if record.own_id is None}
        there = {f"{self.prefix}-{_day(day)}" for day in days if 0 <= day <= _LAST_DAY}
        return there if all(record.own_id is None for record in batch.records) else there | {self.unique}

    def lines(self, batch: Batch) -> tuple[str, list[str], list[int], dict[int, str]]:
        if batch.header is not self._header:
            self._header, self._known = batch.header, {}
        lines: list[str] = []
        sent: list[int] = []
        refused: dict[int, str] = {}
        day = next((r.timestamp_ns // DAY_NS for r in batch.records if 0 <= r.timestamp_ns < LATEST_NS), 0)
        place = f'{{"create":{{"_id":{encode(batch.segment).decode()[:-1]}-'  # up to the offset that ends an id
        second, seconds, of_the_day = LATEST_NS, "", False  # no moment's second, to begin with
        known, learn, add = self._known.get, self._learn, lines.append
        for index, (moment, kind, name, value, tags, words, _, offset, unit, metadata, rate, own_id) in enumerate(
            map(astuple, batch.records)
        ):
            try:
                found = known((id(tags), name, kind, unit, words, rate)) or learn(batch.records[index])
                if moment // SECOND_NS != second:
                    seconds, second = seconds_text(moment), moment // SECOND_NS
                    of_the_day = moment // DAY_NS == day
                if type(value) is int and -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
                    content = f'"value":{value}'
                elif type(value) is float and value - value == 0.0:
                    content = f'"value":{value!r}'
                else:
                    content = _content(value)
                if metadata:
                    content += f',"metadata":{encode(metadata).decode()}'
                if of_the_day and own_id is None:
                    action = f'{place}{offset}"}}}}\n'
                else:
                    action = self._action(batch.records[index])
                    if own_id is not None:
                        content += f',"own_id":{encode(own_id).decode()}'
            except REFUSALS as error:
                refused[index] = f"{type(error).__name__}: {error}"
                continue
            moment_part = f'"@timestamp":"{seconds}.{moment % SECOND_NS:09d}Z"'
            add(f'{action}{{{moment_part},{content},"offset":{offset},{found[0]}}}\n')
            sent.append(index)
        return f"{self.prefix}-{_day(day)}", lines, sent, refused

    def _action(self, record: Record) -> str:
        """The action line of a record with an id of its own, or of another day than the batch."""
        action: dict[str, dict[str, Any]]
        if record.own_id is None:
            action = {"create": {"_index": self.index_of(record.timestamp_ns), "_id": record.id}}
            return encode(action).decode() + "\n"
        raw = record.own_id.encode()
        action = {
            "index": {
                "_index": self.unique,
                "_id": record.own_id if len(raw) <= ID_BYTES else f"blake2b:{blake2b(raw, digest_size=32).hexdigest()}",
                "version": record.timestamp_ns,
                "version_type": "external_gte",
            }
        }
        return encode(action).decode() + "\n"

    def _learn(self, record: Record) -> tuple[str, Tags]:
        """The members of a document that all records of a series and segment share, and the tags to hold on to."""
        texts = [record.name, record.kind, *record.words, *record.tags, *record.tags.values()]
        if record.unit is not None:
            texts.append(record.unit)
        if not all(isinstance(text, str) for text in texts):
            raise TypeError(f"name, kind, unit and tags must be texts: {record.name!r}, {record.tags!r}")
        members: dict[str, Any] = {"name": record.name, "kind": record.kind}
        if record.unit is not None:
            members["unit"] = record.unit
        if record.sample_rate != 1:
            rate = checked_rate(record.sample_rate)
            members |= {"sample_rate": rate, "weight": 1 / rate}
        if record.tags:
            members |= self._tags.fields(record.tags)
        if record.words:
            members["words"] = record.words
        header = self._header
        members |= {"host": header.host, "app": header.app, "pid": header.pid, "segment": header.segment}
        if len(self._known) >= _KNOWN_AT_MOST:
            self._known.clear()
        key = (id(record.tags), record.name, record.kind, record.unit, record.words, record.sample_rate)
        self._known[key] = encode(members).decode()[1:-1], record.tags
        return self._known[key]


def _content(value: Any) -> str:
    """The members that hold any value but plain numbers. Raises one of `REFUSALS` for what no record may have."""
    if value is None:
        return '"value":null'
    if isinstance(value, bool):
        return f'"value":{int(value)},"value_type":"bool"'
    if isinstance(value, str):
        return f'"text":{encode(value).decode()}'
    if isinstance(value, int | float):
        raise ValueError(f"value: {value!r:.40} is not finite, or does not fit 64 bits")
    if not isinstance(value, dict | list | datetime):
        raise TypeError(f"value: {type(value).__name__} is no type of a record's value")
    shown, pointers = plain(value)
    name = "text" if isinstance(value, datetime) else "document"
    content = f'"{name}":{encode(shown).decode()}'
    return content + (f',"datetimes":{encode(pointers).decode()}' if pointers else "")


def record_of(source: dict[str, Any]) -> Record:
    """The record that a native document was made of."""
    if "document" in source:
        value = source["document"]
    elif "text" in source:
        value = source["text"]
    else:
        value = source.get("value")
        if source.get("value_type") == "bool":
            value = bool(value)
    return Record(
        timestamp_ns=moment_of(source["@timestamp"]),
        kind=source["kind"],
        name=source["name"],
        value=with_datetimes(value, source.get("datetimes", ())),
        tags=source.get("tags", {}),
        words=tuple(source.get("words", ())),
        header=Header(1, source["segment"], source["host"], source["pid"], source["app"]),
        offset=source["offset"],
        unit=source.get("unit"),
        metadata=source.get("metadata", {}),
        sample_rate=source.get("sample_rate", 1.0),
        own_id=source.get("own_id"),
    )


def moment_text(timestamp_ns: int) -> str:
    """`2026-11-21T09:30:00.123456789Z`. Raises `ValueError` outside of 1970 to 2262."""
    return f"{seconds_text(timestamp_ns)}.{timestamp_ns % SECOND_NS:09d}Z"


def seconds_text(timestamp_ns: int) -> str:
    if not 0 <= timestamp_ns < LATEST_NS:
        raise ValueError(f"timestamp_ns: {timestamp_ns} is not in the years 1970 to 2262, all that the index can hold")
    return f"{datetime.fromtimestamp(timestamp_ns // SECOND_NS, UTC):%Y-%m-%dT%H:%M:%S}"


def moment_of(text: str) -> int:
    seconds = int(datetime.fromisoformat(f"{text[:19]}+00:00").timestamp())
    return seconds * SECOND_NS + int(text[20:29])


@lru_cache(maxsize=1_000)
def _day(number: int) -> str:
    return f"{datetime.fromtimestamp(number * 86_400, UTC):%Y.%m.%d}"
