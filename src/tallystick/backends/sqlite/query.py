# ruff: noqa: S608  (pieces of SQL are put together here, and none of them is a text of the question)
"""A `Query` as SQL: SQLite does the counting, and every text of the question is a parameter.

Each statement begins alike: `matched` are the series that fit, and `grouped` numbers their groups (name, unit and the
tags in `by`). Points are then added up within each series first (`parts`), which reads one stretch of the clustered
table for each and sorts only when there are buckets; the few sums are put together by group afterwards.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tallystick.backends._sql import from_cells
from tallystick.backends.sqlite.segments import stand_in
from tallystick.errors import QueryError
from tallystick.queries import Query, Series, finish, is_pattern
from tallystick.records import Header, Record

_NUMBERS: Final = " AND p.value < ''"
"""Numbers and only they: SQLite sorts NULL, numbers, texts, in this order. Twice as fast as asking for `typeof`."""

_PARTS: Final = {
    "count": ("count(*) AS c", "total(c * weight)"),
    "sum": ("total(p.value) AS s", "total(s * weight)"),
    "mean": ("total(p.value) AS s, count(*) AS c", "total(s * weight) / total(c * weight)"),
    "min": ("min(p.value) AS v", "min(v)"),
    "max": ("max(p.value) AS v", "max(v)"),
    "rate": (
        "total(p.value) AS s, min(p.timestamp_ns) AS oldest, max(p.timestamp_ns) AS newest",
        "total(s * weight) / ({seconds})",
    ),
}
"""What is added up in a series, and how that becomes the group's value. A division by no seconds is NULL: no point."""


def answer(connection: sqlite3.Connection, query: Query) -> list[Series]:
    """Through a connection of its own, which the caller closes."""
    try:
        connection.execute("BEGIN")  # both statements see the same series, or the groups' numbers would not agree
        groups = connection.execute(*_groups(query)).fetchall()
        rows = connection.execute(*_statement(query)).fetchall()
    except sqlite3.OperationalError as error:
        if "too many" not in str(error):
            raise
        raise QueryError(f"names, kinds, where and by have more texts than SQLite takes at once: {error}") from error
    points: dict[int, list[tuple[float, float]]] = {}
    for group, bucket, value in rows:
        if value is not None:
            moment = bucket / 1e9 if query.bucket_ns is not None else query.start or 0.0
            points.setdefault(group, []).append((moment, float(value)))
    series = [
        Series(name=name, unit=unit, tags=dict(zip(query.by, tags, strict=True)), points=points[group])
        for group, name, unit, *tags in groups
        if group in points
    ]
    return finish(series, query.limit)


def _statement(query: Query) -> tuple[str, list[Any]]:
    if query.percentile is not None:
        return _percentile(query)
    if query.aggregate == "last":
        return _last(query)
    start, parameters = _matched(query)
    span, bounds = _span(query)
    bucket, by_bucket = _bucket(query)
    numbers = "" if query.aggregate == "count" else _NUMBERS
    part, whole = _PARTS[query.aggregate]
    sql = f"""{start},
    parts AS (
        SELECT p.series AS id, {bucket} AS bucket, {part} FROM points p
        WHERE p.series IN (SELECT id FROM matched){span}{numbers} GROUP BY p.series{by_bucket}
    )
    SELECT grp, bucket, {whole.format(seconds=_seconds(query))} FROM parts JOIN grouped USING (id)
    GROUP BY grp, bucket ORDER BY grp, bucket"""
    return sql, parameters + bounds


def _seconds(query: Query) -> str:
    if query.bucket_ns is not None:
        return repr(query.bucket_ns / 1e9)
    if query.start is not None and query.end is not None:
        return repr(query.end - query.start)
    return "(max(newest) - min(oldest)) / 1e9"


