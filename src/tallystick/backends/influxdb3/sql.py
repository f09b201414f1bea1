# ruff: noqa: S608  (pieces of SQL are put together here; every name and text in them is quoted)
"""Questions as SQL for InfluxDB 3: a measurement is a table, its tags and fields are columns.

The tables that a question is about are put together by UNION ALL, each with what it has of the columns asked for. Of
records with an id of the caller's every version is a row of its own, here and in the store; a question sees the newest
of each id, by time, then segment and place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tallystick.backends.influxdb.lines import EARLIEST_NS, LATEST_NS, STEP_NS
from tallystick.backends.influxdb.text import decoded, tag_to_key, tag_to_value, value_to_tag
from tallystick.errors import QueryError
from tallystick.queries import Query, Series, finish

Tables = Mapping[str, Sequence[str]]
"""The columns of each table of ours."""

Row = dict[str, Any]

_WHOLE: Final = {
    "count": "SUM(weight)",
    "sum": "SUM(value * weight)",
    "mean": "SUM(value * weight) / SUM(weight)",
    "min": "MIN(value)",
    "max": "MAX(value)",
    "rate": "SUM(value * weight) / {seconds}",
}


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def statement(tables: Tables, query: Query) -> str | None:
    """The question; None when no table can answer it."""
    sources = [source for table in matching(tables, query) if (source := _source(tables, table, query)) is not None]
    return aggregated(query, " UNION ALL ".join(sources), newest_versions(tables)) if sources else None


def aggregated(query: Query, found: str, before: str = "") -> str:
    """The question about rows of name, unit, weight, tag0, tag1, …, value, timestamp_ns, bucket; `before` is what else
    stands behind WITH."""
    by = [identifier(f"tag{number}") for number in range(len(query.by))]
    group = ", ".join(["name", "unit", *by, "bucket"])
    start = f"WITH {before}found AS ({found})"
    if query.aggregate == "last":
        order = "ORDER BY timestamp_ns DESC, value DESC"
        return f"""{start} SELECT {group}, value AS result FROM (
            SELECT *, ROW_NUMBER() OVER (PARTITION BY {group} {order}) AS place FROM found
        ) AS placed WHERE place = 1"""
    if query.percentile is not None:
        percent = round(query.percentile * 100)
        return f"""{start} SELECT {group}, value AS result FROM (
            SELECT *, ROW_NUMBER() OVER (PARTITION BY {group} ORDER BY value) AS place,
                COUNT(*) OVER (PARTITION BY {group}) AS n FROM found
        ) AS placed WHERE place = (n * {percent} + 99) / 100"""
    whole = _WHOLE[query.aggregate].format(seconds=_seconds(query))
    return f"{start} SELECT {group}, {whole} AS result FROM found GROUP BY {group}"


def series(query: Query, rows: Sequence[Row], *, encoded: bool = True) -> list[Series]:
    """What is answered; `encoded`: names and tags are as `influxdb/text.py` writes them."""
    name_of, text_of = (decoded, tag_to_value) if encoded else (str, str)
    points: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    for row in rows:
        if row.get("result") is not None:
            unit, tags = row.get("unit"), [row.get(f"tag{number}") for number in range(len(query.by))]
            moment = (query.start or 0.0) if query.bucket_ns is None else row["bucket"] / 1e9
            group = row["name"], unit, tuple(None if tag is None else text_of(tag) for tag in tags)
            points.setdefault(group, []).append((moment, float(row["result"])))
    return finish(
        (
            Series(
                name=name_of(name),
                unit=None if unit is None else text_of(unit),
                tags=dict(zip(query.by, tags, strict=True)),
                points=sorted(those),
            )
            for (name, unit, tags), those in points.items()
        ),
        query.limit,
    )


def matching(tables: Tables, query: Query) -> list[str]:
    return [table for table in tables if query.matches_name(decoded(table))]


def newest_versions(tables: Tables) -> str:
    """`versions AS (…), `: the newest version of each id of the callers', in whatever table it is."""
    parts = [
        f"SELECT id, timestamp_ns, writer, time FROM {identifier(table)} WHERE id IS NOT NULL"
        for table, columns in tables.items()
        if "id" in columns
    ]
    if not parts:
        return ""
    return f"""versions AS (SELECT id, timestamp_ns, writer, time FROM (
        SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY timestamp_ns DESC, writer DESC, time DESC) AS age
        FROM ({" UNION ALL ".join(parts)}) AS every
    ) AS aged WHERE age = 1), """


