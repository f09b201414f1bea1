"""What SQL stores share: the ledger's arithmetic, values as cells of a table, and answers as series.

The ledger says which byte ranges of which segments are stored; it changes in the same transaction as the rows.
A record is stored when its offset lies in one of its segment's ranges. After a batch the ledger covers the batch's
whole range but for the offsets of the lines that were not in it (`Batch.missing`) and of the records that the store
rejected, so these stay welcome. Only offsets at which a line begins are ever looked up, which is why leaving out a
single byte is enough, and why neighbouring ranges may be merged into one row.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, Literal

import msgspec

from tallystick.codec import encode, plain, with_datetimes
from tallystick.queries import Query, Series, finish
from tallystick.records import Batch, Header, Value

Range = tuple[int, int]
"""Byte offsets in a segment, `[start, stop)`."""

Cell = int | float | str | None


def lost_segment(store: str, number: int) -> Header:
    """The header of records whose own one is lost. The store is part of its name: where two are copied to, the lost
    segments of both must not be taken for one."""
    return Header(1, f"lost-{blake2b(store.encode(), digest_size=6).hexdigest()}-{number}")


def not_stored(batch: Batch, stored: Iterable[Range]) -> Sequence[int]:
    """The indices in `batch.records` of the records that are in none of the stored ranges."""
    ranges = sorted(r for r in stored if r[0] < batch.end and r[1] > batch.start)
    if not ranges:
        return range(len(batch))
    starts = [start for start, _ in ranges]
    fresh = []
    for index, record in enumerate(batch.records):
        before = bisect_right(starts, record.offset) - 1
        if before < 0 or record.offset >= ranges[before][1]:
            fresh.append(index)
    return fresh


def covered(batch: Batch, rejected: Iterable[int], stored: Iterable[Range]) -> list[Range]:
    """The ranges to have in the ledger after this batch, in place of the `stored` ones that touch or overlap it.

    `rejected` are indices in `batch.records`.
    """
    holes = sorted({*batch.missing, *(batch.records[index].offset for index in rejected)})
    ranges = list(stored)
    position = batch.start
    for hole in holes:
        ranges.append((position, hole))
        position = hole + 1
    ranges.append((position, batch.end))
    return _merged(ranges)


def _merged(ranges: Iterable[Range]) -> list[Range]:
    merged: list[Range] = []
    for start, stop in sorted(ranges):
        if start >= stop:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


class Extra(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a value column alone would lose, as JSON beside it.

    `type` is "bool" for a truth value that stands there as 1 or 0, and "json" for a document or list that stands
    there as JSON text. `datetimes` are JSON pointers to the parts (or, "", the whole) that are datetimes.
    """

    type: Literal["", "bool", "json"] = ""
    datetimes: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}


_decode_extra: Final = msgspec.json.Decoder(Extra).decode
_BOOL: Final = encode(Extra("bool")).decode()


def cells(value: Any, metadata: dict[str, Any]) -> tuple[Cell, str | None]:
    """A record's value and metadata as the columns `value` and `extra`.

    Raises `TypeError`, `ValueError` or `OverflowError` for a value that no record may have.
    """
    kind: Literal["", "bool", "json"] = ""
    pointers: list[str] = []
    if type(value) is bool:
        value, kind = int(value), "bool"
    elif type(value) is int:
        if not -(2**63) <= value < 2**63:
            raise OverflowError(f"value: {value} does not fit 64 bits")
    elif type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"value: {value} is not finite")
    elif isinstance(value, dict | list):
        value, pointers = plain(value)
        value, kind = encode(value).decode(), "json"
    elif isinstance(value, datetime):
        value, pointers = plain(value)
    elif value is not None and type(value) is not str:
        raise TypeError(f"value: {type(value).__name__} is no type of a record's value")
    if kind == "" and not pointers and not metadata:
        return value, None
    if kind == "bool" and not metadata:
        return value, _BOOL
    return value, encode(Extra(kind, tuple(pointers), metadata)).decode()


def from_cells(value: Any, extra: str | None) -> tuple[Value, dict[str, Any]]:
    """The inverse of `cells`: value and metadata."""
    if extra is None:
        return value, {}
    known = _decode_extra(extra)
    if known.type == "bool":
        value = bool(value)
    elif known.type == "json":
        value = msgspec.json.decode(value)
    return with_datetimes(value, known.datetimes), known.metadata


def like(pattern: str) -> str:
    """A pattern of a query as one of `LIKE`, where a backslash escapes."""
    plain = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return plain.replace("*", "%").replace("?", "_")


def seconds(query: Query) -> str:
    """What a rate is per, as an expression: the bucket, else the query's range, else the span of a group's numbers."""
    if query.bucket_ns is not None:
        return repr(query.bucket_ns / 1e9)
    if query.start is not None and query.end is not None:
        return repr(query.end - query.start)
    return "(max(timestamp_ns) - min(timestamp_ns)) / 1e9"


def series(query: Query, rows: Iterable[Sequence[Any]]) -> list[Series]:
    """What is answered, from rows of name, unit, the tags of `by`, the bucket's begin in nanoseconds, and value."""
    points: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    for name, unit, *tags, bucket, value in rows:
        if value is not None:
            moment = bucket / 1e9 if query.bucket_ns is not None else query.start or 0.0
            points.setdefault((name, unit, *tags), []).append((moment, float(value)))
    found = (
        Series(name=name, unit=unit, tags=dict(zip(query.by, tags, strict=True)), points=sorted(those))
        for (name, unit, *tags), those in points.items()
    )
    return finish(found, query.limit)
