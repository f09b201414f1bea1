# ruff: noqa: S608  (pieces of SQL are put together here; every text of the question is a parameter)
"""A `Query` as SQL for PostgreSQL, which does the counting.

`matched` are the records that fit, with the tags to group by as columns; each aggregate is then one grouped select.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.backends._sql import like, seconds, series
from tallystick.backends.postgresql.schema import quoted
from tallystick.queries import Query, Series, is_pattern

_VALUES: Final = {
    "count": "sum(1 / sample_rate)",
    "sum": "sum(value / sample_rate)",
    "mean": "sum(value / sample_rate)",
    "min": "min(value)",
    "max": "max(value)",
    "last": "(array_agg(value ORDER BY timestamp_ns DESC, value DESC))[1]",
    "rate": "sum(value / sample_rate)",
}
_DIVIDED_BY: Final = {"mean": "sum(1 / sample_rate)", "rate": "{seconds}"}
"""The server would refuse a quotient that is too small for a double, so it is made here. By 0 there is none."""


def native(schema: str) -> str:
    """What a query reads from, when the records are ours."""
    return f"SELECT timestamp_ns, name, kind, unit, value, tags, sample_rate FROM {quoted(schema)}.everything"


def answer(connection: Any, query: Query, source: str, given: list[Any]) -> list[Series]:
    rows = connection.execute(*_statement(query, source, given))
    quotients = (
        (*key, float(value) / float(divisor) if value is not None and divisor else None)
        for *key, value, divisor in rows
    )
    return series(query, quotients)


def _statement(query: Query, source: str, given: list[Any]) -> tuple[str, list[Any]]:
    tags = "".join(f", tags ->> %s AS tag{index}" for index in range(len(query.by)))
    group = ", ".join(["name", "unit", *(f"tag{index}" for index in range(len(query.by))), "bucket"])
    conditions, parameters = fits(query)
    if query.aggregate != "count":
        conditions.append("value IS NOT NULL")
    matched = (
        f"WITH matched AS (SELECT timestamp_ns, name, unit, value, sample_rate, {_bucket(query)} AS bucket{tags}"
        f" FROM ({source}) AS source WHERE {' AND '.join(conditions) or 'true'})"
    )
    parameters = [*query.by, *given, *parameters]
    if query.percentile is not None:
        percent = round(query.percentile * 100)
        window = f"(PARTITION BY {group})"
        placed = (
            f"placed AS (SELECT {group}, value, count(*) OVER {window} AS n,"
            f" row_number() OVER (PARTITION BY {group} ORDER BY value) AS place FROM matched)"
        )
        nearest_rank = f"(n * {percent} + 99) / 100"
        return f"{matched}, {placed} SELECT {group}, value, 1 FROM placed WHERE place = {nearest_rank}", parameters
    value = _VALUES[query.aggregate]
    divisor = _DIVIDED_BY.get(query.aggregate, "1").format(seconds=seconds(query))
    return f"{matched} SELECT {group}, {value}, {divisor} FROM matched GROUP BY {group}", parameters


def fits(query: Query) -> tuple[list[str], list[Any]]:
    """The conditions that a query's names, kinds, `where` and time range make, and their parameters."""
    conditions: list[str] = []
    parameters: list[Any] = []
    if "*" not in query.names:
        exact = [name for name in query.names if not is_pattern(name)]
        patterns = [like(name) for name in query.names if is_pattern(name)]
        conditions.append("(name = ANY(%s) OR name LIKE ANY(%s))")
        parameters += [exact, patterns]
    if query.kinds:
        conditions.append("kind = ANY(%s)")
        parameters.append(list(query.kinds))
    for tag, values in query.where.items():
        conditions.append("tags ->> %s = ANY(%s)")
        parameters += [tag, list(values)]
    for operator, bound in ((">=", query.start_ns), ("<", query.end_ns)):
        if bound is not None:
            conditions.append(f"timestamp_ns {operator} %s")
            parameters.append(bound)
    return conditions, parameters


def _bucket(query: Query) -> str:
    size = query.bucket_ns
    if size is None:
        return "0"
    return f"timestamp_ns - ((timestamp_ns %% {size}) + {size}) %% {size}"  # a plain division would round towards zero
