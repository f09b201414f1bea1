"""A record as a point in line protocol, and back.

    request.time,app=shop,host=web-1,kind=timing,pid=4242,route=/checkout,unit=s,writer=0198f3…
        value=0.0123,timestamp_ns=1763683200123999999i 1763683200120000139

The measurement is the metric's name. Tags: the record's own, and `app`, `host`, `kind`, `pid`, `unit`, `rate` (the
sample rate, unless 1), `type` (`int` or `bool`, when the value is one) and `writer` (the segment). Fields, each of one
type for ever, so that no value conflicts with another: `value` (float: numbers, True as 1), `timestamp_ns` (integer:
the record's time), and where there is such a thing `integer` (exact, beyond 2**53), `text`, `document` (JSON),
`datetimes`, `metadata`, `words` (JSON), `id` (the caller's own).

Invariants
- A point's time is the record's, cut to a hundredth of a second, plus the record's place in its segment as nanoseconds;
  a place is below 10,000,000, since a segment has at most 8 MiB. So two records of one segment never have one point,
  two of different segments have different writers, and a resent record is the same point.
- Cut to a hundredth of a second, the point's time and the record's are equal: buckets of whole hundredths are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, Protocol

from msgspec.json import decode
from msgspec.structs import astuple

from tallystick.backends.base import Foreign
from tallystick.backends.influxdb.text import (
    PIECE_CHARACTERS,
    RESERVED,
    decoded,
    encoded,
    head_of,
    name_to_measurement,
    tag_to_key,
    tag_to_value,
    text_field,
    text_of,
    value_to_tag,
)
from tallystick.codec import encode, plain, with_datetimes
from tallystick.records import Batch, Header, Record, Tags, Value, checked_rate

STEP_NS: Final = 10_000_000
"""To so much a point's time agrees with its record's."""

EARLIEST_NS: Final = -(2**63) + 2
LATEST_NS: Final = 2**63 - 2
"""The first and the last point in time of the servers."""

EXACT: Final = 2**53
"""Integers up to here are exact as floats."""

SHELVES: Final = 16
"""So many values has the tag `shelf` of records with an id of the caller's, told by the id: for finding them again."""

REFUSALS: Final = (TypeError, ValueError, OverflowError, RecursionError)
"""What a record raises that cannot be a point; a text that is no UTF-8 raises a kind of `ValueError`."""


class Shape(Protocol):
    """From records to lines; see `backends/shapes.py`.

    One that has `learn(record, reason)` is told why the server refused a record; when it answers True for any, it is
    asked once more for the lines of all that were refused.
    """

    name: str
    foreign: Foreign | None

    def lines(self, batch: Batch) -> tuple[list[str], list[int], dict[int, str]]:
        """The lines, the index in `batch.records` of each, and why which records have none."""


HeadKey = tuple[int, str, str, str | None, float, type]

_NO_HEADS: Final[dict[HeadKey, tuple[str, Tags]]] = {}


