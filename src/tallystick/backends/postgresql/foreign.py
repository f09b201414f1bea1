# ruff: noqa: S608  (pieces of SQL are put together here; names of columns are quoted, every text is a parameter)
"""Somebody else's table, brought into our columns, so that the query for our own records can ask it.

A row without a time (or a name, where a column holds the names) is passed over, and so is one whose time is none that
64 bits of nanoseconds hold: infinity, a year before 1677. A text that is a number counts as one; what is no finite
number counts as none. What a column holds is asked first, since each type is read in a way of its own.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.backends.base import Foreign
from tallystick.backends.postgresql.schema import quoted
from tallystick.errors import QueryError

_TEXTS: Final = frozenset((18, 19, 25, 1042, 1043))
_EXACT: Final = frozenset((20, 21, 23, 1700))
_FLOATS: Final = frozenset((700, 701))
_CALENDAR: Final = frozenset((1082, 1114, 1184))
"""Types by their number in the catalog, the same in every PostgreSQL: char, name, text, bpchar, varchar; int8, int2,
int4, numeric; float4, float8; date, timestamp, timestamptz."""

_FACTORS: Final = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}

_NUMBER: Final = "^ *[-+]?([0-9]{1,200}([.][0-9]{0,99})?|[.][0-9]{1,99})([eE][-+]?[0-9]{1,2})? *$"
"""A text that PostgreSQL reads as a number, and as a double without overflow."""

_ISO_DATE: Final = "(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_ISO_TIME: Final = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?"
_ISO: Final = f"^{_ISO_DATE}([T ]{_ISO_TIME}( ?(Z|UTC|[-+](0[0-9]|1[0-4])(:?[0-5][0-9])?))?)?$"


def foreign(connection: Any, source: Foreign) -> tuple[str, list[Any]]:
    """The columns of `query.native` out of their table, and the parameters of that.

    Raises `QueryError` for a column of times that the unit does not fit, with the one that would.
    """
    table = ".".join(_quoted(part) for part in source.source.split("."))
    asked = f"SELECT {_column(source.time)}, {_column(source.value)} FROM {table} AS theirs LIMIT 0"
    time_type, value_type = (column.type_code for column in connection.execute(asked, ()).description)
    pairs = ", ".join(f"%s::text, {_column(column)}::text" for column in source.tags.values())
    tags = f"jsonb_strip_nulls(jsonb_build_object({pairs}))" if pairs else "'{}'::jsonb"
    name = f"{_column(source.name)}::text" if source.name else "%s::text"
    kind = f"{_column(source.kind)}::text" if source.kind else "'gauge'::text"
    sql = (
        f"SELECT * FROM (SELECT {_time_ns(source, time_type)} AS timestamp_ns, {name} AS name, {kind} AS kind,"
        f" NULL::text AS unit, {_value(source, value_type)} AS value, {tags} AS tags,"
        f" 1.0::double precision AS sample_rate FROM {table} AS theirs) AS taken"
        " WHERE timestamp_ns IS NOT NULL AND name IS NOT NULL"
    )
    return sql, [*([] if source.name else [source.source]), *source.tags]


def _value(source: Foreign, kind: int) -> str:
    number = _number(_column(source.value), kind)
    if kind in _FLOATS:  # NaN sorts above infinity
        return f"CASE WHEN {number} > '-Infinity' AND {number} < 'Infinity' THEN {number} END"
    if kind == 1700:  # which holds more than a double, at both ends
        fits = f"abs({number}) < 1e308 AND ({number} = 0 OR abs({number}) > 1e-307)"
        return f"CASE WHEN {fits} THEN {number}::double precision END"
    return f"({number})::double precision"


def _time_ns(source: Foreign, kind: int) -> str:
    column, unit = _column(source.time), source.time_unit
    _refuse_misfit(source, kind)
    if unit in _FACTORS:
        number = _number(column, kind)
        moment = f"CASE WHEN abs({number}) < 1e19 THEN {number} * {_FACTORS[unit]} END"
    elif unit == "iso" and kind in _TEXTS:
        days = f"extract(day FROM make_date({_part(column, 1)}, {_part(column, 6)}, 1) + interval '1 month - 1 day')"
        exists = f"CASE WHEN {column} ~ '{_ISO}' THEN {_part(column, 9)} <= {days} END"
        moment = f"CASE WHEN {exists} THEN {_since_1970(f'{column}::text::timestamptz')} END"
    else:
        moment = _since_1970(column if unit == "native" else f"{column}::timestamptz")
    low, high = -(2**63), 2**63 - 1
    return f"CASE WHEN {moment} > {low} AND {moment} < {high} THEN ({moment})::bigint END"


def _refuse_misfit(source: Foreign, kind: int) -> None:
    """The server would say that no function takes these types."""
    holds, remedy = "", ""
    if kind in _EXACT | _FLOATS and source.time_unit not in _FACTORS:
        holds, remedy = "numbers", "ms (or s, us, ns)"
    elif kind in _TEXTS and source.time_unit == "native":
        holds, remedy = "texts", "iso (or s, ms, us, ns for numbers)"
    elif kind in _CALENDAR and source.time_unit in _FACTORS:
        holds, remedy = "times of PostgreSQL's own", "native"
    if holds:
        raise QueryError(
            f"{source.source}: the column {source.time!r} holds {holds}, and the unit said is {source.time_unit};"
            f" say --column time_unit={remedy}, in Python Foreign(time_unit=…)"
        )


def _since_1970(moment: str) -> str:
    return f"extract(epoch FROM {moment}) * 1000000000"


def _part(column: str, start: int) -> str:
    """A number of `2026-11-21`: the year from 1, the month from 6, the day from 9."""
    return f"substr({column}::text, {start}, {4 if start == 1 else 2})::int"


def _number(column: str, kind: int) -> str:
    """An expression that is a number wherever the cell is one."""
    if kind in _TEXTS:
        return f"CASE WHEN {column} ~ '{_NUMBER}' THEN {column}::text::numeric END"
    return f"{column}::{'numeric' if kind in _EXACT else 'double precision'}"


def _column(name: str) -> str:
    return f"theirs.{_quoted(name)}"


def _quoted(name: str) -> str:
    return quoted(name).replace("%", "%%")  # which is the driver's sign for a parameter
