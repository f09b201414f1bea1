"""Shapes: what a record becomes in a store, apart from the writer that brings it there.

A backend is a writer (connection, bulk call, verdicts, idempotency) and a shape. The native shapes are the default;
another one writes documents or points that other programs expect. One is given as an object (`shape=`), or by name in
the backend's URL (`?shape=kaneda`, `?shape=name:argument`), so that an agent in another process can build it without
the application's code: `plugins.SHAPES` or an entry point in the group `tallystick.shapes` says where it is.

The same names in each store:

- `name`: what stands in the URL and in the backend's address, the argument included.
- `foreign`: where such documents keep what a query needs. None means that they are of the native form, which the
  backend reads by itself.
- `Documents` (MongoDB, RethinkDB, search engines by `search.documents`, the log): `place`, `document`, `age`,
  `indexes`.
- `Lines` (InfluxDB): `lines`, as `influxdb.lines.Shape` says.

- `record` (optional): the record of a document, for `tail`, `export` and `copy`; without a place in a spool, with the
  document's key as its id. Called with what was found and the place (search engines: with the hit; InfluxDB: with
  measurement, time, tags and fields).

What a shape must keep: the same record gives the same document with the same key, whenever and by whomever it is made.
That is all that makes a redelivery harmless.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from tallystick import plugins
from tallystick.backends.base import ACCEPTED, Foreign, WriteResult
from tallystick.backends.memory import fits
from tallystick.queries import Query
from tallystick.records import Batch, Record


class Documents(Protocol):
    """From a record to a document, its key included (`_id` in MongoDB and search engines, `id` in RethinkDB).

    `age` names the field by which the newer of two documents with one key is told. `indexes` are the fields of each
    index that the writer is to make, where it makes any.
    """

    name: str
    foreign: Foreign | None
    age: str
    indexes: tuple[tuple[str, ...], ...]

    def place(self, record: Record) -> str | None:
        """The collection, table or index that it goes to; None for the backend's own."""

    def document(self, record: Record) -> Any:
        """New, nothing in it shared with the record. Raises `TypeError` or `ValueError` for what cannot be stored."""


def built(text: str | None, store: str, place: str) -> Any:
    """The shape that a URL names (`name` or `name:argument`) for a store, such as `"mongodb"`, and the collection,
    table or index that the URL names; None for the native one. Raises `SettingsError`."""
    return None if text is None else plugins.shape(text, store, place)


def suffix(shape: Any, sign: str = "?") -> str:
    """What a backend's address says of its shape, so that records of two shapes are two pipelines."""
    name: str = getattr(shape, "name", "")
    return f"{sign}shape={name}" if name else ""


def read(found: Iterable[Record], query: Query, newest: int | None) -> Iterator[Record]:
    """Of the records of a shape's documents, oldest first, those that fit; with `newest`, only that many."""
    fitting = (record for record in found if fits(record, query))
    yield from fitting if newest is None else deque(fitting, newest)


def by_place(
    batch: Batch, place: Callable[[Record], str | None], own: str, write: Callable[[str, Batch], WriteResult]
) -> WriteResult:
    """Write the records of each place in a batch of their own; the verdicts of all. A record that has no place (it
    raises) goes with the others, where its document says why it is none."""
    places: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(batch.records):
        try:
            where = place(record) or own
        except (TypeError, ValueError):
            where = own
        places[where].append(index)
    if len(places) == 1:
        return write(next(iter(places)), batch)
    rejected: dict[int, str] = {}
    kept: dict[int, str] = {}
    for where, indices in places.items():
        result = write(where, batch.only(indices))
        rejected |= {indices[index]: why for index, why in result.rejected.items()}
        kept |= {indices[index]: why for index, why in result.kept.items()}
    return WriteResult(rejected, kept) if rejected or kept else ACCEPTED
