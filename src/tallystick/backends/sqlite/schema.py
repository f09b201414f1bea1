"""The tables of a SQLite store, how they come to be, and how an older file becomes a current one.

Points are clustered by series and time in a table without row ids: a row takes 24 to 40 bytes, needs no second index,
and a query for one series reads one stretch of the file. A series is all that equal records share: name, kind, unit,
tags and sample rate. What a segment's records share (host, pid, application) stands once, in `segments`.
The view `records` joins it all for people: `SELECT * FROM records WHERE name = 'user.signup'`.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from tallystick.errors import Misconfigured

SCHEMA: Final = 1
"""The number in `meta`. A file with a larger one is refused; one with a smaller one is upgraded."""

_TABLES: Final = (
    """
    CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        unit TEXT,
        tags TEXT NOT NULL,
        words TEXT NOT NULL,
        sample_rate REAL NOT NULL
    )
    """,
    "CREATE INDEX series_name ON series (name)",
    """
    CREATE TABLE series_tags (
        series INTEGER NOT NULL,
        tag TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (series, tag)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX series_tags_value ON series_tags (tag, value)",
    """
    CREATE TABLE segments (
        id INTEGER PRIMARY KEY,
        segment TEXT NOT NULL UNIQUE,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        app TEXT NOT NULL,
        started INTEGER NOT NULL,
        tags TEXT NOT NULL,
        written INTEGER NOT NULL,
        newest_ns INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE ledger (
        segment INTEGER NOT NULL,
        start INTEGER NOT NULL,
        stop INTEGER NOT NULL,
        PRIMARY KEY (segment, start)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE points (
        series INTEGER NOT NULL,
        timestamp_ns INTEGER NOT NULL,
        segment INTEGER NOT NULL,
        place INTEGER NOT NULL,
        value,
        own_id TEXT,
        extra TEXT,
        PRIMARY KEY (series, timestamp_ns, segment, place)
    ) WITHOUT ROWID
    """,
    "CREATE UNIQUE INDEX points_own_id ON points (own_id) WHERE own_id IS NOT NULL",
    """
    CREATE VIEW records AS
    SELECT
        strftime('%Y-%m-%dT%H:%M:%S', (timestamp_ns - nanoseconds) / 1000000000, 'unixepoch')
            || printf('.%09dZ', nanoseconds) AS time,
        series.name, series.kind, points.value, series.unit, series.tags,
        json_extract(points.extra, '$.metadata') AS metadata,
        segments.host, segments.app, segments.pid,
        coalesce(points.own_id, segments.segment || '-' || points.place) AS id,
        timestamp_ns, series.sample_rate
    FROM (SELECT *, (timestamp_ns % 1000000000 + 1000000000) % 1000000000 AS nanoseconds FROM points) AS points
    JOIN series ON series.id = points.series
    JOIN segments ON segments.id = points.segment
    """,
    "INSERT INTO meta VALUES ('schema', 1), ('generation', 0)",
)

_UPGRADES: Final[dict[int, tuple[str, ...]]] = {}
"""From each older schema the statements that lead to the next."""


def version(connection: sqlite3.Connection) -> int | None:
    """The schema number of this file; None when it has no tables of ours."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta'").fetchone():
        return None
    found = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    return int(found[0]) if found else None


def ensure(connection: sqlite3.Connection, path: str) -> list[str]:
    """Create or upgrade what is missing; says what was done.

    Raises `Misconfigured` for a newer file than this version knows, and for a file with tables of someone else.
    """
    if version(connection) == SCHEMA:
        return []
    done = []
    connection.execute("BEGIN IMMEDIATE")  # another process may be creating the same tables
    try:
        found = version(connection)
        if found is None:
            _create(connection, path)
            done.append(f"created the tables of schema {SCHEMA} in {path}")
            found = SCHEMA
        if found > SCHEMA:
            raise Misconfigured(
                f"{path} has schema {found}, this version knows up to {SCHEMA}; upgrade tallystick here too"
            )
        for step in range(found, SCHEMA):
            for statement in _UPGRADES[step]:
                connection.execute(statement)
            connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (step + 1,))
            done.append(f"upgraded {path} from schema {step} to {step + 1}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return done


def _create(connection: sqlite3.Connection, path: str) -> None:
    taken = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') LIMIT 1").fetchone()
    if taken:
        raise Misconfigured(
            f"{path} is a database of something else (it has a table {taken[0]!r}); name a file of its own for records"
        )
    for statement in _TABLES:
        connection.execute(statement)


def differences(connection: sqlite3.Connection) -> list[str]:
    """The tables, indexes and views that are missing or not as this version makes them."""
    there = {
        " ".join(sql.split()) for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")
    }
    made = [" ".join(statement.split()) for statement in _TABLES if statement.split()[0] == "CREATE"]
    return [statement.partition(" (")[0].partition(" AS ")[0] for statement in made if statement not in there]