class Native:
    """The library's own shape.

    With `writers`, the tag `writer` has only so many values (a hash of the segment's name), which bounds the number of
    series. Two records of one series then fall on one point, and one is lost, when their segments share a value, their
    times a hundredth of a second, and their places are the same. Segment and process stand in the field `origin`.
    """

    name = ""
    foreign: Foreign | None = None

    def __init__(self, writers: int | None = None) -> None:
        self._writers = writers
        self._header: Header | None = None
        self._heads: dict[HeadKey, tuple[str, Tags]] = {}  # holds on to the tags, so that no id is used again

    def lines(self, batch: Batch) -> tuple[list[str], list[int], dict[int, str]]:
        if batch.header is not self._header or len(self._heads) > 50_000:
            self._header = batch.header
            self._heads.clear()
        short = self._writers is None and batch.start >= 0 and batch.end <= STEP_NS
        known = self._heads.get if short else _NO_HEADS.get
        step, exact = STEP_NS, EXACT
        earliest, latest = EARLIEST_NS + STEP_NS, LATEST_NS - STEP_NS
        lines: list[str] = []
        rejected: dict[int, str] = {}
        for index, record in enumerate(batch.records):
            moment, kind, name, value, tags, words, _, place, unit, metadata, rate, own_id = astuple(record)
            head = known((id(tags), name, kind, unit, rate, type(value)))
            if (
                head is not None
                and -exact <= value <= exact  # no NaN, no infinity
                and earliest < moment < latest
                and not metadata
                and own_id is None
                and not words
            ):
                lines.append(f"{head[0]} value={value!r},timestamp_ns={moment}i {moment - moment % step + place}")
                continue
            try:
                lines.append(self._line(record))
                if short and own_id is None and type(value) in (int, float):
                    self._learn(record)
            except REFUSALS as error:
                rejected[index] = f"{type(error).__name__}: {error}"
        indices = (
            [index for index in range(len(batch)) if index not in rejected] if rejected else list(range(len(lines)))
        )
        return lines, indices, rejected

    def _learn(self, record: Record) -> None:
        """Keep the head for the short way, which is for numbers whose line has nothing but value and time."""
        key = (id(record.tags), record.name, record.kind, record.unit, record.sample_rate, type(record.value))
        if key not in self._heads:
            self._heads[key] = head_of(name_to_measurement(record.name), self._tags(record)), record.tags

    def _tags(self, record: Record) -> dict[str, str]:
        header, rate = record.header, checked_rate(record.sample_rate)
        tags = {tag_to_key(tag): value_to_tag(value) for tag, value in record.tags.items()}
        tags["kind"] = value_to_tag(record.kind)
        if header.app:
            tags["app"] = value_to_tag(header.app)
        if header.host:
            tags["host"] = value_to_tag(header.host)
        if record.unit is not None:
            tags["unit"] = value_to_tag(record.unit)
        if rate != 1:
            tags["rate"] = repr(float(rate))
        if isinstance(record.value, int):
            tags["type"] = "bool" if isinstance(record.value, bool) else "int"
        if self._writers is None:
            tags["writer"] = value_to_tag(header.segment)
            tags["pid"] = str(header.pid)
        else:
            tags["writer"] = str(hashed(header.segment, self._writers))
        if record.offset >= STEP_NS:
            tags["part"] = str(record.offset // STEP_NS)
        if record.own_id is not None:
            tags["shelf"] = shelf_of(record.own_id)
        return tags

    def _turn(self, segment: str) -> int:
        """Processes that begin together write the like at the like places; where their writers may be one, the places
        are turned around by chance."""
        return 0 if self._writers is None else hashed(segment, STEP_NS)

    def _line(self, record: Record) -> str:
        """The line of any record. Raises one of `REFUSALS`."""
        moment = record.timestamp_ns
        at = moment // STEP_NS * STEP_NS + (record.offset + self._turn(record.header.segment)) % STEP_NS
        if not EARLIEST_NS <= at <= LATEST_NS or not -(2**63) <= moment < 2**63:
            raise OverflowError(f"timestamp_ns: {moment} is not between the years 1677 and 2262")
        fields = [*_value_fields(record.value), f",timestamp_ns={moment}i"]
        if record.metadata:
            fields.append(text_field("metadata", encode(record.metadata).decode()))
        if record.words:
            fields.append(text_field("words", encode(record.words).decode()))
        if record.own_id is not None:
            fields.append(_id_field(record.own_id))
        if self._writers is not None:
            fields.append(text_field("origin", f"{record.header.segment} {record.header.pid}"))
        head = head_of(name_to_measurement(record.name), self._tags(record))
        return f"{head} {''.join(fields)[1:]} {at}"


def place_of(at: int, segment: str, part: int, *, bounded: bool) -> int:
    """The place in its segment of the record whose point has this time."""
    return (at - (hashed(segment, STEP_NS) if bounded else 0)) % STEP_NS + part * STEP_NS


def hashed(text: str, count: int) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") % count


def shelf_of(own_id: str) -> str:
    return str(hashed(own_id, SHELVES))


def _id_field(own_id: str) -> str:
    """Raises `ValueError` for one that is too long for one field: in pieces it could not be found again."""
    text = encoded(own_id)
    if len(text) > PIECE_CHARACTERS:
        raise ValueError(f"id: {len(text)} characters, and InfluxDB finds no more than {PIECE_CHARACTERS} in one field")
    return text_field("id", text)


def _value_fields(value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield f",value={value:d}"
    elif type(value) is int:
        if not -(2**63) <= value < 2**63:
            raise OverflowError(f"value: {value} does not fit 64 bits")
        if -EXACT <= value <= EXACT:
            yield f",value={value}"
        else:
            yield f",value={float(value)!r},integer={value}i"
    elif type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"value: {value} is not finite")
        yield f",value={value!r}"
    elif type(value) is str:
        yield text_field("text", value)
    elif isinstance(value, dict | list | datetime):
        document, pointers = plain(value)
        yield text_field("document", encode(document).decode())
        if pointers:
            yield text_field("datetimes", encode(pointers).decode())
    elif value is not None:
        raise TypeError(f"value: {type(value).__name__} is no type of a record's value")


# --- and back ---------------------------------------------------------------------------------------------------------


def to_record(measurement: str, at: int, row: Mapping[str, Any]) -> Record:
    """The record of a point: its time in nanoseconds, and its tags and fields that are there."""
    tags = {decoded(key): tag_to_value(value) for key, value in row.items() if not RESERVED.fullmatch(key)}
    origin = row.get("origin")
    if origin is None:
        segment, pid = tag_to_value(row["writer"]), row["pid"]
    else:
        segment, _, pid = origin.rpartition(" ")
    header = Header(1, segment, tag_to_value(row.get("host", "")), int(pid), tag_to_value(row.get("app", "")))
    metadata, words, unit = text_of(row, "metadata"), text_of(row, "words"), row.get("unit")
    return Record(
        timestamp_ns=row["timestamp_ns"],
        kind=tag_to_value(row["kind"]),
        name=decoded(measurement),
        value=_value(row),
        tags=tags,
        words=() if words is None else tuple(decode(words)),
        header=header,
        offset=place_of(at, segment, int(row.get("part", 0)), bounded=origin is not None),
        unit=None if unit is None else tag_to_value(unit),
        metadata={} if metadata is None else decode(metadata),
        sample_rate=float(row.get("rate", 1)),
        own_id=decoded(row["id"]) if "id" in row else None,
    )


def _value(row: Mapping[str, Any]) -> Value:
    text = text_of(row, "text")
    if text is not None:
        return text
    document = text_of(row, "document")
    if document is not None:
        value: Value = with_datetimes(decode(document), decode(text_of(row, "datetimes") or "[]"))
        return value
    if "value" not in row:
        return None
    number = row["value"]
    match row.get("type"):
        case "bool":
            return bool(number)
        case "int":
            return int(row.get("integer", number))
    return float(number)
