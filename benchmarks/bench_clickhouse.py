"""Spool to ClickHouse against the driver's own bulk insert of ready-made columns, into the same table.

The server is the one that `scripts/services/clickhouse start` starts, or that TALLYSTICK_CLICKHOUSE_URL names.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from itertools import count as numbers
from typing import Any
from urllib.parse import urlsplit

from bench_sqlite import BATCH, RECORDS, spool
from harness import Figure, Options, compare, main, take_turns

from tallystick.backends._rows import COLUMNS
from tallystick.backends.clickhouse import ClickhouseBackend
from tallystick.codec import Reader
from tallystick.records import Header

PLACE = urlsplit(os.environ.get("TALLYSTICK_CLICKHOUSE_URL", "http://127.0.0.1:18123")).netloc
_numbers = numbers()


def opened() -> ClickhouseBackend:
    backend = ClickhouseBackend.from_url(f"clickhouse://{PLACE}/bench_{os.getpid()}_{next(_numbers)}")
    backend.open()
    return backend


def drop(backend: ClickhouseBackend) -> None:
    backend._client.command(f"DROP DATABASE `{backend._database}`")
    backend.close()


def deliver(backend: ClickhouseBackend, header: Header, pieces: list[tuple[bytes, int]]) -> float:
    """Seconds to decode all lines and write them."""
    reader = Reader(header)
    began = time.perf_counter()
    for raw, start in pieces:
        batch, damaged = reader.batch(raw, start)
        if damaged or backend.write(batch).rejected:
            raise SystemExit("records were damaged or rejected")
    return time.perf_counter() - began


def ours(header: Header, pieces: list[tuple[bytes, int]]) -> float:
    backend = opened()
    seconds = deliver(backend, header, pieces)
    drop(backend)
    return seconds


def bare(batches: list[list[Any]]) -> float:
    """Seconds to insert ready-made columns."""
    backend = opened()
    client = backend._client
    context = client.create_insert_context("points", list(COLUMNS), database=backend._database, column_oriented=True)
    began = time.perf_counter()
    for columns in batches:
        context.data = columns
        client.insert(context=context)
    seconds = time.perf_counter() - began
    drop(backend)
    return seconds


def delivery(options: Options) -> Figure:
    count = options.scaled(RECORDS)
    header, pieces = spool(count)
    backend = opened()
    deliver(backend, header, pieces)
    sql = f"SELECT {', '.join(COLUMNS)} FROM `{backend._database}`.points FINAL ORDER BY place"
    rows = backend._client.query(sql).result_rows
    drop(backend)
    if len(rows) != count:
        raise SystemExit(f"{count} records were delivered and {len(rows)} are there")
    batches = [
        [list(column) for column in zip(*rows[first : first + BATCH], strict=True)] for first in range(0, count, BATCH)
    ]
    took = take_turns(options.rounds, {"ours": lambda: ours(header, pieces), "bare": lambda: bare(batches)})
    mine, theirs = (statistics.median(took[name]) / count * 1e6 for name in ("ours", "bare"))
    return compare(
        "spool to ClickHouse / clickhouse-connect's insert of the same columns, rows a second",
        [1 / seconds for seconds in took["ours"]],
        [1 / seconds for seconds in took["bare"]],
        0.5,
        better="higher",
        note=f"{mine:.2f} us against {theirs:.2f} us a record",
    )


def measure(options: Options) -> Iterator[Figure]:
    yield delivery(options)


if __name__ == "__main__":
    main("ClickHouse", measure)
