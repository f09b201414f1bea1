# ruff: noqa: S608  (only a number of ours is pasted into SQL here)
"""The numbers of segments, and what becomes of rows whose segment lost its line in `segments`.

- A number is given once. Given again, the ranges that `ledger` knows under it would be taken for the new segment's, and
  its records for stored. So a new number is above all that stand in `segments`, `ledger` and `points`, and above the
  highest that was ever given, which `meta` keeps; only a store from before that has its points looked through for it.
- No statement of ours leaves rows without their segment, but a person's may. They count in every answer and are read
  under a segment `lost-…`, of which nothing else is known; the view `records` is without them until `adopt`
  gives that segment a line.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from tallystick.backends._sql import lost_segment
from tallystick.records import Header

_HIGHEST: Final = """
    SELECT max(
        coalesce(
            (SELECT value FROM meta WHERE key = 'segments'),
            (SELECT max(segment) FROM points),
            0
        ),
        coalesce((SELECT max(id) FROM segments), 0),
        coalesce((SELECT max(segment) FROM ledger), 0)
    )
"""

_LOOKED_AT: Final = 1_000
"""Rows of `points` that `lost` looks at, beside the whole ledger: it knows every segment, unless it was lost too."""


def new_number(connection: sqlite3.Connection) -> int:
    """For a new segment, in the caller's transaction, which holds the write lock."""
    number = int(connection.execute(_HIGHEST).fetchone()[0]) + 1
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('segments', ?)", (number,))
    return number


def stand_in(connection: sqlite3.Connection, number: int) -> Header:
    """The header of records of a segment that has no line; the store is its file."""
    return lost_segment(connection.execute("PRAGMA database_list").fetchone()[2], number)


def lost(connection: sqlite3.Connection) -> list[int]:
    """Numbers of segments that have no line, though there are rows of them. Cheap however large the store is."""
    known = f"SELECT segment FROM ledger UNION SELECT segment FROM (SELECT segment FROM points LIMIT {_LOOKED_AT})"
    found = connection.execute(f"SELECT segment FROM ({known}) WHERE segment NOT IN (SELECT id FROM segments)")
    return sorted(number for (number,) in found)


def adopt(connection: sqlite3.Connection) -> list[str]:
    """Give each of them a line, so that the view shows their records; says what was done."""
    if not lost(connection):
        return []
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = connection.execute(
            """SELECT segment, max(newest) FROM (
                SELECT segment, -9223372036854775808 AS newest FROM ledger
                UNION ALL SELECT segment, timestamp_ns FROM points
            ) WHERE segment NOT IN (SELECT id FROM segments) GROUP BY segment"""
        ).fetchall()
        connection.executemany(
            "INSERT INTO segments (id, segment, host, pid, app, started, tags, written, newest_ns)"
            " VALUES (?, ?, '', 0, '', 0, '{}', ?, ?)",
            [(number, stand_in(connection, number).segment, int(time.time()), newest) for number, newest in found],
        )
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return [f"gave {len(found)} lost segments a line again: nothing is known of them but their records"]
