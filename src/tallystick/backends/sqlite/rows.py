"""From a batch of records to rows of the tables, in one transaction: the hot loop of delivery to SQLite.

Which series a record belongs to is looked up by the identity of its tags: the reader of a spool gives equal tags as
one dict, so this costs no comparing of dicts. The cache holds on to these dicts, which keeps an identity from being
used again for other tags. What a transaction learns enters the cache only when it commits, and a prune by another
process (which may remove series) changes `generation`, which empties the cache.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from hashlib import blake2b
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import msgspec

from tallystick.backends._sql import Range, cells, covered, not_stored
from tallystick.backends.sqlite.segments import new_number
from tallystick.codec import encode
from tallystick.records import Batch, Header, Record, Tags, checked_rate

SeriesKey = tuple[Any, ...]
"""The identity of the tags, name and kind; then unit, words and sample rate, unless they are None, none and 1."""

Row = tuple[int, int, int, int, Any, str | None, str | None]

INSERT: Final = (
    "INSERT INTO points (series, timestamp_ns, segment, place, value) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_MANY: Final = 50
_CELLS: Final = 5 * _MANY
_INSERT_MANY: Final = INSERT.replace("(?, ?, ?, ?, ?)", ", ".join(["(?, ?, ?, ?, ?)"] * _MANY))
_INSERT_OTHER: Final = (
    "INSERT INTO points (series, timestamp_ns, segment, place, value, extra, own_id)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)

REFUSALS: Final = (
    *(TypeError, ValueError, OverflowError, RecursionError),
    *(sqlite3.DataError, sqlite3.IntegrityError),
)
"""What a value that cannot be stored raises; everything else is trouble of the store."""

_KNOWN_AT_MOST: Final = 50_000

_NATURAL: Final = frozenset((int, str))
_canonical: Final = msgspec.json.Encoder(order="sorted").encode


class Writer:
    """Writes batches through one connection. Not safe for several threads at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._series: dict[SeriesKey, int] = {}
        self._learnt: dict[SeriesKey, tuple[int, Tags]] = {}
        self._held: list[Tags] = []
        self._generation = -1

    def write(self, batch: Batch) -> dict[int, str]:
        """Stores what is not stored yet; returns why which records were rejected, by index."""
        try:
            return self._transaction(batch, carefully=False)
        except REFUSALS:
            return self._transaction(batch, carefully=True)

    def _transaction(self, batch: Batch, *, carefully: bool) -> dict[int, str]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._check_generation()
            segment = self._segment(batch.header)
            stored = self._stored(segment, batch)
            fresh = not_stored(batch, stored)
            rejected: dict[int, str] = {}
            if carefully:
                rejected = self._insert_one_by_one(batch, fresh, segment)
            elif len(fresh) == len(batch):
                self._insert(batch.records, segment)
            else:
                self._insert([batch.records[index] for index in fresh], segment)
            self._account(segment, batch, covered(batch, rejected, stored), stored)
            connection.execute("COMMIT")
        except BaseException:
            self._learnt.clear()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._remember()
        return rejected

    def _insert(self, records: list[Record], segment: int) -> None:
        """All of them, or an exception."""
        plain: dict[SeriesKey, tuple[int, list[Any]]] = {}
        others: list[Row] = []
        replacing: dict[str, Row] = {}
        known = plain.get
        for record in records:
            tags, value, own_id, unit = record.tags, record.value, record.own_id, record.unit
            key: SeriesKey = (id(tags), record.name, record.kind)
            if unit is not None or record.words or record.sample_rate != 1.0:
                key = (*key, unit, record.words, record.sample_rate)
            series, cells_of_series = known(key) or self._begin(plain, key, record)
            natural = type(value) in _NATURAL or (type(value) is float and value - value == 0.0)  # no NaN, no infinity
            if natural and own_id is None and not record.metadata:
                cells_of_series += (series, record.timestamp_ns, segment, record.offset, value)
                continue
            cell, extra = cells(value, record.metadata)
            row = (series, record.timestamp_ns, segment, record.offset, cell, extra, own_id)
            if own_id is None:
                others.append(row)
            elif own_id not in replacing or replacing[own_id][1] <= row[1]:
                replacing[own_id] = row
        if replacing:
            # What is not newer goes first: a conflict then means that newer content is there.
            old = [(row[6], row[1]) for row in replacing.values()]
            self._connection.executemany("DELETE FROM points WHERE own_id = ? AND timestamp_ns <= ?", old)
            others += replacing.values()
        self._insert_plain(plain.values())
        self._connection.executemany(_INSERT_OTHER, others)
        moments = [max(flat[1::5]) for _, flat in plain.values() if flat] + [row[1] for row in others]
        if moments:
            self._connection.execute(
                "UPDATE segments SET newest_ns = max(newest_ns, ?) WHERE id = ?", (max(moments), segment)
            )

    def _insert_plain(self, plain: Iterable[tuple[int, list[Any]]]) -> None:
        """Rows of five cells, one after the other in a list for each series, many of them in a statement.

        Neighbours in the table are inserted together, and a cell that is NULL is not handed over: these two halve
        the time that `executemany` takes for the rows as they come.
        """
        flat = list(chain.from_iterable(cells for _, cells in sorted(plain, key=itemgetter(0))))
        whole = len(flat) - len(flat) % _CELLS
        self._connection.executemany(_INSERT_MANY, [flat[at : at + _CELLS] for at in range(0, whole, _CELLS)])
        self._connection.executemany(INSERT, [flat[at : at + 5] for at in range(whole, len(flat), 5)])

    def _begin(
        self, plain: dict[SeriesKey, tuple[int, list[Any]]], key: SeriesKey, record: Record
    ) -> tuple[int, list[Any]]:
        """The series of a record that is the first of its series in this batch."""
        plain[key] = self._series.get(key) or self._learn(key, record), []
        return plain[key]

    def _insert_one_by_one(self, batch: Batch, indices: Iterable[int], segment: int) -> dict[int, str]:
        rejected = {}
        for index in indices:
            learnt = dict(self._learnt)
            self._connection.execute("SAVEPOINT one")
            try:
                self._insert([batch.records[index]], segment)
            except REFUSALS as error:
                self._connection.execute("ROLLBACK TO one")
                self._learnt = learnt
                rejected[index] = f"{type(error).__name__}: {error}"
            self._connection.execute("RELEASE one")
        return rejected

    def _learn(self, key: SeriesKey, record: Record) -> int:
        """The id of a series that is not in the cache, from the table or new there."""
        if key in self._learnt:
            return self._learnt[key][0]
        name, kind, unit, tags, words = record.name, record.kind, record.unit, record.tags, record.words
        texts = [name, kind, *words, *tags, *tags.values(), *([] if unit is None else [unit])]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError(f"name, kind, unit and tags must be texts: {name!r}, {kind!r}, {unit!r}, {tags!r}")
        rate = checked_rate(record.sample_rate)
        identity = _canonical([name, kind, unit, tags, words, rate])
        digest = blake2b(identity, digest_size=16).digest()
        found = self._connection.execute("SELECT id FROM series WHERE digest = ?", (digest,)).fetchone()
        if found:
            series = int(found[0])
        else:
            cursor = self._connection.execute(
                "INSERT INTO series (digest, name, kind, unit, tags, words, sample_rate) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (digest, name, kind, unit, encode(tags).decode(), encode(words).decode(), rate),
            )
            series = cursor.lastrowid or 0
            self._connection.executemany(
                "INSERT INTO series_tags VALUES (?, ?, ?)", [(series, tag, value) for tag, value in tags.items()]
            )
        self._learnt[key] = series, tags
        return series

    def _remember(self) -> None:
        if len(self._series) > _KNOWN_AT_MOST:
            self._series.clear()
            self._held.clear()
        for key, (series, tags) in self._learnt.items():
            self._series[key] = series
            self._held.append(tags)
        self._learnt = {}

    def _check_generation(self) -> None:
        (generation,) = self._connection.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
        if generation != self._generation:
            self._series.clear()
            self._held.clear()
            self._generation = generation

    def _segment(self, header: Header) -> int:
        """The number of the segment in its table; a new one when it is not there yet."""
        found = self._connection.execute("SELECT id FROM segments WHERE segment = ?", (header.segment,)).fetchone()
        if found:
            return int(found[0])
        number, tags = new_number(self._connection), encode(header.tags).decode()
        self._connection.execute(
            "INSERT INTO segments (id, segment, host, pid, app, started, tags, written, newest_ns)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 0, -9223372036854775808)",
            (number, header.segment, header.host, header.pid, header.app, header.started, tags),
        )
        return number

    def _stored(self, segment: int, batch: Batch) -> list[Range]:
        """The ranges in the ledger that overlap or touch the batch's."""
        return self._connection.execute(
            "SELECT start, stop FROM ledger WHERE segment = ? AND start <= ? AND stop >= ?",
            (segment, batch.end, batch.start),
        ).fetchall()

    def _account(self, segment: int, batch: Batch, ranges: list[Range], stored: list[Range]) -> None:
        gone, new = set(stored) - set(ranges), set(ranges) - set(stored)
        self._connection.executemany(
            "DELETE FROM ledger WHERE segment = ? AND start = ?", [(segment, start) for start, _ in gone]
        )
        self._connection.executemany("INSERT INTO ledger VALUES (?, ?, ?)", [(segment, *between) for between in new])
        self._connection.execute("UPDATE segments SET written = ? WHERE id = ?", (int(time.time()), segment))
