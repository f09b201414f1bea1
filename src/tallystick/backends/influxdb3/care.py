# ruff: noqa: S608  (pieces of SQL are put together here; every name in them is quoted)
"""Looking after InfluxDB 3: whether it is one, and what is there. It makes all by itself, and deletes no row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from tallystick.backends.base import Line
from tallystick.backends.influxdb3.sql import Row, Tables, identifier
from tallystick.errors import BackendError, Misconfigured, QueryError


def check(address: str, version: str, tables: Callable[[], Tables]) -> list[Line]:
    """`version` is what the server said of itself; `tables` asks for those of ours, which a token may not be let."""
    lines = [Line(ok=True, what=f"{address}: InfluxDB {version} answers")]
    try:
        found = len(tables())
    except (QueryError, Misconfigured) as error:
        lines.append(Line(ok=False, what=str(error), remedy="questions need a token that may query; writing does not"))
    else:
        tables_of = "1 table" if found == 1 else f"{found} tables"
        there = f"{tables_of} of records" if found else "no record yet; the first makes database and table"
        lines.append(Line(ok=True, what=there))
    return lines


def indices(ask: Callable[[str], list[Row]], tables: Tables) -> list[dict[str, Any]]:
    """One for each table, every version of a record with an id of the caller's counted; the server tells no sizes."""
    found = []
    for table in tables:
        counted = "COUNT(timestamp_ns) AS records, MIN(timestamp_ns) AS oldest, MAX(timestamp_ns) AS newest"
        for row in ask(f"SELECT {counted} FROM {identifier(table)}"):
            ends = {end: None if row.get(end) is None else row[end] / 1e9 for end in ("oldest", "newest")}
            found.append({"name": table, "records": row["records"], "size_bytes": None, **ends})
    return found


def prune(address: str, database: str) -> NoReturn:
    raise BackendError(
        f"{address}: InfluxDB 3 deletes no single record; let the database forget by itself, which must be said when it"
        f" is made: influxdb3 create database --retention-period 90d {database}"
    )
