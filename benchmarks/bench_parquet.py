"""Spool to a Parquet folder against a ready-made Arrow table, and a question about ten million rows.

The peer of the delivery is DuckDB's COPY of an Arrow table that holds the same columns already: the same number of
files, the same compression, written aside, synced and renamed in the same way, with nothing read from a spool, no line
made, no lock taken, no name looked at and no file merged. The question is one metric per minute over 24 hours, where
that metric is a twentieth of all rows, in ten series; once of few large deliveries, and once of many small ones, which
are merged as they come, as from a spool that is delivered every second.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from itertools import count as numbers
from pathlib import Path
from typing import Any

import duckdb
from bench_sqlite import DAY_NS, METRICS, ROWS, SERIES_OF_EACH
from deliveries import BATCH, START_NS, deliver, spool
from harness import Figure, Options, compare, main, take_turns, temporary_folder

from tallystick.backends._rows import Part, day_of
from tallystick.backends.parquet import ParquetBackend
from tallystick.backends.parquet.folder import aside, path_of, publish
from tallystick.backends.parquet.merging import FAN
from tallystick.queries import Query

FILES = 24
DELIVERIES = 2 * FAN
"""So many that all of them are merged once."""


def opened(path: Path) -> ParquetBackend:
    backend = ParquetBackend(path)
    backend.open()
    return backend


def bare(connection: Any, path: Path, tables: list[Any]) -> float:
    """Seconds to copy ready-made tables into as many files."""
    (path / "day=bare").mkdir(parents=True)
    began = time.perf_counter()
    for number, ready in enumerate(tables):
        target = path / "day=bare" / f"{number}.parquet"
        connection.register("ready", ready)
        connection.execute(f"COPY ready TO '{aside(target)}' (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)")
        publish(target)
    return time.perf_counter() - began


def delivery(folder: Path, options: Options) -> Figure:
    count = options.scaled(DELIVERIES * BATCH)
    header, pieces = spool(count)
    backend = opened(folder / "rows")
    deliver(backend, header, pieces)
    backend.close()
    connection = duckdb.connect(":memory:")
    paths = sorted((folder / "rows").glob("*/*.parquet"))
    rows = connection.read_parquet([str(path) for path in paths]).order("segment, place")
    tables = [rows.limit(BATCH, first).to_arrow_table() for first in range(0, count, BATCH)]
    if sum(map(len, tables)) != count or len(tables) != len(pieces):
        raise SystemExit(f"{count} records were delivered, and {sum(map(len, tables))} are there")
    names = (folder / str(number) for number in numbers())
    took = take_turns(
        options.rounds,
        {
            "ours": lambda: deliver(opened(next(names)), header, pieces),
            "bare": lambda: bare(connection, next(names), tables),
        },
    )
    ours, theirs = (statistics.median(took[name]) / count * 1e6 for name in ("ours", "bare"))
    size = sum(path.stat().st_size for path in paths) / count
    return compare(
        "spool to Parquet / DuckDB's COPY of a ready Arrow table, rows a second",
        [1 / seconds for seconds in took["ours"]],
        [1 / seconds for seconds in took["bare"]],
        0.35,
        better="higher",
        note=f"{ours:.2f} us against {theirs:.2f} us a record, {BATCH} a delivery, {size:.0f} bytes a row in the end",
    )


def fill(backend: ParquetBackend, count: int, files: int) -> float:
    """One day of points, evenly, in so many files; made in bulk, since it is the question that is measured. Seconds
    that their merging took."""
    took = 0.0
    connection = duckdb.connect(":memory:")
    each = count // files
    for number in range(files):
        target = path_of(backend.path, Part(day_of(START_NS), False), "bulk", number * each, (number + 1) * each - 1)
        target.parent.mkdir(exist_ok=True)
        connection.execute(
            f"COPY (SELECT {START_NS} + i * {DAY_NS // count} AS timestamp_ns, 'bulk' AS segment, i AS place,"
            f" 'metric.' || (i % {METRICS}) AS name, 'gauge' AS kind, NULL::VARCHAR AS unit,"
            f" (i * 37 % 1009 / 10)::DOUBLE AS value, NULL::BIGINT AS whole, NULL::VARCHAR AS content,"
            f" MAP {{'host': 'host-' || (i // {METRICS} % {SERIES_OF_EACH})}} AS tags, 1.0::DOUBLE AS sample_rate,"
            " NULL::VARCHAR AS extra, NULL::VARCHAR AS own_id, 'web-1' AS host, 'shop' AS app, 1::BIGINT AS pid,"
            f" 0::BIGINT AS written_ns FROM range({number * each}, {(number + 1) * each}) t(i))"
            f" TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
        )
        began = time.perf_counter()
        backend.setup()  # merges as a write does, which has just made such a file
        took += time.perf_counter() - began
    return took


def question(folder: Path, options: Options, files: int) -> Figure:
    count = options.scaled(ROWS)
    backend = opened(folder / f"query-{files}")
    merging = fill(backend, count, files) / count * 1e6
    left = len(list(backend.path.glob("*/*.parquet")))
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
        f"Parquet: one metric per minute over 24 h of {count / 1e6:g} M rows, {files} deliveries",
        statistics.median(took),
        150,
        unit=" ms",
        low=took[quarter],
        high=took[-1 - quarter],
        note=f"{count // METRICS:,} rows counted in {left} files, merging them took {merging:.2f} us a row"
        + (", the goal is for 10 M rows" if options.quick else ""),
    )


def measure(options: Options) -> Iterator[Figure]:
    with temporary_folder() as folder:
        yield delivery(folder, options)
        for files in (FILES, options.scaled(ROWS) // BATCH):
            yield question(folder, options, files)


if __name__ == "__main__":
    main("Parquet", measure)