def from_where(tables: Tables, table: str, query: Query) -> str | None:
    """`FROM … WHERE …` of a table, whose columns are then those of `p`; None when it has no such tag."""
    conditions = ["p.timestamp_ns IS NOT NULL"]
    try:
        wanted = {tag_to_key(tag): [value_to_tag(value) for value in values] for tag, values in query.where.items()}
        kinds = list(map(value_to_tag, query.kinds))
    except ValueError as error:
        raise QueryError(f"{error}; no record has such a tag") from None
    for column, values in {**wanted, **({"kind": kinds} if kinds else {})}.items():
        if column not in tables[table]:
            return None
        conditions.append(f"p.{identifier(column)} IN ({', '.join(map(literal, values))})")
    conditions += _span(query)
    join = ""
    if "id" in tables[table]:
        same = " AND ".join(f"v.{column} = p.{column}" for column in ("id", "timestamp_ns", "writer", "time"))
        join = f" LEFT JOIN versions AS v ON {same}"
        conditions.append("(p.id IS NULL OR v.id IS NOT NULL)")
    return f"FROM {identifier(table)} AS p{join} WHERE {' AND '.join(conditions)}"


def _source(tables: Tables, table: str, query: Query) -> str | None:
    columns = tables[table]
    rest = from_where(tables, table, query)
    if rest is None or (query.aggregate != "count" and "value" not in columns):
        return None

    def or_null(column: str, type_: str = "VARCHAR") -> str:
        return f"p.{identifier(column)}" if column in columns else f"CAST(NULL AS {type_})"

    selected = {
        "name": literal(table),
        "unit": or_null("unit"),
        "weight": "COALESCE(1.0 / CAST(p.rate AS DOUBLE), 1.0)" if "rate" in columns else "CAST(1.0 AS DOUBLE)",
        **{f"tag{number}": or_null(tag_to_key(tag)) for number, tag in enumerate(query.by)},
        "value": or_null("value", "DOUBLE"),
        "timestamp_ns": "p.timestamp_ns",
        "bucket": bucket_of(query, "p.timestamp_ns"),
    }
    numbers = "" if query.aggregate == "count" else " AND p.value IS NOT NULL"
    return f"SELECT {', '.join(f'{made} AS {name}' for name, made in selected.items())} {rest}{numbers}"


def bucket_of(query: Query, moment: str) -> str:
    """Where the bucket of a time in nanoseconds begins; also before 1970."""
    size = query.bucket_ns
    return "0" if size is None else f"{moment} - (({moment} % {size}) + {size}) % {size}"


def _seconds(query: Query) -> str:
    if query.bucket_ns is not None:
        return repr(query.bucket_ns / 1e9)
    if query.start is not None and query.end is not None:
        return repr(query.end - query.start)
    return "NULLIF(CAST(MAX(timestamp_ns) - MIN(timestamp_ns) AS DOUBLE) / 1e9, 0)"


def _span(query: Query) -> Iterator[str]:
    """By the exact time, and by the points' own as far as that agrees: it is what the store can look up."""
    if query.start_ns is not None:
        start = min(max(query.start_ns, EARLIEST_NS + STEP_NS), LATEST_NS)
        yield f"p.timestamp_ns >= {start}"
        yield f"p.time >= to_timestamp_nanos({start // STEP_NS * STEP_NS})"
    if query.end_ns is not None:
        end = min(max(query.end_ns, EARLIEST_NS), LATEST_NS - STEP_NS)
        yield f"p.timestamp_ns < {end}"
        yield f"p.time < to_timestamp_nanos({-(-end // STEP_NS) * STEP_NS})"
