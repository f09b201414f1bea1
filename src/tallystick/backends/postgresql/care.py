# ruff: noqa: S608  (pieces of SQL are put together here; only names of ours are pasted)
"""Looking after a PostgreSQL store: what is in it, and forgetting the old."""

from __future__ import annotations

from typing import Any, Final

from tallystick.backends.postgresql.schema import DAY_NS, day_partitions, quoted

SLICE_ROWS: Final = 5_000
LEDGER_DAYS: Final = 90
"""A segment that took no delivery for so long does not come again: a spool that did not move for 90 days is a find for
a person. Its ledger goes then."""


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
    with connection.transaction():
        connection.execute(
            f"CREATE TEMPORARY TABLE stale ON COMMIT DROP AS SELECT id FROM {s}.segments g"
            f" WHERE written < now() - interval '{LEDGER_DAYS} days'"
            f" AND NOT EXISTS (SELECT 1 FROM {s}.everything e WHERE e.segment = g.id)"
        )
        connection.execute(f"DELETE FROM {s}.ledger WHERE segment IN (SELECT id FROM stale)")
        connection.execute(f"DELETE FROM {s}.segments WHERE id IN (SELECT id FROM stale)")
