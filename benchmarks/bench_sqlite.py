"""Spool to SQLite: reading lines and writing rows, against the rows alone; and the time of a query over ten million.

    python benchmarks/bench_sqlite.py [--quick] [--json]

Prints `name  ratio  goal`. The peer is a bare `executemany` of ready-made rows: the same statement, tables, pragmas and
transaction sizes, in the same run, with nothing read from a spool, no series looked up and no ledger kept.
Rounds of both alternate; each figure is the median of its rounds.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tallystick.backends.sqlite import SqliteBackend
from tallystick.backends.sqlite_rows import INSERT
from tallystick.codec import Reader, encode_header, record_line
from tallystick.queries import Query
from tallystick.records import COUNTER, TIMING, Header, Record

BATCH = 5_000
NOON_NS = 1_749_988_800_000_000_000
DAY_NS = 86_400_000_000_000

Chunk = tuple[bytes, int]


def spool(count: int) -> tuple[Header, list[Chunk]]:
    """The lines of one segment, in chunks of a batch each: two tags, a hundred series, one timing in four."""
    header = Header(1, "0198f3aa5b0c7d1e8f00112233445566", "web-1", 4242, "shop", NOON_NS, {"env": "prod"})
    place = len(encode_header(header))
    chunks = []
    lines = []
    start = place
    for index in range(count):
        plan, route = ("free", "pro", "team", "trial", "gone")[index % 5], f"/route/{index * 7 % 20}"
        kind, name, value = (TIMING, "request.time", index % 997 / 1000) if index % 4 == 0 else (COUNTER, "hits", 1)
        record = Record(NOON_NS + index * 50_000, kind, name, value, {"env": "prod", "plan": plan, "route": route})
        lines.append(record_line(record, header.tags))
        if len(lines) == BATCH or index == count - 1:
            raw = b"".join(lines)
            chunks.append((raw, start))
            start += len(raw)
            lines = []
    return header, chunks


def deliver(path: Path, header: Header, chunks: list[Chunk]) -> float:
    """Seconds to decode all lines and write them."""
    backend = SqliteBackend(path)
    backend.open()
    reader = Reader(header)
    began = time.perf_counter()
    for raw, start in chunks:
        batch, damaged = reader.batch(raw, start)
        assert not damaged
        assert not backend.write(batch).rejected
    seconds = time.perf_counter() - began
    backend.close()
    return seconds


def bare(path: Path, batches: list[list[tuple[object, ...]]]) -> float:
    """Seconds to insert ready-made rows into the same tables."""
    backend = SqliteBackend(path)
    backend.open()
    backend.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    began = time.perf_counter()
    for rows in batches:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, rows)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - began
    connection.close()
    return seconds


def delivery(folder: Path, count: int, rounds: int) -> dict[str, object]:
    header, chunks = spool(count)
    deliver(folder / "first.db", header, chunks)
    with sqlite3.connect(folder / "first.db") as connection:
        rows = connection.execute("SELECT * FROM points ORDER BY place").fetchall()
    connection.close()
    assert len(rows) == count
    batches = [rows[start : start + BATCH] for start in range(0, count, BATCH)]
    ours, theirs = interleaved(
        rounds,
        lambda index: deliver(folder / f"ours-{index}.db", header, chunks),
        lambda index: bare(folder / f"bare-{index}.db", batches),
    )
    size = (folder / "first.db").stat().st_size / count
    return {
        "name": "spool to SQLite against bare executemany",
        "ratio": round(theirs / ours, 3),
        "goal": ">= 0.60",
        "met": theirs / ours >= 0.60,
        "detail": f"{ours / count * 1e6:.2f} us a record, bare {theirs / count * 1e6:.2f} us, {size:.0f} bytes a row,"
        f" {count:,} records, {rounds} rounds",
    }


def interleaved(rounds: int, ours: Callable[[int], float], theirs: Callable[[int], float]) -> tuple[float, float]:
    """Medians of both, run in turns, so that what else the machine does meets both alike."""
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(rounds):
        for run, measured in (
            ((ours, times[0]), (theirs, times[1])) if index % 2 else ((theirs, times[1]), (ours, times[0]))
        ):
            measured.append(run(index))
    return statistics.median(times[0]), statistics.median(times[1])


def day_of_points(count: int, metrics: int, per_metric: int) -> Iterator[tuple[object, ...]]:
    """One day, evenly: `count` points of `metrics` metrics, each with `per_metric` series."""
    series = metrics * per_metric
    points = count // series
    for number in range(1, series + 1):
        for index in range(points):
            yield (
                number,
                NOON_NS + index * (DAY_NS // points),
                1,
                index * series + number,
                index * 37 % 1009 / 10,
                None,
                None,
            )


def query(folder: Path, count: int, rounds: int) -> dict[str, object]:
    """One metric per minute over 24 hours; the metric is a twentieth of all points, in ten series."""
    metrics, per_metric = 20, 10
    backend = SqliteBackend(folder / "query.db")
    backend.open()
    backend.close()
    connection = sqlite3.connect(backend.path, isolation_level=None)
    connection.executescript("PRAGMA synchronous = OFF; BEGIN")
    connection.execute("INSERT INTO segments VALUES (1, 'bulk', 'web-1', 1, 'shop', 0, '{}', 0, 0)")
    for number in range(1, metrics * per_metric + 1):
        name, tag = f"metric.{number % metrics}", f"host-{number // metrics}"
        connection.execute(
            "INSERT INTO series VALUES (?, ?, ?, 'gauge', NULL, ?, '[]', 1.0)",
            (number, number.to_bytes(16), name, json.dumps({"host": tag})),
        )
        connection.execute("INSERT INTO series_tags VALUES (?, 'host', ?)", (number, tag))
    connection.executemany(INSERT, day_of_points(count, metrics, per_metric))
    connection.execute("COMMIT")
    connection.close()
    times = []
    question = Query("metric.7", aggregate="mean", bucket="1m", start=NOON_NS / 1e9, end=(NOON_NS + DAY_NS) / 1e9)
    for _ in range(rounds):
        began = time.perf_counter()
        (series,) = backend.query(question)
        times.append(time.perf_counter() - began)
        assert len(series.points) == 1440
    milliseconds = statistics.median(times) * 1000
    return {
        "name": f"one metric per minute over 24 h of {count / 1e6:g} M rows, ms",
        "ratio": round(milliseconds, 1),
        "goal": "<= 400" if count >= 10_000_000 else "none: fewer rows (--quick); <= 400 for 10 M",
        "met": milliseconds <= 400 if count >= 10_000_000 else None,
        "detail": f"{count // metrics:,} rows counted of {count:,}, {per_metric} series, {rounds} rounds",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer records and rows")
    parser.add_argument("--json", action="store_true", help="a list of objects instead of lines")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = [
            delivery(Path(folder), 20_000 if arguments.quick else 100_000, 7 if arguments.quick else 9),
            query(Path(folder), 500_000 if arguments.quick else 10_000_000, 7),
        ]
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        for result in results:
            print(f"{result['name']}  {result['ratio']}  {result['goal']}    ({result['detail']})")
    return 0 if all(result["met"] is not False for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
