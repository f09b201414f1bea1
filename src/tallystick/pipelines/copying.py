"""Records from one database to another, with their ids.

Invariants
- A record keeps its id, so what was copied once is not there twice, and an interrupted copy is simply run again.
- A copied batch claims only the places of its own records: all bytes between them are `missing` to it, so a ledger
  never takes a record for stored that is still on its way to the new database, or was a dead letter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import groupby, islice
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from msgspec import structs

from tallystick.agent.delivery import verdict
from tallystick.backends.base import Backend
from tallystick.codec import FORMAT
from tallystick.errors import SettingsError, TooLarge, Unavailable
from tallystick.records import Batch, Header, Record

READ_RECORDS: Final = 5_000
"""So many are read before they are put together by segment."""

_PLACES: Final = {"mongodb": "collection", "rethinkdb": "table"}

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


def placed(url: str, place: str | None, shape: str | None) -> str:
    """The URL of a database, with the collection, table or index and the shape in it. Raises `SettingsError`."""
    if place is None and shape is None:
        return url
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    scheme = parts.scheme.partition("+")[0]
    if place is not None and scheme in _PLACES:
        options[_PLACES[scheme]] = place
    elif place is not None and scheme in ("elasticsearch", "opensearch"):
        parts = parts._replace(path=f"/{quote(place, safe='')}")
    elif place is not None:
        raise SettingsError(f"source: {scheme}:// has no such thing; leave --source out")
    if shape is not None:
        options["shape"] = shape
    return urlunsplit(parts._replace(query=urlencode(options)))


def batches(records: Iterator[Record]) -> Iterator[Batch]:
    """The records as batches of one segment each, in the order of their places."""
    while chunk := list(islice(records, READ_RECORDS)):
        chunk = _placed(chunk)
        chunk.sort(key=lambda record: (record.header.segment, record.offset))
        for _, group in groupby(chunk, key=lambda record: record.header.segment):
            run: list[Record] = []
            for record in group:
                if run and record.offset - run[-1].offset > GAP_BYTES:
                    yield _batch(run)
                    run = []
                run.append(record)
            yield _batch(run)


def _placed(records: list[Record]) -> list[Record]:
    """Those that come from no spool get places by their ids: the same records, copied again, have the same places."""
    placed = [record for record in records if record.header.segment]
    others: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if not record.header.segment:
            others[record.host, record.app].append(record)
    for (host, app), group in others.items():
        group.sort(key=lambda record: record.id)
        digest = blake2b(repr([host, app, *(record.id for record in group)]).encode(), digest_size=16).hexdigest()
        header = Header(FORMAT, digest, host, 0, app)
        placed += [structs.replace(record, header=header, offset=index) for index, record in enumerate(group)]
    return placed


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
