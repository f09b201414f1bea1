"""Spool to ClickHouse against the driver's own bulk insert of ready-made columns, into the same table."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from itertools import count as numbers
from typing import Any
from urllib.parse import urlsplit

from bench_sqlite import RECORDS
from deliveries import BATCH, Piece, deliver, server, spool
from harness import Figure, Options, compare, main, take_turns

from tallystick.backends._rows import COLUMNS
from tallystick.backends.clickhouse import ClickhouseBackend
from tallystick.records import Header

_numbers = numbers()


def opened(url: str) -> ClickhouseBackend:
    backend = ClickhouseBackend.from_url(f"clickhouse://{urlsplit(url).netloc}/bench_{os.getpid()}_{next(_numbers)}")
    backend.open()
    return backend


def drop(backend: ClickhouseBackend) -> None:
    backend._client.command(f"DROP DATABASE `{backend._database}`")
    backend.close()


def ours(url: str, header: Header, pieces: list[Piece]) -> float:
    backend = opened(url)
    seconds = deliver(backend, header, pieces)
    drop(backend)
    return seconds


def bare(url: str, batches: list[list[Any]]) -> float:
    """Seconds to insert ready-made columns."""
    backend = opened(url)
    client = backend._client
    context = client.create_insert_context("points", list(COLUMNS), database=backend._database, column_oriented=True)
    began = time.perf_counter()
    for columns in batches:
        context.data = columns
        client.insert(context=context)
    seconds = time.perf_counter() - began
    drop(backend)
    return seconds


def delivery(url: str, options: Options) -> Figure:
    count = options.scaled(RECORDS)
    header, pieces = spool(count)
    backend = opened(url)
    deliver(backend, header, pieces)
    sql = f"SELECT {', '.join(COLUMNS)} FROM `{backend._database}`.points FINAL ORDER BY place"
    rows = backend._client.query(sql).result_rows
    drop(backend)
    if len(rows) != count:
        raise SystemExit(f"{count} records were delivered and {len(rows)} are there")
    batches = [
        [list(column) for column in zip(*rows[first : first + BATCH], strict=True)] for first in range(0, count, BATCH)
    ]
    took = take_turns(options.rounds, {"ours": lambda: ours(url, header, pieces), "bare": lambda: bare(url, batches)})
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
    with server("clickhouse") as url:
        yield delivery(url, options)


if __name__ == "__main__":
    main("ClickHouse", measure)
