# ruff: noqa: S608  (pieces of SQL are put together here; only names of ours are pasted)
"""Looking after a PostgreSQL store: whether all is well, what is in it, and forgetting the old."""

from __future__ import annotations

import re
from typing import Any, Final

from tallystick.backends.base import Line
from tallystick.backends.postgresql import segments
from tallystick.backends.postgresql.schema import DAY_NS, SCHEMA, TABLES, day_partitions, missing, quoted, version

SLICE_ROWS: Final = 5_000
_CONSTRAINT: Final = re.compile(" (?:NOT NULL|PRIMARY KEY|GENERATED|UNIQUE|DEFAULT)")
LEDGER_DAYS: Final = 90
"""A segment that took no delivery for so long does not come again: a spool that did not move for 90 days is a find for
a person. Its ledger goes then."""


def check(connection: Any, schema: str) -> list[Line]:
    found = version(connection, schema)
    if found is None:
        return [Line(ok=False, what=f"no tables of ours in schema {schema}", remedy="run `tallystick setup`")]
    if found != SCHEMA:
        return [Line(ok=False, what=f"schema {found}, this version makes {SCHEMA}", remedy="upgrade tallystick here")]
    lines = [Line(ok=True, what=f"schema {found} in {schema}")]
    absent = missing(connection, schema)
    different = _different_columns(connection, schema, [table for table in TABLES if table not in absent])
    first = ", after what is said of its columns" if different else ""
    lines += [
        Line(ok=False, what=f"{schema}.{name} is missing", remedy=f"run `tallystick setup`{first}") for name in absent
    ]
    lines += different
    for table in ("segments", "ledger", "points", "points_other", "documents"):
        place = f"{quoted(schema)}.{table}"
        sql = "SELECT has_table_privilege(%s, 'INSERT')"
        if table not in absent and not connection.execute(sql, (place,)).fetchone()[0]:
            lines.append(Line(ok=False, what=f"{place} may not be written by this user", remedy="GRANT it the right"))
    if not different and not set(absent) & set(TABLES):
        lines += _lost(connection, schema)
    return lines


def _different_columns(connection: Any, schema: str, tables: list[str]) -> list[Line]:
    made = [(table, column, what) for table in tables for column, what in TABLES[table].items()]
    types = [_CONSTRAINT.split(what)[0] for _, _, what in made]
    rows = connection.execute(
        "SELECT number, format_type(a.atttypid, a.atttypmod)"
        " FROM unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY AS made (tab, col, typ, number)"
        " LEFT JOIN (pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace)"
        " ON n.nspname = %s AND c.relname = tab AND a.attname = col AND NOT a.attisdropped"
        " WHERE a.attname IS NULL OR a.atttypid <> typ::regtype ORDER BY number",
        ([table for table, _, _ in made], [column for _, column, _ in made], types, schema),
    ).fetchall()
    return [_difference(schema, made[number - 1], types[number - 1], found) for number, found in rows]


def _difference(schema: str, made: tuple[str, str, str], kind: str, found: str | None) -> Line:
    s, (table, column, what) = quoted(schema), made
    if found is not None:
        said = f"{schema}.{table}: the column {column} is {found}, not {kind}"
        statement = (
            f"DROP VIEW IF EXISTS {s}.everything CASCADE; ALTER TABLE {s}.{table} ALTER COLUMN {column} TYPE {kind}"
            f" USING {column}::text::{kind};"
        )
    elif what == kind:
        said = f"{schema}.{table}: the column {column} is missing"
        statement = f"ALTER TABLE {s}.{table} ADD COLUMN {column} {kind};"
    else:  # there is nothing that all its rows could have in it
        said = f"{schema}.{table}: the column {column} is missing"
        statement = f"ALTER SCHEMA {s} RENAME TO {quoted(f'{schema}_old')};"
    return Line(ok=False, what=said, remedy=f"as the owner run {statement} and then `tallystick setup`")


def _lost(connection: Any, schema: str) -> list[Line]:
    lost = segments.lost(connection, schema)
    what = f"{len(lost)} segment(s) lost their row in the table segments, and their records are not in the view records"
    remedy = (
        "put its rows back from a backup, or run `tallystick setup`, which makes them anew without host, application"
        " and process"
    )
    return [Line(ok=False, what=what, remedy=remedy)] if lost else []


def indices(connection: Any, schema: str) -> list[dict[str, Any]]:
    found = []
    days = [name for name, _ in day_partitions(connection, schema)]
    for name in [*days, "points_other", "documents"]:
        table = f"{quoted(schema)}.{quoted(name)}"
        sql = f"SELECT count(*), pg_total_relation_size(%s), min(timestamp_ns), max(timestamp_ns) FROM {table}"
        records, size, oldest, newest = connection.execute(sql, (table,)).fetchone()
        seconds = [None if moment is None else moment / 1e9 for moment in (oldest, newest)]
        found.append({"name": name, "records": records, "size_bytes": size, "oldest": seconds[0], "newest": seconds[1]})
    return found


def prune(connection: Any, schema: str, before_ns: int) -> int:
    """Drop the days that are older as a whole; delete in slices what is older in the other tables."""
    s, gone = quoted(schema), 0
    for name, start in day_partitions(connection, schema):
        if start + DAY_NS <= before_ns:
            gone += connection.execute(f"SELECT count(*) FROM {s}.{quoted(name)}").fetchone()[0]
            connection.execute(f"DROP TABLE {s}.{quoted(name)}")
    for table in ("points", "documents"):
        while True:
            old = f"SELECT tableoid, ctid FROM {s}.{table} WHERE timestamp_ns < %s LIMIT {SLICE_ROWS}"
            sql = f"DELETE FROM {s}.{table} WHERE (tableoid, ctid) IN ({old})"
            count = connection.execute(sql, (before_ns,)).rowcount
            gone += count
            if count < SLICE_ROWS:
                break
    _forget_segments(connection, s)
    return gone


def _forget_segments(connection: Any, s: str) -> None:
    """Those that nothing refers to any more. One that takes a delivery at this very moment is waited for, and stays."""
    old = f"written < now() - interval '{LEDGER_DAYS} days'"
    with connection.transaction():
        connection.execute(
            f"CREATE TEMPORARY TABLE stale ON COMMIT DROP AS SELECT id FROM {s}.segments g"
            f" WHERE {old} AND NOT EXISTS (SELECT 1 FROM {s}.everything e WHERE e.segment = g.id)"
        )
        connection.execute(
            f"WITH gone AS (DELETE FROM {s}.segments WHERE id IN (SELECT id FROM stale) AND {old} RETURNING id)"
            f" DELETE FROM {s}.ledger WHERE segment IN (SELECT id FROM gone)"
        )