def _last(query: Query) -> tuple[str, list[Any]]:
    """The newest moment of each series (without buckets a single seek), its largest number, and the newest of these."""
    start, parameters = _matched(query)
    span, bounds = _span(query)
    bucket, by_bucket = _bucket(query)
    if query.bucket_ns is None:
        newest = f"""
        SELECT id, grp, 0 AS bucket, (
            SELECT p.timestamp_ns FROM points p WHERE p.series = grouped.id{span}{_NUMBERS}
            ORDER BY p.timestamp_ns DESC LIMIT 1
        ) AS newest FROM grouped"""
    else:
        newest = f"""
        SELECT id, grp, {bucket} AS bucket, max(p.timestamp_ns) AS newest
        FROM grouped CROSS JOIN points p ON p.series = grouped.id{span}{_NUMBERS} GROUP BY id{by_bucket}"""
    sql = f"""{start},
    newest AS ({newest}),
    valued AS (
        SELECT grp, bucket, newest, (
            SELECT max(p.value) FROM points p WHERE p.series = newest.id AND p.timestamp_ns = newest.newest{_NUMBERS}
        ) AS value FROM newest WHERE newest IS NOT NULL
    )
    SELECT grp, bucket, value FROM (
        SELECT *, row_number() OVER (PARTITION BY grp, bucket ORDER BY newest DESC, value DESC) AS place FROM valued
    ) WHERE place = 1 ORDER BY grp, bucket"""
    return sql, parameters + bounds


def _percentile(query: Query) -> tuple[str, list[Any]]:
    """The nearest rank: of n numbers in order, the one at place ceil(n * p / 100)."""
    start, parameters = _matched(query)
    span, bounds = _span(query)
    bucket, _ = _bucket(query)
    percent = round((query.percentile or 0) * 100)
    sql = f"""{start},
    placed AS (
        SELECT grp, bucket, value, row_number() OVER (PARTITION BY grp, bucket ORDER BY value) AS place,
            count(*) OVER (PARTITION BY grp, bucket) AS n
        FROM (
            SELECT grp, {bucket} AS bucket, p.value AS value
            FROM grouped CROSS JOIN points p ON p.series = grouped.id{span}{_NUMBERS}
        )
    )
    SELECT grp, bucket, value FROM placed WHERE place = (n * {percent} + 99) / 100 ORDER BY grp, bucket"""
    return sql, parameters + bounds


def _groups(query: Query) -> tuple[str, list[Any]]:
    start, parameters = _matched(query)
    tags = "".join(f", tag{index}" for index in range(len(query.by)))
    return f"{start} SELECT DISTINCT grp, name, unit{tags} FROM grouped", parameters


def _matched(query: Query) -> tuple[str, list[Any]]:
    """`WITH matched AS (…), grouped AS (…)` and its parameters."""
    tags = "".join(
        f", (SELECT value FROM series_tags WHERE series = s.id AND tag = ?) AS tag{index}"
        for index in range(len(query.by))
    )
    order = ", ".join(["name", "unit", *(f"tag{index}" for index in range(len(query.by)))])
    fits, parameters = _fits(query)
    sql = f"""WITH matched AS (
        SELECT s.id AS id, s.name AS name, s.unit AS unit, 1.0 / s.sample_rate AS weight{tags}
        FROM series s WHERE {fits}
    ),
    grouped AS (SELECT *, dense_rank() OVER (ORDER BY {order}) AS grp FROM matched)"""
    return sql, [*query.by, *parameters]


def _fits(query: Query) -> tuple[str, list[Any]]:
    """The condition on `series s` that a query's names, kinds and `where` make."""
    conditions: list[str] = []
    parameters: list[Any] = []
    if "*" not in query.names:
        exact = [name for name in query.names if not is_pattern(name)]
        patterns = [name.replace("[", "[[]") for name in query.names if is_pattern(name)]
        names = [f"s.name IN ({_marks(exact)})"] if exact else []
        conditions.append(f"({' OR '.join(names + ['s.name GLOB ?'] * len(patterns))})")
        parameters += exact + patterns
    if query.kinds:
        conditions.append(f"s.kind IN ({_marks(query.kinds)})")
        parameters += query.kinds
    for tag, values in query.where.items():
        conditions.append(f"s.id IN (SELECT series FROM series_tags WHERE tag = ? AND value IN ({_marks(values)}))")
        parameters += [tag, *values]
    return " AND ".join(conditions) or "1", parameters


