"""A `Query` in ReQL: RethinkDB does the counting.

Times are lists `[seconds, nanoseconds]`, which RethinkDB compares element by element: each is exact as a double, one
number of nanoseconds would not be. Names and values of the question travel as data, never as part of an expression.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable
from typing import Any, Final

from tallystick.backends.base import Foreign
from tallystick.backends.rethinkdb.care import INDEX
from tallystick.backends.rethinkdb.connection import driver
from tallystick.backends.rethinkdb.shape import SECOND_NS, escaped, moment
from tallystick.errors import QueryError
from tallystick.queries import Query, Series, finish, is_pattern

ARRAY_LIMIT: Final = 2_000_000
"""RethinkDB's `array_limit` for a query: so many groups, and so many numbers in a group whose percentile is asked."""

LONGEST_ODD_BUCKET_NS: Final = 2**53 // 1000
"""Longer buckets must be whole seconds: the remainder of a time is computed in steps that stay below 2**53."""

Run = Callable[[Any], Any]


def answer(run: Run, query: Query, rows: Any) -> list[Series]:
    """`rows` is a stream of objects with t (`[s, ns]`), name, unit, v (a number, or null), w (its weight), and the
    tags to group by as g."""
    if query.aggregate != "count":
        rows = rows.filter(lambda row: row["v"].type_of() == "NUMBER")
    grouped = rows.group(lambda row: _group(query, row))
    points: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    for found in run(_counted(query, grouped)):
        (name, unit, tags, bucket), value = found["group"], _value(query, found["reduction"])
        if value is not None:
            start = _ns(bucket) / 1e9 if bucket is not None else query.start or 0.0
            points.setdefault((name, unit, *tags), []).append((start, float(value)))
    series = [
        Series(name=name, unit=unit, tags=dict(zip(query.by, tags, strict=True)), points=sorted(found))
        for (name, unit, *tags), found in points.items()
    ]
    return finish(series, query.limit)


def _counted(query: Query, grouped: Any) -> Any:
    if query.percentile is not None:
        percent = round(query.percentile * 100)

        def nearest_rank(found: Any) -> dict[str, Any]:
            rank = (found["reduction"].count() * percent + 99) / 100
            ordered = found["reduction"].order_by(lambda value: value)
            return {"group": found["group"], "reduction": ordered.nth(rank.floor() - 1)}

        return grouped.map(lambda row: row["v"]).coerce_to("array").ungroup().map(nearest_rank)
    keep, merge = _PARTS[query.aggregate]
    return grouped.map(keep).reduce(merge).ungroup()


def _greater(one: Any, other: Any) -> Any:
    return driver().r.branch(one >= other, one, other)


def _less(one: Any, other: Any) -> Any:
    return driver().r.branch(one <= other, one, other)


def _sums(*fields: str) -> Callable[[Any, Any], dict[str, Any]]:
    return lambda one, other: {field: one[field] + other[field] for field in fields}


def _rate(one: Any, other: Any) -> dict[str, Any]:
    return {
        "s": one["s"] + other["s"],
        "oldest": _less(one["oldest"], other["oldest"]),
        "newest": _greater(one["newest"], other["newest"]),
    }


_PARTS: Final[dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]]] = {
    "count": (lambda row: {"c": row["w"]}, _sums("c")),
    "sum": (lambda row: {"s": row["v"] * row["w"]}, _sums("s")),
    "mean": (lambda row: {"s": row["v"] * row["w"], "c": row["w"]}, _sums("s", "c")),
    "min": (lambda row: row["v"], _less),
    "max": (lambda row: row["v"], _greater),
    "last": (lambda row: [row["t"], row["v"]], _greater),
    "rate": (lambda row: {"s": row["v"] * row["w"], "oldest": row["t"], "newest": row["t"]}, _rate),
}
"""What is taken from a row, and how two of that become one."""


def _value(query: Query, reduction: Any) -> float | None:
    match query.aggregate:
        case "count":
            return reduction["c"]  # type: ignore[no-any-return]
        case "sum":
            return reduction["s"]  # type: ignore[no-any-return]
        case "mean":
            return reduction["s"] / reduction["c"]  # type: ignore[no-any-return]
        case "last":
            return reduction[1]  # type: ignore[no-any-return]
        case "rate":
            seconds = _seconds(query, reduction)
            return reduction["s"] / seconds if seconds else None
    return reduction  # type: ignore[no-any-return]


def _seconds(query: Query, reduction: Any) -> float:
    if query.bucket_ns is not None:
        return query.bucket_ns / 1e9
    if query.start is not None and query.end is not None:
        return query.end - query.start
    return (_ns(reduction["newest"]) - _ns(reduction["oldest"])) / 1e9


def _ns(pair: list[Any]) -> int:
    return int(pair[0]) * SECOND_NS + int(pair[1])


def _group(query: Query, row: Any) -> list[Any]:
    return [row["name"], row["unit"], row["g"], _bucket(query, row["t"])]


