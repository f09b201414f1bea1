# ruff: noqa: S608  (only names of ours are pasted into SQL here, quoted)
"""The numbers of segments, and what becomes of rows whose segment lost its row in `segments`.

- A number is given once. Given again, the ranges that `ledger` knows under it would be taken for the new segment's, and
  its records for stored. The identity of `segments` sees to that, but begins anew when the table is made anew or
  truncated. So a new number is looked up in `ledger`, and the first of an empty `segments` in all tables.
- A number is never known by heart: it is asked for with the ledger, in each batch's transaction, which holds the row,
  so that it cannot go away before the commit.
- No statement of ours leaves rows without their segment, but a person's may. They count in every answer and are read
  under a segment `lost-…`, of which nothing else is known; the view `records` is without them until `adopt` gives that
  segment a row.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.backends._sql import Range, lost_segment
from tallystick.backends.postgresql.schema import day_partitions, lock_tables, quoted
from tallystick.records import Batch, Header

_LOOKED_AT: Final = 1_000
"""Rows of each table that `lost` looks at, beside the whole ledger: it knows every segment, unless it was lost too."""


def known(connection: Any, schema: str, batch: Batch) -> tuple[int, list[Range]]:
    """The number of the batch's segment, a new one when it has none, and the ranges in the ledger that overlap or touch
    the batch's. In a transaction that holds the advisory lock of this segment."""
    s = quoted(schema)
    rows = connection.execute(
        f"SELECT g.id, l.start, l.stop FROM {s}.segments g"
        f" LEFT JOIN {s}.ledger l ON l.segment = g.id AND l.start <= %s AND l.stop >= %s"
        " WHERE g.segment = %s FOR NO KEY UPDATE OF g",
        (batch.end, batch.start, batch.segment),
    ).fetchall()
    if not rows:
        return new_number(connection, schema, batch.header), []
    return rows[0][0], [(start, stop) for _, start, stop in rows if start is not None]


def new_number(connection: Any, schema: str, header: Header) -> int:
    """Give a segment its row."""
    s, top = quoted(schema), 0
    if _is_empty(connection, s):
        lock_tables(connection, schema)
        if _is_empty(connection, s):  # else another process was first, and has looked
            top = _highest(connection, schema)
    insert = (
        f"INSERT INTO {s}.segments (segment, host, pid, app, started) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (id) DO NOTHING RETURNING id"
    )
    row = (header.segment, header.host, header.pid, header.app, header.started)
    given = connection.execute(insert, row).fetchone()
    if given is not None:
        taken = f"SELECT FROM {s}.ledger WHERE segment = %s LIMIT 1"
        if given[0] > top and connection.execute(taken, given).fetchone() is None:
            return int(given[0])
        connection.execute(f"DELETE FROM {s}.segments WHERE id = %s", given)
    _go_on_above(connection, schema, top)
    return int(connection.execute(insert, row).fetchone()[0])


def _is_empty(connection: Any, s: str) -> bool:
    return connection.execute(f"SELECT FROM {s}.segments LIMIT 1").fetchone() is None


def _highest(connection: Any, schema: str) -> int:
    """Of the numbers in the tables of records, one table at a time: each must be read within the timeout."""
    highest = 0
    for name in _tables(connection, schema):
        sql = f"SELECT coalesce(max(segment), 0) FROM {quoted(schema)}.{quoted(name)}"
        highest = max(highest, connection.execute(sql).fetchone()[0])
    return highest


def _tables(connection: Any, schema: str) -> list[str]:
    return [*(name for name, _ in day_partitions(connection, schema)), "points_other", "documents"]


def _go_on_above(connection: Any, schema: str, top: int) -> None:
    """Have the identity give numbers above this one, and above all in `segments` and `ledger`."""
    s = quoted(schema)
    lock_tables(connection, schema)
    (sequence,) = connection.execute("SELECT pg_get_serial_sequence(%s, 'id')", (f"{s}.segments",)).fetchone()
    sql = f"SELECT greatest(%s, (SELECT max(id) FROM {s}.segments), (SELECT max(segment) FROM {s}.ledger))"
    (top,) = connection.execute(sql, (top,)).fetchone()
    connection.execute(f"SELECT setval(%s, %s) FROM {sequence} WHERE last_value < %s", (sequence, top, top))


def lost(connection: Any, schema: str) -> list[int]:
    """Numbers of segments that have no row, though there are rows of them. Cheap however large the store is."""
    s = quoted(schema)
    some = [f"(SELECT segment FROM {s}.{table} LIMIT {_LOOKED_AT})" for table in ("points", "documents")]
    found = connection.execute(
        f"SELECT segment FROM (SELECT segment FROM {s}.ledger UNION {' UNION '.join(some)}) AS theirs"
        f" WHERE NOT EXISTS (SELECT FROM {s}.segments g WHERE g.id = theirs.segment)"
    )
    return sorted(number for (number,) in found)


def adopt(connection: Any, schema: str, address: str) -> list[str]:
    """Give each of them a row, so that the view shows their records; says what was done."""
    if not lost(connection, schema):
        return []
    s, numbers = quoted(schema), set()
    with connection.transaction():
        lock_tables(connection, schema)
        for name in ["ledger", *_tables(connection, schema)]:
            sql = f"SELECT DISTINCT segment FROM {s}.{quoted(name)}"
            numbers |= {number for (number,) in connection.execute(sql)}
        numbers -= {number for (number,) in connection.execute(f"SELECT id FROM {s}.segments")}
        connection.cursor().executemany(
            f"INSERT INTO {s}.segments (id, segment, host, pid, app, started) OVERRIDING SYSTEM VALUE"
            " VALUES (%s, %s, '', 0, '', 0)",
            [(number, lost_segment(address, number).segment) for number in sorted(numbers)],
        )
    return [f"gave {len(numbers)} lost segments a row again: nothing is known of them but their records"]