def _marks(values: tuple[str, ...] | list[str]) -> str:
    return ", ".join("?" * len(values))


def _span(query: Query) -> tuple[str, list[int]]:
    sql, bounds = "", []
    if query.start_ns is not None:
        sql, bounds = " AND p.timestamp_ns >= ?", [query.start_ns]
    if query.end_ns is not None:
        sql, bounds = f"{sql} AND p.timestamp_ns < ?", [*bounds, query.end_ns]
    return sql, bounds


def _bucket(query: Query) -> tuple[str, str]:
    """The expression for a bucket's start, aligned to the epoch, and what `GROUP BY` has in addition."""
    size = query.bucket_ns
    if size is None:
        return "0", ""
    if query.start_ns is not None and query.start_ns >= 0:
        return f"p.timestamp_ns / {size} * {size}", ", bucket"
    # Before 1970 a division would round up, towards zero.
    return f"p.timestamp_ns - (p.timestamp_ns % {size} + {size}) % {size}", ", bucket"


def read(connection: sqlite3.Connection, query: Query, newest: int | None) -> Iterator[Record]:
    """Whole records, oldest first, through a connection of its own, which the caller closes.

    The sort carries numbers only; series and segments are looked up as they come.
    """
    fits, parameters = _fits(query)
    span, bounds = _span(query)
    floor, direction, limit = "", "", ""
    if newest is not None:
        # What is among the newest n of all is among the newest n of its series.
        floor = f"""AND p.timestamp_ns >= coalesce((
            SELECT p.timestamp_ns FROM points p WHERE p.series = s.id{span}
            ORDER BY p.timestamp_ns DESC LIMIT 1 OFFSET {max(0, newest - 1)}
        ), -9223372036854775808)"""
        direction, limit, bounds = "DESC", f"LIMIT {max(0, newest)}", bounds + bounds
    connection.execute("BEGIN")  # what prune may remove meanwhile stays visible until the connection is closed
    rows = connection.execute(
        f"""SELECT p.timestamp_ns, p.series, p.segment, p.place, p.value, p.own_id, p.extra
        FROM series s CROSS JOIN points p ON p.series = s.id{span} {floor} WHERE {fits}
        ORDER BY p.timestamp_ns {direction}, p.segment {direction}, p.place {direction} {limit}""",
        bounds + parameters,
    )
    lookup = _Lookup(connection)
    for row in rows if newest is None else reversed(rows.fetchall()):
        yield lookup.record(*row)


class _Lookup:
    """The parts of a record that it shares with others, each read once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._series: dict[int, tuple[Any, ...]] = {}
        self._headers: dict[int, Header] = {}

    def record(
        self, moment: int, series: int, segment: int, place: int, cell: Any, own_id: str | None, extra: str | None
    ) -> Record:
        kind, name, unit, tags, words, rate = self._series.get(series) or self._learn_series(series)
        header = self._headers.get(segment) or self._learn_header(segment)
        value, metadata = from_cells(cell, extra)
        return Record(moment, kind, name, value, tags, words, header, place, unit, metadata, rate, own_id)

    def _learn_series(self, series: int) -> tuple[Any, ...]:
        kind, name, unit, tags, words, rate = self._connection.execute(
            "SELECT kind, name, unit, tags, words, sample_rate FROM series WHERE id = ?", (series,)
        ).fetchone()
        known = kind, name, unit, msgspec.json.decode(tags), tuple(msgspec.json.decode(words)), rate
        self._series[series] = known
        return known

    def _learn_header(self, segment: int) -> Header:
        found = self._connection.execute(
            "SELECT segment, host, pid, app, started, tags FROM segments WHERE id = ?", (segment,)
        ).fetchone()
        if found is None:
            header = stand_in(self._connection, segment)
        else:
            text, host, pid, app, started, tags = found
            header = Header(1, text, host, pid, app, started, msgspec.json.decode(tags))
        self._headers[segment] = header
        return header