def _bucket(query: Query, time: Any) -> Any:
    """The start of the bucket as `[s, ns]`. Each step stays below 2**53, where doubles are exact."""
    size = query.bucket_ns
    if size is None:
        return None
    seconds, nanoseconds = time[0], time[1]
    if size % SECOND_NS == 0:
        return [seconds - _positive(seconds, size // SECOND_NS), 0]
    if size > LONGEST_ODD_BUCKET_NS:
        raise QueryError(f"bucket: {query.bucket_seconds!r} s: over 2.5 hours, give RethinkDB whole seconds")
    rest = _positive(seconds, size)
    for _ in range(3):
        rest = (rest * 1000) % size
    back = nanoseconds - (rest + nanoseconds) % size
    whole = (back / SECOND_NS).floor()
    return [seconds + whole, back - whole * SECOND_NS]


def _positive(number: Any, size: int) -> Any:
    """RethinkDB's remainder of a negative number is negative."""
    return (number % size + size) % size


def native(query: Query, table: Any) -> Any:
    """The rows of our own documents."""
    r = driver().r

    def row(document: Any) -> dict[str, Any]:
        return {
            "t": document["moment"],
            "name": document["name"],
            "unit": document["unit"].default(None),
            "v": document["number"].default(None),
            "w": r.expr(1) / document["sample_rate"].default(1),
            "g": [document["tags"][escaped(tag)].default(None) for tag in query.by],
        }

    return fitting(query, _span(query, table)).map(row)


def _span(query: Query, table: Any) -> Any:
    r = driver().r
    if query.start_ns is None and query.end_ns is None:
        return table
    low, high = (edge if bound is None else moment(bound) for bound, edge in _ends(query, r))
    return table.between(low, high, index=INDEX)


def _ends(query: Query, r: Any) -> list[tuple[int | None, Any]]:
    return [(query.start_ns, r.minval), (query.end_ns, r.maxval)]


def ordered(query: Query, table: Any, newest: int | None) -> Any:
    """Our own documents that fit, in the order of time: oldest first, or the `newest` ones, newest first."""
    r = driver().r
    if newest is None:
        found = _span(query, table).order_by("segment", "place", index=INDEX)
    else:
        found = _span(query, table).order_by(r.desc("segment"), r.desc("place"), index=r.desc(INDEX))
    found = fitting(query, found)
    return (found if newest is None else found.limit(newest)).without("timestamp")


def fitting(query: Query, documents: Any) -> Any:
    """Those of which name, kind and tags fit."""
    r = driver().r

    def fits(document: Any) -> Any:
        conditions = []
        if "*" not in query.names:
            exact = [name for name in query.names if not is_pattern(name)]
            options = [document["name"].match(_regex(name)).ne(None) for name in query.names if is_pattern(name)]
            if exact:
                options.append(r.expr(exact).contains(document["name"]))
            conditions.append(functools.reduce(operator.or_, options))
        if query.kinds:
            conditions.append(r.expr(list(query.kinds)).contains(document["kind"]))
        conditions += [
            r.expr(list(values)).contains(document["tags"][escaped(tag)].default(None))
            for tag, values in query.where.items()
        ]
        return functools.reduce(operator.and_, conditions)

    if "*" in query.names and not query.kinds and not query.where:
        return documents
    return documents.filter(fits)


def _regex(pattern: str) -> str:
    """For RE2, whose `$` is the very end of the text."""
    signs = {"*": ".*", "?": ".", "\0": r"\x00"}
    parts = (signs.get(sign) or (re.escape(sign) if sign.isascii() else sign) for sign in pattern)
    return f"(?s)^{''.join(parts)}$"


def foreign(query: Query, source: Foreign, table: Any) -> Any:
    """The rows of somebody else's documents."""
    r = driver().r

    def text(value: Any) -> Any:
        return r.branch(value.type_of() == "NULL", None, value.coerce_to("string"))

    def shaped(document: Any) -> dict[str, Any]:
        value = document[source.value].default(None)
        return {
            "moment": _moment(source, document[source.time]),
            "name": text(document[source.name]) if source.name else source.source,
            "kind": text(document[source.kind]) if source.kind else "gauge",
            "number": r.branch(value.type_of() == "BOOL", r.branch(value, 1, 0), value),
            "tags": {escaped(tag): text(_member(document, column)) for tag, column in source.tags.items()},
        }

    fields = [source.time, *(field for field in (source.name, source.kind) if field)]
    found = table.has_fields(*fields).map(shaped)
    if query.start_ns is not None:
        found = found.filter(lambda row: row["moment"] >= moment(query.start_ns or 0))
    if query.end_ns is not None:
        found = found.filter(lambda row: row["moment"] < moment(query.end_ns or 0))
    return native(_timeless(query), found)


def _member(document: Any, column: str) -> Any:
    """A field, or where there is none of that name and it has dots, a member of an object; else null."""
    outer, dot, inner = column.partition(".")
    inside = document[outer][inner].default(None) if dot else None
    return document[column].default(inside)


def _timeless(query: Query) -> Query:
    """The same question about all time."""
    return Query(query.names, aggregate=query.aggregate, kinds=query.kinds, where=query.where, by=query.by)


def _moment(source: Foreign, time: Any) -> list[Any]:
    """As `[s, ns]`, no finer than a double can say."""
    r = driver().r
    if source.time_unit == "iso":
        time = r.iso8601(time, default_timezone="Z")
    if source.time_unit in ("iso", "native"):
        time = time.to_epoch_time()
    in_second, step = {"ns": (1e9, 1), "us": (1e6, 1e3), "ms": (1e3, 1e6), "s": (1, 1e9)}.get(
        source.time_unit, (1, 1e9)
    )
    seconds = (time / in_second).floor()
    parts = time - seconds * in_second
    if in_second == 1:  # fractions of a second: as microseconds
        parts, step = (parts * 1e6).round(), 1e3
    return [seconds, parts * step]
