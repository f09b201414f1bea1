# ruff: noqa: S608  (pieces of SQL are put together here; every text of the question is a parameter)
"""A `Query` as SQL for DuckDB, which reads the Parquet files and does the counting.

`matched` are the records that fit, with the tags to group by as columns; each aggregate is then one grouped select.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tallystick.backends._rows import COLUMNS
from tallystick.backends._sql import like, seconds, series
from tallystick.backends.base import Foreign
from tallystick.queries import Query, Series, is_pattern

_VALUES: Final = {
    "count": "sum(1 / sample_rate)",
    "sum": "sum(value / sample_rate)",
    "mean": "sum(value / sample_rate) / sum(1 / sample_rate)",
    "min": "min(value)",
    "max": "max(value)",
    "last": "first(value ORDER BY timestamp_ns DESC, value DESC)",
    "rate": "sum(value / sample_rate) / nullif({seconds}, 0)",
}

Source = tuple[str, list[Any]]
"""A SELECT, and its parameters."""


def native(points: Sequence[Path], documents: Sequence[Path]) -> Source | None:
    """All records, one row an id, with the columns of `COLUMNS`; None when there are no files."""
    columns = ", ".join(COLUMNS)
    selects, parameters = [], []
    if points:
        selects.append(f"SELECT {columns} FROM {read_parquet()}")
        parameters.append(patterns(points))
    if documents:
        newest = "ORDER BY timestamp_ns DESC, written_ns DESC, place DESC"
        selects.append(
            f"SELECT {columns} FROM {read_parquet()} QUALIFY row_number() OVER (PARTITION BY own_id {newest}) = 1"
        )
        parameters.append(patterns(documents))
    return (" UNION ALL ".join(selects), parameters) if selects else None


def read_parquet() -> str:
    """The day in the folder's name is for other readers; `hive_partitioning` would make it a column of ours."""
    return "read_parquet(?, hive_partitioning = false)"


def patterns(paths: Sequence[Path]) -> list[str]:
    """DuckDB takes each path for a pattern, so what is special in one stands in brackets."""
    special = str.maketrans({"[": "[[]", "*": "[*]", "?": "[?]"})
    return [str(path).translate(special) for path in paths]


def foreign(source: Foreign, root: Path) -> Source:
    """The same columns out of somebody else's Parquet files: `source` is a path or pattern, within the folder."""
    time_ns = {
        "native": "epoch_ns({c})",
        "iso": "epoch_ns(CAST({c} AS TIMESTAMPTZ))",
        "ns": "CAST({c} AS BIGINT)",
        "us": "CAST({c} * 1000 AS BIGINT)",
        "ms": "CAST({c} * 1000000 AS BIGINT)",
        "s": "CAST({c} * 1000000000 AS BIGINT)",
    }[source.time_unit].format(c=quoted(source.time))
    pairs = ", ".join(f"{{'key': ?, 'value': CAST({quoted(column)} AS VARCHAR)}}" for column in source.tags.values())
    tags = f"map_from_entries([{pairs}])" if pairs else "MAP {}"
    name = f"CAST({quoted(source.name)} AS VARCHAR)" if source.name else "CAST(? AS VARCHAR)"
    kind = f"CAST({quoted(source.kind)} AS VARCHAR)" if source.kind else "'gauge'"
    sql = (
        f"SELECT {time_ns} AS timestamp_ns, {name} AS name, {kind} AS kind, CAST(NULL AS VARCHAR) AS unit,"
        f" CAST({quoted(source.value)} AS DOUBLE) AS value, {tags} AS tags, 1.0::DOUBLE AS sample_rate"
        f" FROM {read_parquet()}"
    )
    sql = f"SELECT * FROM ({sql}) AS theirs WHERE timestamp_ns IS NOT NULL AND name IS NOT NULL"
    where = f"{patterns([root])[0]}/{source.source}" if not source.source.startswith("/") else source.source
    return sql, [*([] if source.name else [source.source]), *source.tags, where]


def answer(cursor: Any, query: Query, source: Source) -> list[Series]:
    return series(query, cursor.execute(*_statement(query, source)).fetchall())


def _statement(query: Query, source: Source) -> Source:
    tags = "".join(f", tags[?] AS tag{index}" for index in range(len(query.by)))
    group = ", ".join(["name", "unit", *(f"tag{index}" for index in range(len(query.by))), "bucket"])
    conditions, parameters = fits(query)
    if query.aggregate != "count":
        conditions.append("value IS NOT NULL")
    matched = (
        f"WITH matched AS (SELECT timestamp_ns, name, unit, value, sample_rate, {_bucket(query)} AS bucket{tags}"
        f" FROM ({source[0]}) AS source WHERE {' AND '.join(conditions) or 'true'})"
    )
    parameters = [*query.by, *source[1], *parameters]
    if query.percentile is not None:
        percent = round(query.percentile * 100)
        placed = (
            f"placed AS (SELECT {group}, value, count(*) OVER (PARTITION BY {group}) AS n,"
            f" row_number() OVER (PARTITION BY {group} ORDER BY value) AS place FROM matched)"
        )
        nearest_rank = f"(n * {percent} + 99) // 100"
        return f"{matched}, {placed} SELECT {group}, value FROM placed WHERE place = {nearest_rank}", parameters
    value = _VALUES[query.aggregate].format(seconds=seconds(query))
    return f"{matched} SELECT {group}, {value} FROM matched GROUP BY {group}", parameters


def fits(query: Query) -> tuple[list[str], list[Any]]:
    """The conditions that a query's names, kinds, `where` and time range make, and their parameters."""
    conditions: list[str] = []
    parameters: list[Any] = []
    if "*" not in query.names:
        each = ["name LIKE ? ESCAPE '\\'" if is_pattern(name) else "name = ?" for name in query.names]
        conditions.append(f"({' OR '.join(each)})")
        parameters += [like(name) if is_pattern(name) else name for name in query.names]
    if query.kinds:
        conditions.append(f"kind IN ({_marks(query.kinds)})")
        parameters += query.kinds
    for tag, values in query.where.items():
        conditions.append(f"tags[?] IN ({_marks(values)})" if values else "false")
        parameters += [tag, *values] if values else []
    for operator, bound in ((">=", query.start_ns), ("<", query.end_ns)):
        if bound is not None:
            conditions.append(f"timestamp_ns {operator} ?")
            parameters.append(bound)
    return conditions, parameters


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _bucket(query: Query) -> str:
    size = query.bucket_ns
    if size is None:
        return "0"
    return f"timestamp_ns - ((timestamp_ns % {size}) + {size}) % {size}"  # a plain division would round towards zero


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
