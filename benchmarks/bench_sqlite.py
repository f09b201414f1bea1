"""Spool to SQLite against the rows alone, and a question about ten million rows.

The peer of the delivery is a bare `executemany` of ready-made rows: the same statement, tables, settings and sizes of
transactions, with nothing read from a spool, no series looked up and no ledger kept. Idempotent against not is the
same delivery with and without what makes a batch that comes again harmless: looking into the ledger, and writing it.
The question is one metric per minute over 24 hours, where that metric is a twentieth of all rows, in ten series.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import time
from collections.abc import Iterator
from itertools import count as numbers
from pathlib import Path
from typing import Any

from deliveries import BATCH, START_NS, Piece, deliver, spool
from harness import Figure, Options, compare, main, take_turns, temporary_folder

from tallystick.backends.sqlite import SqliteBackend
from tallystick.backends.sqlite.rows import INSERT, Writer
from tallystick.queries import Query
from tallystick.records import Batch, Header

RECORDS = 100_000
ROWS = 10_000_000
METRICS, SERIES_OF_EACH = 20, 10
DAY_NS = 86_400_000_000_000


class Forgetful(Writer):
    """Stores a batch that comes again once more, as far as the tables allow it."""

    def _transaction(self, batch: Batch, *, carefully: bool) -> dict[int, str]:
        self._connection.execute("BEGIN IMMEDIATE")
        self._check_generation()
        self._insert(batch.records, self._segment(batch.header))
        self._connection.execute("COMMIT")
        self._remember()
        return {}


def ours(path: Path, header: Header, pieces: list[Piece], writer: type[Writer] = Writer) -> float:
    """Seconds to decode all lines and write them."""
    backend = SqliteBackend(path)
    backend.open()
    assert backend._connection is not None
    backend._writer = writer(backend._connection)
    seconds = deliver(backend, header, pieces)
    backend.close()
    return seconds


def bare(path: Path, batches: list[list[tuple[Any, ...]]]) -> float:
    """Seconds to insert ready-made rows into the same tables."""
    backend = SqliteBackend(path)
    backend.open()
    backend.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -16000")
    began = time.perf_counter()
    for rows in batches:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, rows)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - began
    connection.close()
    return seconds


def delivery(folder: Path, options: Options) -> Iterator[Figure]:
    count = options.scaled(RECORDS)
    header, pieces = spool(count)
    ours(folder / "rows.db", header, pieces)
    connection = sqlite3.connect(folder / "rows.db")
    rows = connection.execute(
        "SELECT series, timestamp_ns, segment, place, value FROM points ORDER BY place"
    ).fetchall()
    connection.close()
    if len(rows) != count:
        raise SystemExit(f"{count} records were delivered and {len(rows)} are there")
    batches = [rows[first : first + BATCH] for first in range(0, count, BATCH)]
    files = (folder / f"{number}.db" for number in numbers())
    took = take_turns(
        options.rounds,
        {
            "ours": lambda: ours(next(files), header, pieces),
            "bare": lambda: bare(next(files), batches),
            "forgetful": lambda: ours(next(files), header, pieces, Forgetful),
        },
    )
    speed = {name: [1 / seconds for seconds in rounds] for name, rounds in took.items()}
    each = {name: f"{statistics.median(rounds) / count * 1e6:.2f} us" for name, rounds in took.items()}
    size = (folder / "rows.db").stat().st_size / count
    yield compare(
        "spool to SQLite / bare executemany of the same rows, rows a second",
        speed["ours"],
        speed["bare"],
        0.60,
        better="higher",
        note=f"{each['ours']} against {each['bare']} a record, {size:.0f} bytes a row",
    )
    yield compare(
        "spool to SQLite, idempotent / not, rows a second",
        speed["ours"],
        speed["forgetful"],
        0.95,
        better="higher",
        note=f"{each['ours']} against {each['forgetful']} a record, {BATCH} records a batch",
    )


def fill(path: Path, count: int) -> None:
    """One day of points, evenly; made in bulk, since it is the question that is measured."""
    backend = SqliteBackend(path)
    backend.open()
    backend.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO segments VALUES (1, 'bulk', 'web-1', 1, 'shop', 0, '{}', 0, 0)")
    points = count // (METRICS * SERIES_OF_EACH)
    for number in range(1, METRICS * SERIES_OF_EACH + 1):
        name, host = f"metric.{number % METRICS}", f"host-{number // METRICS}"
        connection.execute(
            "INSERT INTO series VALUES (?, ?, ?, 'gauge', NULL, ?, '[]', 1.0)",
            (number, number.to_bytes(16), name, json.dumps({"host": host})),
        )
        connection.execute("INSERT INTO series_tags VALUES (?, 'host', ?)", (number, host))
        connection.executemany(
            INSERT,
            (
                (
                    number,
                    START_NS + index * (DAY_NS // points),
                    1,
                    index * 1000 + number,
                    index * 37 % 1009 / 10,
                )
                for index in range(points)
            ),
        )
    connection.execute("COMMIT")
    connection.close()


def question(folder: Path, options: Options) -> Figure:
    count = options.scaled(ROWS)
    fill(folder / "query.db", count)
    backend = SqliteBackend(folder / "query.db")
    query = Query("metric.7", aggregate="mean", bucket="1m", start=START_NS / 1e9, end=(START_NS + DAY_NS) / 1e9)

    def ask() -> float:
        began = time.perf_counter()
        (series,) = backend.query(query)
        seconds = time.perf_counter() - began
        if len(series.points) != DAY_NS // 60_000_000_000:
            raise SystemExit(f"{len(series.points)} minutes were answered")
        return seconds * 1000

    took = sorted(take_turns(options.rounds, {"ask": ask})["ask"])
    quarter = len(took) // 4
    return Figure(
        f"SQLite: one metric per minute over 24 h of {count / 1e6:g} M rows",
        statistics.median(took),
        400,
        unit=" ms",
        low=took[quarter],
        high=took[-1 - quarter],
        note=f"{count // METRICS:,} rows counted" + (", the goal is for 10 M rows" if options.quick else ""),
    )


def measure(options: Options) -> Iterator[Figure]:
    with temporary_folder() as folder:
        yield from delivery(folder, options)
        yield question(folder, options)


if __name__ == "__main__":
    main("SQLite", measure)
