"""Records from one database to another, with their ids.

Invariants
- A record keeps its id, so what was copied once is not there twice, and an interrupted copy is simply run again.
- A copied batch claims only the places of its own records: all bytes between them are `missing` to it, so a ledger
  never takes a record for stored that is still on its way to the new database, or was a dead letter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby, islice
from typing import Final

from tallystick.agent.delivery import verdict
from tallystick.backends.base import Backend
from tallystick.errors import TooLarge, Unavailable
from tallystick.records import Batch, Record

READ_RECORDS: Final = 5_000
"""So many are read before they are put together by segment."""

GAP_BYTES: Final = 4_096
"""A larger gap between two records of a segment begins a new batch."""


def copied(records: Iterator[Record], goal: Backend, hide: Callable[[str], str]) -> tuple[int, dict[str, str]]:
    """How many were read, and the reasons of the rejected ones by id. Raises `Unavailable`."""
    read, rejected = 0, dict[str, str]()
    try:
        for batch in batches(records):
            read += len(batch)
            rejected.update((identity, hide(reason)) for identity, reason in write(goal, batch).items())
    except Unavailable as error:
        why = f"{hide(str(error))}; {read} records were read until then"
        raise Unavailable(f"{why}: run the same command again to go on") from error
    return read, rejected


def batches(records: Iterator[Record]) -> Iterator[Batch]:
    """The records as batches of one segment each, in the order of their places."""
    while chunk := list(islice(records, READ_RECORDS)):
        chunk.sort(key=lambda record: (record.header.segment, record.offset))
        for _, group in groupby(chunk, key=lambda record: record.header.segment):
            run: list[Record] = []
            for record in group:
                if run and record.offset - run[-1].offset > GAP_BYTES:
                    yield _batch(run)
                    run = []
                run.append(record)
            yield _batch(run)


def _batch(records: list[Record]) -> Batch:
    start, end = records[0].offset, records[-1].offset + 1
    between = set(range(start, end)).difference(record.offset for record in records)
    return Batch(records[0].header, start, end, records, tuple(sorted(between)))


def write(backend: Backend, batch: Batch) -> dict[str, str]:
    """Reasons of the rejected records by id. An error that names no record halves the batch, as the agent does."""
    try:
        result = verdict(backend, batch, backend.write(batch))
    except (Unavailable, ConnectionError, TimeoutError) as error:
        raise Unavailable(f"{backend.address}: {error}") from error
    except Exception as error:
        if len(batch) == 1:
            alone = "too large even alone" if isinstance(error, TooLarge) else type(error).__name__
            return {batch.records[0].id: f"{alone}: {error}"}
        first, second = batch.split(len(batch) // 2)
        return write(backend, first) | write(backend, second)
    if result.kept:
        raise Unavailable(f"{backend.address}: {next(iter(result.kept.values()))}", result.retry_after_seconds)
    return {batch.records[index].id: str(reason) for index, reason in result.rejected.items()}
