# ruff: noqa: S608  (pieces of SQL are put together here; every name and text in them is quoted)
"""Questions about what others wrote to InfluxDB 3: a table, a column with the value, tags or other texts.

The time is always the row's own. A metric's name may come from a column; then each of its texts is a metric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from tallystick.backends.base import Foreign
from tallystick.backends.influxdb.lines import EARLIEST_NS, LATEST_NS
from tallystick.backends.influxdb3.sql import Row, aggregated, bucket_of, identifier, literal, series
from tallystick.errors import QueryError
from tallystick.queries import Query, Series
from tallystick.records import GAUGE

_NUMBERS: Final = {"Float64", "Int64", "UInt64"}
_MOMENT: Final = "CAST(time AS BIGINT)"


def answer_foreign(ask: Callable[[str], list[Row]], query: Query, foreign: Foreign) -> list[Series]:
    """Raises `QueryError` for a table or column that is not there, and for a time that is not the row's own."""
    _check(ask, foreign)
    if foreign.name is None:
        names = [foreign.source]
    else:
        distinct = f"SELECT DISTINCT {identifier(foreign.name)} AS name FROM {identifier(foreign.source)}"
        names = [row["name"] for row in ask(distinct) if row.get("name") is not None]
    wanted = [name for name in names if query.matches_name(name)]
    if (
        not wanted
        or any(tag not in foreign.tags for tag in query.where)
        or (foreign.kind is None and query.kinds and GAUGE not in query.kinds)
    ):
        return []
    value = f"CAST({identifier(foreign.value)} AS DOUBLE)"
    selected = {
        "name": literal(foreign.source) if foreign.name is None else identifier(foreign.name),
        "unit": "CAST(NULL AS VARCHAR)",
        "weight": "CAST(1.0 AS DOUBLE)",
        **{
            f"tag{number}": identifier(foreign.tags[tag]) if tag in foreign.tags else "CAST(NULL AS VARCHAR)"
            for number, tag in enumerate(query.by)
        },
        "value": value,
        "timestamp_ns": _MOMENT,
        "bucket": bucket_of(query, _MOMENT),
    }
    columns = ", ".join(f"{made} AS {name}" for name, made in selected.items())
    where = " AND ".join([f"{identifier(foreign.value)} IS NOT NULL", *_conditions(query, foreign, wanted)])
    found = f"SELECT {columns} FROM {identifier(foreign.source)} WHERE {where}"
    return series(query, ask(aggregated(query, found)), encoded=False)


def _check(ask: Callable[[str], list[Row]], foreign: Foreign) -> None:
    if foreign.time != "time" or foreign.time_unit != "native":
        raise QueryError(f"time: {foreign.time!r} in {foreign.time_unit}; InfluxDB has points by their own time alone")
    table = f"table_schema = 'iox' AND table_name = {literal(foreign.source)}"
    rows = ask(f"SELECT column_name, data_type FROM information_schema.columns WHERE {table}")
    types = {row["column_name"]: row["data_type"] for row in rows}
    if types.get(foreign.value) not in _NUMBERS:
        raise QueryError(f"{foreign.source}: there is no such table with numbers in a column {foreign.value}")
    missing = {*foreign.tags.values(), *filter(None, (foreign.name, foreign.kind))} - types.keys()
    if missing:
        raise QueryError(f"{foreign.source}: no column {', '.join(sorted(missing))}; it has {', '.join(sorted(types))}")


def _conditions(query: Query, foreign: Foreign, names: list[str]) -> Iterator[str]:
    if foreign.name is not None:
        yield f"{identifier(foreign.name)} IN ({', '.join(map(literal, names))})"
    if foreign.kind is not None and query.kinds:
        yield f"{identifier(foreign.kind)} IN ({', '.join(map(literal, query.kinds))})"
    for tag, values in query.where.items():
        yield f"{identifier(foreign.tags[tag])} IN ({', '.join(map(literal, values))})"
    if query.start_ns is not None:
        yield f"time >= to_timestamp_nanos({min(max(query.start_ns, EARLIEST_NS), LATEST_NS)})"
    if query.end_ns is not None:
        yield f"time < to_timestamp_nanos({min(max(query.end_ns, EARLIEST_NS), LATEST_NS)})"
