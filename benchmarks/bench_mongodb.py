"""Spool to MongoDB against the driver's own `insert_many` of ready documents, with the same promise of durability.

Nothing is read from a spool and no document is made by the peer; both wait for the journal of a majority. Measured on
each server of the protocol that `scripts/services` has: where the server is slow, what we add weighs less.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from itertools import count as numbers
from typing import Any

from deliveries import Piece, deliver, server, spool
from harness import Figure, Options, compare, main, take_turns

from tallystick.backends.mongodb import MongodbBackend
from tallystick.backends.mongodb.shape import Native
from tallystick.codec import Reader
from tallystick.records import Header

SERVERS = {"mongodb": "SecantusDB", "mongodb-java": "mongo-java-server"}
RECORDS = 5_000  # SecantusDB needs half a millisecond for each when it waits for the disk

_numbers = numbers()


def opened(url: str) -> MongodbBackend:
    backend = MongodbBackend.from_url(f"{url}/bench_{os.getpid()}_{next(_numbers)}?timeout_seconds=60")
    backend.open()
    return backend


def drop(backend: MongodbBackend, count: int) -> None:
    stored = backend._collection.count_documents({})
    if stored != count:
        raise SystemExit(f"{count} records were delivered and {stored} are there")
    backend._client.drop_database(backend._database)
    backend.close()


def ours(url: str, header: Header, pieces: list[Piece], count: int) -> float:
    """Seconds to decode all lines and write them."""
    backend = opened(url)
    seconds = deliver(backend, header, pieces)
    drop(backend, count)
    return seconds


def bare(url: str, batches: list[list[dict[str, Any]]], count: int) -> float:
    """Seconds to insert ready documents."""
    backend = opened(url)
    collection = backend._collection
    began = time.perf_counter()
    for documents in batches:
        collection.insert_many(documents, ordered=False)
    seconds = time.perf_counter() - began
    drop(backend, count)
    return seconds


def delivery(name: str, url: str, options: Options) -> Figure:
    count = options.scaled(RECORDS)
    header, pieces = spool(count)
    reader, shape = Reader(header), Native()
    batches = [[shape.document(record) for record in reader.batch(raw, start)[0].records] for raw, start in pieces]
    took = take_turns(
        options.rounds, {"ours": lambda: ours(url, header, pieces, count), "bare": lambda: bare(url, batches, count)}
    )
    mine, theirs = (statistics.median(took[key]) / count * 1e6 for key in ("ours", "bare"))
    return compare(
        f"spool to {name} / pymongo's insert_many of ready documents, rows a second",
        [1 / seconds for seconds in took["ours"]],
        [1 / seconds for seconds in took["bare"]],
        0.70,
        better="higher",
        note=f"{mine:.2f} us against {theirs:.2f} us a record",
    )


def measure(options: Options) -> Iterator[Figure]:
    for script, name in SERVERS.items():
        with server(script) as url:
            yield delivery(name, url, options)


if __name__ == "__main__":
    main("spool to MongoDB", measure)
