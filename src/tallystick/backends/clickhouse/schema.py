# ruff: noqa: S608  (only names of ours are pasted into SQL here, quoted)
"""The tables of a ClickHouse store, and how they come to be.

ClickHouse has neither transactions nor unique keys, so there is no ledger: what is sent again becomes equal rows, and
`ReplacingMergeTree` with `FINAL` shows one of them, whether or not the store has merged them yet.

- `points` holds the records; rows with equal sorting keys are one record. A partition is thirty days of the records'
  own time; equal rows have equal times, so they share one.
- `documents` holds the records with an id of the caller's own: of each id the row with the newest `timestamp_ns`,
  of equally new ones the last that came.
- The view `records` shows both to people.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.backends.base import Line
from tallystick.errors import Misconfigured

SCHEMA: Final = 1
"""The number in the comment of `points`. A store with a larger one is refused."""

PARTITION_NS: Final = 30 * 86_400 * 10**9

COMMENT: Final = "tallystick schema "

_COLUMNS: Final = """
    timestamp_ns Int64, segment LowCardinality(String), place Int64, name LowCardinality(String),
    kind LowCardinality(String), unit LowCardinality(Nullable(String)), value Nullable(Float64), whole Nullable(Int64),
    content Nullable(String), tags Map(LowCardinality(String), String), sample_rate Float64, extra Nullable(String),
    own_id Nullable(String), host LowCardinality(String), app LowCardinality(String), pid Int64, written_ns Int64
"""
"""`value` is what aggregates see; `whole` keeps an integer exactly, `content` a text, or a document as JSON; `extra`
says what these columns cannot (types, words, metadata)."""

_TIME: Final = "fromUnixTimestamp64Nano(timestamp_ns, 'UTC') AS time"
_SHOWN: Final = (
    f"{_TIME}, name, kind, coalesce(content, toString(whole), toString(value)) AS value, unit, tags, host, app, pid,"
    " coalesce(own_id, concat(segment, '-', toString(place))) AS id, timestamp_ns, sample_rate, extra"
)

TABLES: Final = {
    "documents": (
        f"CREATE TABLE IF NOT EXISTS {{d}}.documents ({_COLUMNS.replace('own_id Nullable(String)', 'own_id String')})"
        " ENGINE = ReplacingMergeTree(timestamp_ns) ORDER BY own_id"
    ),
    "points": (
        f"CREATE TABLE IF NOT EXISTS {{d}}.points ({_COLUMNS}) ENGINE = ReplacingMergeTree"
        f" PARTITION BY intDiv(timestamp_ns, {PARTITION_NS}) ORDER BY (name, timestamp_ns, segment, place)"
        f" COMMENT '{COMMENT}{SCHEMA}'"
    ),
    "records": (
        f"CREATE VIEW IF NOT EXISTS {{d}}.records AS SELECT {_SHOWN} FROM {{d}}.points FINAL"
        f" UNION ALL SELECT {_SHOWN} FROM {{d}}.documents FINAL"
    ),
}


def script(database: str, user: str) -> str:
    """What an administrator runs for a user who may not create anything, and who then writes with `setup=no`."""
    d = quoted(database)
    statements = [f"CREATE DATABASE IF NOT EXISTS {d}", *(table.format(d=d) for table in TABLES.values())]
    statements.append(f"GRANT SELECT, INSERT, ALTER DELETE ON {d}.* TO {quoted(user)}")
    return ";\n".join(" ".join(statement.split()) for statement in statements) + ";"


def version(client: Any, database: str) -> int | None:
    """The schema number of the store; None when it has no table `points`."""
    sql = f"SELECT comment FROM system.tables WHERE database = {text(database)} AND name = 'points'"
    rows = client.query(sql).result_rows
    if not rows:
        return None
    number = str(rows[0][0]).removeprefix(COMMENT)
    if not number.isdecimal():
        raise Misconfigured(f"{database}.points is a table, and none of ours; name another database")
    return int(number)


def ensure(client: Any, database: str) -> list[str]:
    """Create what is missing; says what was done. Raises `Misconfigured` for a store of a newer version."""
    found = version(client, database)
    if found is not None and found > SCHEMA:
        raise Misconfigured(
            f"the tables in {database} have schema {found}, this version knows up to {SCHEMA}; upgrade tallystick"
        )
    missing = set(TABLES) - _tables(client, database)
    if not missing:
        return []
    client.command(f"CREATE DATABASE IF NOT EXISTS {quoted(database)}")
    for table in TABLES.values():
        client.command(table.format(d=quoted(database)))
    return [f"created {', '.join(sorted(missing))} of schema {SCHEMA} in {database}"]


def check(client: Any, database: str) -> list[Line]:
    found = version(client, database)
    if found is None:
        return [Line(ok=False, what=f"no tables of ours in {database}", remedy="run `tallystick setup`")]
    if found != SCHEMA:
        return [Line(ok=False, what=f"schema {found}, this version makes {SCHEMA}", remedy="upgrade tallystick here")]
    missing = sorted(set(TABLES) - _tables(client, database))
    remedy = "run `tallystick setup`"
    return [
        Line(ok=True, what=f"schema {found} in {database}"),
        *(Line(ok=False, what=f"{database}.{table} is missing", remedy=remedy) for table in missing),
    ]


def _tables(client: Any, database: str) -> set[str]:
    rows = client.query(f"SELECT name FROM system.tables WHERE database = {text(database)}").result_rows
    return {row[0] for row in rows}


def quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def text(value: str) -> str:
    """Any text as an expression that nothing in it can leave: its bytes in hexadecimal."""
    return f"unhex('{value.encode().hex()}')"
