# ruff: noqa: S608  (pieces of SQL are put together here; names of columns are quoted, every text is a parameter)
"""A `Query` about a table (or view) of somebody else's SQLite file.

`matched` are the rows that fit, brought into our columns; each aggregate is then one grouped select. SQLite keeps any
type in any column, and what was imported from a file of texts is often all text; so a text that is a number counts
as one. A row without a time (or a name, where a column holds the names) is passed over.

Columns are written `source."column"`: a bare `"column"` that does not exist would be a text for SQLite, not an error.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from tallystick.backends._sql import seconds, series
from tallystick.backends.base import Foreign
from tallystick.errors import QueryError
from tallystick.queries import Query, Series, is_pattern

_VALUES: Final = {
    "count": "count(*)",
    "sum": "total(value)",
    "mean": "avg(value)",
    "min": "min(value)",
    "max": "max(value)",
    "rate": "total(value) / ({seconds})",
}

_NUMBER: Final = """CASE typeof({c}) WHEN 'integer' THEN {c} WHEN 'real' THEN {c}
    WHEN 'text' THEN CASE WHEN json_valid({c}) AND json_type({c}) IN ('integer', 'real') THEN 0 + {c} END END"""
"""The number of a cell, NULL when it has none. A JSON number is what all agree to be one."""

_CALENDAR: Final = "CAST(round((julianday({c}) - 2440587.5) * 86400000) AS INTEGER) * 1000000"
"""Whatever SQLite's own functions take for a time, `2025-06-15 12:00:00.123` for one, as nanoseconds; they know
milliseconds and no more. 2440587.5 is the Julian day of 1970-01-01."""

_FACTORS: Final = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}

_WRONG_QUESTION: Final = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH)


def answer_foreign(connection: sqlite3.Connection, query: Query, foreign: Foreign) -> list[Series]:
    """Raises `QueryError` when the table or a column does not exist."""
    statement, parameters = _statement(query, foreign)
    try:
        rows = connection.execute(statement, parameters).fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode not in _WRONG_QUESTION:
            raise
        raise QueryError(f"{foreign.source}: {error}; correct the source, or its columns") from error
    return series(query, ((name, None, *rest) for name, *rest in rows))


def _statement(query: Query, foreign: Foreign) -> tuple[str, list[Any]]:
    matched, parameters = _matched(query, foreign)
    group = ", ".join(["name", *(f"tag{index}" for index in range(len(query.by))), "bucket"])
    if query.aggregate == "last" or query.percentile is not None:
        order = "timestamp_ns DESC, value DESC" if query.percentile is None else "value"
        rank = "1" if query.percentile is None else f"(n * {round(query.percentile * 100)} + 99) / 100"  # the nearest
        sql = f"""{matched},
        placed AS (
            SELECT *, count(*) OVER (PARTITION BY {group}) AS n,
                row_number() OVER (PARTITION BY {group} ORDER BY {order}) AS place FROM matched
        )
        SELECT {group}, value FROM placed WHERE place = {rank}"""
        return sql, parameters
    value = _VALUES[query.aggregate].format(seconds=seconds(query))
    return f"{matched} SELECT {group}, {value} FROM matched GROUP BY {group}", parameters


def _matched(query: Query, foreign: Foreign) -> tuple[str, list[Any]]:
    """`WITH …, matched AS (…)` and its parameters: name, timestamp_ns, value, tag0, tag1, …, bucket."""
    tags = "".join(f", {_tag(foreign, tag)} AS tag{index}" for index, tag in enumerate(query.by))
    where, texts = _fits(query, foreign)
    sql = f"""WITH taken AS (
        SELECT {_text(foreign.name) if foreign.name else "?"} AS name, {_time(foreign)} AS timestamp_ns,
            {_text(foreign.kind) if foreign.kind else "'gauge'"} AS kind,
            {_NUMBER.format(c=_column(foreign.value))} AS value{tags}
        FROM main.{_quoted(foreign.source)} AS source{where}
    ),
    matched AS (
        SELECT *, {_bucket(query)} AS bucket FROM taken WHERE name IS NOT NULL AND timestamp_ns IS NOT NULL"""
    parameters: list[Any] = [*([] if foreign.name else [foreign.source]), *texts]
    if "*" not in query.names:
        names = ["name GLOB ?" if is_pattern(name) else "name = ?" for name in query.names]
        sql += f" AND ({' OR '.join(names)})"
        parameters += [name.replace("[", "[[]") if is_pattern(name) else name for name in query.names]
    if query.kinds:
        sql += f" AND kind IN ({', '.join('?' * len(query.kinds))})"
        parameters += query.kinds
    for operator, bound in ((">=", query.start_ns), ("<", query.end_ns)):
        if bound is not None:
            sql += f" AND timestamp_ns {operator} ?"
            parameters.append(bound)
    if query.aggregate != "count":
        sql += " AND value IS NOT NULL"
    return f"{sql})", parameters


def _fits(query: Query, foreign: Foreign) -> tuple[str, list[str]]:
    """The condition on tags, and its parameters. What no column holds, no row has."""
    conditions: list[str] = []
    parameters: list[str] = []
    for tag, values in query.where.items():
        conditions.append(f"{_tag(foreign, tag)} IN ({', '.join('?' * len(values))})")
        parameters += values
    return (f" WHERE {' AND '.join(conditions)}" if conditions else ""), parameters


def _tag(foreign: Foreign, tag: str) -> str:
    return _text(foreign.tags[tag]) if tag in foreign.tags else "NULL"


def _time(foreign: Foreign) -> str:
    column = _column(foreign.time)
    if foreign.time_unit in ("native", "iso"):
        return _CALENDAR.format(c=column)
    return f"CAST(({_NUMBER.format(c=column)}) * {_FACTORS[foreign.time_unit]} AS INTEGER)"


def _bucket(query: Query) -> str:
    size = query.bucket_ns
    if size is None:
        return "0"
    return f"timestamp_ns - (timestamp_ns % {size} + {size}) % {size}"  # a plain division would round towards zero


def _text(column: str) -> str:
    return f"CAST({_column(column)} AS TEXT)"


def _column(name: str) -> str:
    return f"source.{_quoted(name)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
