# ruff: noqa: S608  (pieces of SQL are put together here; every text of the question is hexadecimal)
"""A `Query` as SQL for ClickHouse, which does the counting.

`matched` are the records that fit, with the tags to group by as columns; each aggregate is then one grouped select.
The server's own parameters travel in the request's address, which is of limited length and has a notation of its own
for what is special; so texts go as `unhex('…')`, a constant for the server, which needs no notation at all.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.backends._rows import COLUMNS
from tallystick.backends._sql import like, seconds, series
from tallystick.backends.base import Foreign
from tallystick.backends.clickhouse.schema import quoted, text
from tallystick.queries import Query, Series, is_pattern

_VALUES: Final = {
    "count": "sum(1 / sample_rate)",
    "sum": "sum(value / sample_rate)",
    "mean": "sum(value / sample_rate) / sum(1 / sample_rate)",
    "min": "min(value)",
    "max": "max(value)",
    "last": "argMax(value, (timestamp_ns, assumeNotNull(value)))",
    "rate": "sum(value / sample_rate) / nullIf({seconds}, 0)",
}


def native(database: str, query: Query, columns: str = ", ".join(COLUMNS)) -> str:
    """The records of a store of ours that fit."""
    where = " AND ".join(fits(query)) or "1"
    tables = (f"{quoted(database)}.{table} FINAL" for table in ("points", "documents"))
    return " UNION ALL ".join(f"SELECT {columns} FROM {table} WHERE {where}" for table in tables)


def foreign(database: str, source: Foreign, query: Query) -> str:
    """The same columns out of somebody else's table, in `database` unless its name says another one."""
    time_ns = {
        "native": "toUnixTimestamp64Nano(toDateTime64({c}, 9, 'UTC'))",
        "iso": "toUnixTimestamp64Nano(parseDateTime64BestEffortOrNull({c}, 9, 'UTC'))",
        "ns": "toInt64({c})",
        "us": "toInt64({c} * 1000)",
        "ms": "toInt64({c} * 1000000)",
        "s": "toInt64({c} * 1000000000)",
    }[source.time_unit].format(c=f"t.{quoted(source.time)}")
    pairs = ", ".join(f"({text(tag)}, toString(t.{quoted(column)}))" for tag, column in source.tags.items())
    present = f"arrayFilter(pair -> pair.2 IS NOT NULL, [{pairs}])"
    tags = f"mapFromArrays(arrayMap(p -> p.1, {present}), arrayMap(p -> assumeNotNull(p.2), {present}))"
    name = f"toString(t.{quoted(source.name)})" if source.name else text(source.source)
    kind = f"toString(t.{quoted(source.kind)})" if source.kind else "'gauge'"
    place = source.source if "." in source.source else f"{database}.{source.source}"
    table = ".".join(quoted(part) for part in place.split(".", 1))
    return (
        f"SELECT * FROM (SELECT {time_ns} AS timestamp_ns, {name} AS name, {kind} AS kind, NULL AS unit,"
        f" CAST(t.{quoted(source.value)}, 'Nullable(Float64)') AS value, {tags if pairs else 'map()'} AS tags,"
        f" 1.0 AS sample_rate FROM {table} AS t)"
        f" WHERE {' AND '.join(['timestamp_ns IS NOT NULL', 'name IS NOT NULL', *fits(query)])}"
    )


def answer(client: Any, query: Query, source: str) -> list[Series]:
    return series(query, client.query(_statement(query, source)).result_rows)


def _statement(query: Query, source: str) -> str:
    tags = "".join(
        f", if(mapContains(tags, {text(tag)}), tags[{text(tag)}], NULL) AS tag{index}"
        for index, tag in enumerate(query.by)
    )
    group = ", ".join(["name", "unit", *(f"tag{index}" for index in range(len(query.by))), "bucket"])
    having = "" if query.aggregate == "count" else " WHERE value IS NOT NULL"
    matched = (
        f"SELECT timestamp_ns, name, unit, value, sample_rate, {_bucket(query)} AS bucket{tags}"
        f" FROM ({source}) AS source{having}"
    )
    if query.percentile is not None:
        percent = round(query.percentile * 100)
        value = f"arraySort(groupArray(assumeNotNull(value)))[intDiv(count() * {percent} + 99, 100)]"  # nearest rank
    else:
        value = _VALUES[query.aggregate].format(seconds=seconds(query))
    return f"SELECT {group}, {value} AS answer FROM ({matched}) AS matched GROUP BY {group}"


def fits(query: Query) -> list[str]:
    """The conditions that a query's names, kinds, `where` and time range make."""
    conditions: list[str] = []
    if "*" not in query.names:
        each = [f"name LIKE {text(like(name))}" if is_pattern(name) else f"name = {text(name)}" for name in query.names]
        conditions.append(f"({' OR '.join(each)})")
    if query.kinds:
        conditions.append(f"kind IN ({', '.join(map(text, query.kinds))})")
    for tag, values in query.where.items():
        conditions.append(f"tags[{text(tag)}] IN ({', '.join(map(text, values))})" if values else "0")
        if "" in values:  # so reads a tag that is not there
            conditions.append(f"mapContains(tags, {text(tag)})")
    for operator, bound in ((">=", query.start_ns), ("<", query.end_ns)):
        if bound is not None:
            conditions.append(f"timestamp_ns {operator} {bound:d}")
    return conditions


def _bucket(query: Query) -> str:
    size = query.bucket_ns
    if size is None:
        return "toInt64(0)"
    return f"timestamp_ns - positiveModulo(timestamp_ns, toInt64({size}))"
