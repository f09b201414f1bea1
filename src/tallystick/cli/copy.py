"""`tallystick copy FROM TO`: records from one database to another, with their ids.

Invariants
- A record keeps its id, so what was copied once is not there twice, and an interrupted copy is simply run again.
- A copied batch claims only the places of its own records: all bytes between them are `missing` to it, so a ledger
  never takes a record for stored that is still on its way to the new database, or was a dead letter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby, islice
from typing import Final

import click

from tallystick import plugins
from tallystick.agent.delivery import verdict
from tallystick.backends.base import Backend
from tallystick.cli.app import Failure
from tallystick.cli.options import Filters, filter_options, json_option
from tallystick.cli.output import json_document, note
from tallystick.cli.tail import readable
from tallystick.cli.targets import opened, there, used
from tallystick.errors import TooLarge, Unavailable
from tallystick.masking import hider
from tallystick.records import Batch, Record

READ_RECORDS: Final = 5_000
"""So many are read before they are put together by segment."""

GAP_BYTES: Final = 4_096
"""A larger gap between two records of a segment begins a new batch."""


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@filter_options
@json_option
def copy(source: str, target: str, names: tuple[str, ...], filters: Filters, as_json: bool) -> None:
    """Copy records between two databases, both given by URL; without a NAME, all.

    Ids are kept, so doing it twice changes nothing. TO is made when it is not there; FROM is not.
    """
    origin, goal = plugins.backend_from_url(source), plugins.backend_from_url(target)
    if origin.address == goal.address:
        raise click.UsageError(f"FROM and TO are the same database, {goal.address}")
    there(origin, "FROM")
    opened(origin, source)
    try:
        opened(goal, target)
    except BaseException:
        origin.close()
        raise
    with used(goal, target), used(origin, source):
        records = readable(origin).records(filters.query(names))
        read, rejected = copied(records, goal, hider(source, target))
    if as_json:
        json_document({"read": read, "copied": read - len(rejected), "rejected": rejected})
    else:
        note(f"{read - len(rejected)} of {read} records are in {goal.address}")
    if rejected:
        first = "; ".join(f"{identity}: {reason}" for identity, reason in islice(rejected.items(), 3))
        raise Failure(f"{len(rejected)} records were rejected, such as {first}")


def copied(records: Iterator[Record], goal: Backend, hide: Callable[[str], str]) -> tuple[int, dict[str, str]]:
    """How many were read, and the reasons of the rejected ones by id."""
    read, rejected = 0, dict[str, str]()
    try:
        for batch in batches(records):
            read += len(batch)
            rejected.update((identity, hide(reason)) for identity, reason in write(goal, batch).items())
    except Unavailable as error:
        why = f"{hide(str(error))}; {read} records were read until then"
        raise Failure(f"{why}: run the same command again to go on") from error
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
