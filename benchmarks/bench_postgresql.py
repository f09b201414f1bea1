"""Spool to PostgreSQL against a bare COPY of the same rows, and against ourselves without the ledger.

The peer of the delivery is COPY's text for the same rows, made beforehand, handed over in one piece for each batch: the
same tables and indexes, one transaction a batch, with nothing read from a spool, no row made, no lock taken and no
ledger kept. Idempotent against not is the same delivery with and without what makes a batch that comes again harmless:
the lock on its segment, and the ledger.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from itertools import count as numbers
from typing import Any

from bench_sqlite import RECORDS
from deliveries import BATCH, Piece, deliver, server, spool
from harness import Figure, Options, compare, main, take_turns

from tallystick.backends.postgresql import PostgresqlBackend
from tallystick.backends.postgresql.schema import COLUMNS
from tallystick.backends.postgresql.segments import new_number
from tallystick.codec import Reader
from tallystick.records import Batch, Header

_numbers = numbers()


class Forgetful(PostgresqlBackend):
    """Stores a batch that comes again once more."""

    _given: int | None = None

    def _transaction(self, batch: Batch, *, carefully: bool) -> dict[int, str]:
        with self._connection.transaction():
            if self._given is None:  # there is one segment only
                self._given = new_number(self._connection, self._schema, batch.header)
            self._insert(batch.records, self._given, self._shape.writer())
        return {}


def opened(kind: type[PostgresqlBackend], url: str) -> PostgresqlBackend:
    backend = kind.from_url(f"{url}?schema=bench_{os.getpid()}_{next(_numbers)}")
    backend.open()
    return backend


def drop(backend: PostgresqlBackend) -> None:
    backend._connection.execute(f'DROP SCHEMA "{backend._schema}" CASCADE')
    backend.close()


def ours(backend: PostgresqlBackend, header: Header, pieces: list[Piece]) -> float:
    """Seconds to decode all lines and write them."""
    seconds = deliver(backend, header, pieces)
    drop(backend)
    return seconds


def bare(backend: PostgresqlBackend, texts: list[bytes]) -> float:
    """Seconds to copy ready-made rows."""
    connection = backend._connection
    began = time.perf_counter()
    for text in texts:
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY {backend._schema}.points ({COLUMNS}) FROM STDIN") as copy,
        ):
            copy.write(text)
    seconds = time.perf_counter() - began
    drop(backend)
    return seconds


def ready(url: str, header: Header, pieces: list[Piece], count: int) -> list[bytes]:
    """The rows that a delivery leaves behind, as COPY's text, a batch in each."""
    backend = opened(PostgresqlBackend, url)
    reader = Reader(header)
    for raw, start in pieces:
        backend.write(reader.batch(raw, start)[0])
    cursor: Any = backend._connection.cursor()
    sql = f"COPY (SELECT {COLUMNS} FROM {backend._schema}.points ORDER BY place) TO STDOUT"
    with cursor.copy(sql) as copy:
        lines = b"".join(copy).splitlines(keepends=True)
    drop(backend)
    if len(lines) != count:
        raise SystemExit(f"{count} records were delivered and {len(lines)} are there")
    return [b"".join(lines[first : first + BATCH]) for first in range(0, count, BATCH)]


def delivery(url: str, options: Options) -> Iterator[Figure]:
    count = options.scaled(RECORDS)
    header, pieces = spool(count)
    texts = ready(url, header, pieces, count)
    took = take_turns(
        options.rounds,
        {
            "ours": lambda: ours(opened(PostgresqlBackend, url), header, pieces),
            "bare": lambda: bare(opened(PostgresqlBackend, url), texts),
            "forgetful": lambda: ours(opened(Forgetful, url), header, pieces),
        },
    )
    speed = {name: [1 / seconds for seconds in rounds] for name, rounds in took.items()}
    each = {name: f"{statistics.median(rounds) / count * 1e6:.2f} us" for name, rounds in took.items()}
    yield compare(
        "spool to PostgreSQL / bare COPY of the same rows, rows a second",
        speed["ours"],
        speed["bare"],
        0.50,
        better="higher",
        note=f"{each['ours']} against {each['bare']} a record",
    )
    yield compare(
        "spool to PostgreSQL, idempotent / not, rows a second",
        speed["ours"],
        speed["forgetful"],
        0.95,
        better="higher",
        note=f"{each['ours']} against {each['forgetful']} a record, {BATCH} records a batch",
    )


def measure(options: Options) -> Iterator[Figure]:
    with server("postgresql") as url:
        yield from delivery(url, options)


if __name__ == "__main__":
    main("spool to PostgreSQL", measure)
