"""Looking after a SQLite store: what is in it, whether all is well, and forgetting the old."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from tallystick.backends.base import Line
from tallystick.backends.sqlite import schema as schemas
from tallystick.backends.sqlite import segments

_SLICE_SECONDS: Final = 0.05
"""About how long one transaction of `prune` holds the write lock."""

_SLICE_ROWS: Final = 2_000

_LEDGER_DAYS: Final = 90
"""A segment that took no delivery for so long is forgotten by the ledger, once none of its records can be there.

A segment comes again only while its file is in some spool, and a spool that did not move for 90 days has trouble of
another kind. Even then nothing is stored twice while the old rows are there: the place is part of the points' key.
"""


def check(connection: sqlite3.Connection, path: Path) -> list[Line]:
    found = schemas.version(connection)
    if found is None:
        return [Line(ok=False, what=f"{path} has none of our tables", remedy="run `tallystick setup`")]
    lines = [Line(ok=True, what=f"{path}, SQLite {sqlite3.sqlite_version}")]
    if found < schemas.SCHEMA:
        lines.append(Line(ok=False, what=f"schema {found} is old", remedy="run `tallystick setup` to upgrade it"))
    elif found > schemas.SCHEMA:
        lines.append(Line(ok=False, what=f"schema {found} is newer than we are", remedy="upgrade tallystick here"))
    else:
        lines.append(Line(ok=True, what=f"schema {found}"))
    different = schemas.differences(connection)
    lines += [
        Line(ok=False, what=f"{name} is not as we make it", remedy="move the file away, or repair it by hand")
        for name in different
    ]
    lines += _lost(connection) if not any(name.startswith("CREATE TABLE") for name in different) else []
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    remedy = "put the file on a local disk; on this one, readers and the writer wait for each other"
    lines.append(Line(ok=mode == "wal", what=f"journal mode {mode}", remedy="" if mode == "wal" else remedy))
    return lines


def _lost(connection: sqlite3.Connection) -> list[Line]:
    lost = segments.lost(connection)
    what = f"{len(lost)} segment(s) lost their row in the table segments, and their records are not in the view records"
    remedy = (
        "put its rows back from a backup, or run `tallystick setup`, which makes them anew without host, application"
        " and process"
    )
    return [Line(ok=False, what=what, remedy=remedy)] if lost else []


def indices(connection: sqlite3.Connection, path: Path) -> list[dict[str, Any]]:
    (records,) = connection.execute("SELECT count(*) FROM points").fetchone()
    oldest, newest = connection.execute(
        """SELECT min((SELECT min(timestamp_ns) FROM points WHERE series = series.id)),
            max((SELECT max(timestamp_ns) FROM points WHERE series = series.id)) FROM series"""
    ).fetchone()
    return [
        {
            "name": str(path),
            "records": records,
            "size_bytes": sum(file.stat().st_size for file in _files(path)),
            "oldest": None if oldest is None else oldest / 1e9,
            "newest": None if newest is None else newest / 1e9,
        }
    ]


def _files(path: Path) -> list[Path]:
    return [file for end in ("", "-wal") if (file := path.with_name(path.name + end)).exists()]


def prune(connection: sqlite3.Connection, before_ns: int) -> int:
    """Delete the points before a moment, then the series and segments that nothing refers to any more."""
    pruned = 0
    series = [row[0] for row in connection.execute("SELECT id FROM series ORDER BY id")]
    while series:
        connection.execute("BEGIN IMMEDIATE")
        try:
            pruned += _prune_slice(connection, series, before_ns)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        if series:
            time.sleep(_SLICE_SECONDS)  # a writer that waits for the lock gets its turn
    _forget_segments(connection, before_ns)
    return pruned


def _prune_slice(connection: sqlite3.Connection, series: list[int], before_ns: int) -> int:
    """Prunes from the end of the list of series, and takes off the list what is done."""
    deadline = time.monotonic() + _SLICE_SECONDS
    pruned = 0
    emptied = []
    while series:
        cut = connection.execute(
            "SELECT timestamp_ns FROM points WHERE series = ? AND timestamp_ns < ?"
            " ORDER BY timestamp_ns LIMIT 1 OFFSET ?",
            (series[-1], before_ns, _SLICE_ROWS),
        ).fetchone()
        pruned += connection.execute(
            "DELETE FROM points WHERE series = ? AND timestamp_ns <= ?",
            (series[-1], before_ns - 1 if cut is None else cut[0]),
        ).rowcount
        if cut is None:
            emptied.append((series.pop(),))
        if time.monotonic() > deadline:
            break
    _forget_series(connection, emptied)
    return pruned


def _forget_series(connection: sqlite3.Connection, candidates: list[tuple[int]]) -> None:
    in_use = "SELECT 1 FROM points WHERE series = ? LIMIT 1"
    unused = [row for row in candidates if not connection.execute(in_use, row).fetchone()]
    if unused:
        connection.executemany("DELETE FROM series WHERE id = ?", unused)
        connection.executemany("DELETE FROM series_tags WHERE series = ?", unused)
        connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")  # writers know ids by heart


def _forget_segments(connection: sqlite3.Connection, before_ns: int) -> None:
    """Of those that nothing can refer to any more, and their ledger."""
    bounds = (before_ns, int(time.time()) - _LEDGER_DAYS * 86_400)
    connection.execute("BEGIN IMMEDIATE")
    try:
        stale = connection.execute("SELECT id FROM segments WHERE newest_ns < ? AND written < ?", bounds).fetchall()
        connection.executemany("DELETE FROM ledger WHERE segment = ?", stale)
        connection.executemany("DELETE FROM segments WHERE id = ?", stale)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
