# ruff: noqa: S608  (pieces of SQL are put together here; only names of ours are pasted)
"""Records in a folder of Parquet files, written and asked by DuckDB, readable by whatever reads Parquet.

What it keeps
- `folder.py` says why a batch, sent again in whole or in part, adds only what is missing.
- `write` returns after its files and their names are on the disk: the spool forgets the records then.
- Small files are merged by whoever wrote the last of them, after that; `merging.py` says how nobody sees a record
  twice. A merge that fails harms no record, and is tried again a minute later.
- Questions are asked of the files that are there at their start; they never wait for a writer, and may come from any
  thread. Of a batch of several days they may see the first ones alone.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar
from urllib.parse import unquote, urlsplit

from tallystick.backends._path import own_path
from tallystick.backends._rows import Native, Part, Shape, day_of, from_rows, parts_of, shared_cells
from tallystick.backends.base import ACCEPTED, Foreign, Line, WriteResult
from tallystick.backends.parquet import folder as folders
from tallystick.backends.parquet import merging
from tallystick.backends.parquet import query as queries
from tallystick.backends.parquet.connection import Engine, driver, translated
from tallystick.backends.parquet.folder import Stored
from tallystick.backends.parquet.merging import Contents
from tallystick.errors import QueryError, SettingsError
from tallystick.masking import mask_url
from tallystick.moments import nanoseconds
from tallystick.queries import Query, Series
from tallystick.records import Batch, Record

T = TypeVar("T")

logger = logging.getLogger("tallystick.backends")

_LINES: Final = ".lines.new"
_MERGE_AGAIN_SECONDS: Final = 60.0
_LISTINGS: Final = 20
"""How often a question looks anew for its files when merges or `prune` take some away under it."""


class ParquetBackend:
    """`parquet:///relative/folder`, `parquet:////absolute/folder`: three slashes, then the path.

    `timeout_seconds` is how long a write waits for other writers before it is `Unavailable`; `compression` is DuckDB's
    word for it (`zstd`, `snappy`, `uncompressed`, …); `shape` says what stands in the columns of a record.
    """

    inline: ClassVar[bool] = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        timeout_seconds: float = 10.0,
        compression: str = "zstd",
        shape: Shape | None = None,
    ) -> None:
        if not compression.isalnum():
            raise SettingsError(f"compression: {compression!r} is no name of a codec; write zstd, snappy or gzip")
        self.path = own_path(path)
        self.timeout_seconds = timeout_seconds
        self.compression = compression
        self._shape = shape or Native()
        self._engine = Engine(compression)
        self._contents = Contents()
        self._merge_after = 0.0

    @classmethod
    def from_url(cls, url: str) -> Self:
        parts, shown = urlsplit(url), mask_url(url)
        path = unquote(parts.path[1:])
        if parts.netloc or not path:
            raise SettingsError(f"backend: {shown!r} must be parquet:///relative/folder or parquet:////absolute/folder")
        if parts.query or parts.fragment:
            raise SettingsError(f"backend: {shown!r} has options, and parquet takes none; write ? as %3F and # as %23")
        return cls(path)

    @property
    def address(self) -> str:
        path = str(self.path).replace("%", "%25").replace("?", "%3F").replace("#", "%23")
        return f"parquet:///{path}"

    def __repr__(self) -> str:
        return f"ParquetBackend({str(self.path)!r})"

    def open(self) -> None:
        """Cheap when open. A folder that was moved away is made anew; a merge that a crash broke off is finished."""
        with self._translated():
            self._engine.cursor().close()
            if not (self.path / folders.MARKER).exists():
                folders.ensure(self.path, self.timeout_seconds)
            if merging.unfinished(self.path):
                with self._turn():
                    """That is all."""

    def close(self) -> None:
        self._engine.close()

    @contextmanager
    def _turn(self) -> Iterator[Any]:
        """The only writer in this folder, with a cursor."""
        with folders.locked(self.path, self.timeout_seconds), self._engine.cursor() as cursor:
            merging.finish(self.path)
            yield cursor

    # --- writing ---

    def write(self, batch: Batch) -> WriteResult:
        if not batch.records:
            return ACCEPTED
        self.open()
        with self._translated(), self._turn() as cursor:
            parts, rejected = parts_of(batch, self._shape)
            shared = shared_cells(batch.header, time.time_ns())
            for part in sorted(parts):
                self._write_part(cursor, part, parts[part], shared)
                self._merge_if_ripe(cursor, part)
        return WriteResult(rejected) if rejected else ACCEPTED

    def _write_part(self, cursor: Any, part: Part, lines: dict[int, str], shared: dict[str, Any]) -> None:
        segment = shared["segment"]
        span = min(lines), max(lines)
        near = folders.overlapping(self.path, part, segment, *span)
        near += self._contents.overlapping(cursor, folders.merged(self.path, part), segment, *span)
        if near:
            sql = f"SELECT place FROM {queries.read_parquet()} WHERE segment = ? AND place BETWEEN ? AND ?"
            for (place,) in cursor.execute(sql, [queries.patterns(near), segment, *span]).fetchall():
                lines.pop(place, None)
        if not lines:
            return
        path = folders.free_path(self.path, part, segment, min(lines), max(lines))
        folders.make_day(path.parent)
        self._engine.copy_lines(cursor, lines.values(), shared, self.path / _LINES, folders.aside(path))
        folders.publish(path)

    def _merge_if_ripe(self, cursor: Any, part: Part) -> None:
        """At most once a file that is written, which is as often as files become ripe."""
        if time.monotonic() < self._merge_after:
            return
        try:
            of_part = [file for file in folders.files(self.path, part.day) if file.own == part.own]
            if found := merging.ripe(of_part):
                merging.merge(self.path, self._engine, cursor, found)
        except (OSError, MemoryError, driver().Error) as error:  # the records are stored all the same
            self._merge_after = time.monotonic() + _MERGE_AGAIN_SECONDS
            logger.warning("%s: small files are not merged: %s", self.path, error)

    # --- asking ---

    def query(self, query: Query) -> list[Series]:
        def ask(source: queries.Source) -> list[Series]:
            with self._engine.cursor() as cursor:
                return queries.answer(cursor, query, source)

        return self._ask(query, ask) or []

    def query_foreign(self, query: Query, foreign: Foreign) -> list[Series]:
        duckdb = driver()
        with self._engine.cursor() as cursor:
            try:
                return queries.answer(cursor, query, queries.foreign(foreign, self.path))
            except duckdb.Error as error:
                raise QueryError(f"{foreign.source}: {error}; correct the source, or its columns") from error

    def records(self, query: Query, *, newest: int | None = None) -> Iterator[Record]:
        conditions, parameters = queries.fits(query)

        def ask(source: queries.Source) -> Any:
            sql = f"SELECT * FROM ({source[0]}) AS source WHERE {' AND '.join(conditions) or 'true'}"
            order = "ORDER BY timestamp_ns, segment, place"
            if newest is not None:
                newest_first = "ORDER BY timestamp_ns DESC, segment DESC, place DESC"
                sql = f"SELECT * FROM ({sql} {newest_first} LIMIT {newest:d}) AS newest"
            return self._engine.cursor().execute(f"{sql} {order}", [*source[1], *parameters])

        cursor = self._ask(query, ask)
        if cursor is None:
            return
        with cursor, self._translated():
            headers: dict[tuple[Any, ...], Any] = {}
            while rows := cursor.fetchmany(1_000):
                yield from from_rows(rows, headers, self._shape)

    def _ask(self, query: Query, ask: Callable[[queries.Source], T]) -> T | None:
        """`ask` of the files that can hold what is asked for; None when there are none.

        What replaces a document is as old or newer, so days before the query's start never matter; days after its end
        matter to documents alone.
        """
        start = "" if query.start_ns is None else day_of(query.start_ns)
        end = "9999" if query.end_ns is None else day_of(query.end_ns)

        def of_files(found: list[Stored]) -> T | None:
            points = [file.path for file in found if not file.own and file.day <= end]
            source = queries.native(points, [file.path for file in found if file.own])
            return None if source is None else ask(source)

        return self._of_files(start, of_files)

    def _of_files(self, start: str, ask: Callable[[list[Stored]], T]) -> T:
        """`ask` of all files from a day on; anew when one was gone before it was opened."""
        with self._translated():
            for _ in range(_LISTINGS - 1):
                found = merging.visible(self.path, start)
                try:
                    return ask(found)
                except (driver().IOException, FileNotFoundError):
                    if all(file.path.exists() for file in found):
                        raise
            return ask(merging.visible(self.path, start))

    # --- looking after it ---

    def setup(self) -> list[str]:
        """Make the folder; merge what is there in many small files, of an earlier version or after failures."""
        with self._translated():
            done = folders.ensure(self.path, self.timeout_seconds)
            if merges := self._merge_all(merging.ripe):
                done.append(f"merges of small files: {merges}")
            return done

    def _merge_all(self, choose: Callable[[list[Stored]], list[Stored]], before: str = "9999") -> int:
        """Of all days before this one; how many merges there were. Others may write between any two."""
        merges = 0
        for day in folders.days(self.path):
            while day < before:
                with self._turn() as cursor:
                    found = choose(folders.files(self.path, day))
                    if not found:
                        break
                    merging.merge(self.path, self._engine, cursor, found)
                    merges += 1
        return merges

    def check(self) -> list[Line]:
        with self._translated():
            return folders.check(self.path)

    def indices(self) -> list[dict[str, Any]]:
        """A day each. Older contents of replaced documents are rows, too, until `prune`."""

        def ask(found: list[Stored]) -> list[dict[str, Any]]:
            held = []
            with self._engine.cursor() as cursor:
                for day, of_day in groupby(found, key=lambda file: file.day):
                    paths = [file.path for file in of_day]
                    sql = f"SELECT count(*), min(timestamp_ns), max(timestamp_ns) FROM {queries.read_parquet()}"
                    count, oldest, newest = cursor.execute(sql, [queries.patterns(paths)]).fetchone()
                    size = sum(path.stat().st_size for path in paths)
                    span = {"oldest": oldest / 1e9, "newest": newest / 1e9}
                    held.append({"name": f"day={day}", "records": count, "size_bytes": size, **span})
            return held

        return self._of_files("", ask)

    def prune(self, before: float) -> int:
        """Remove the days that are older as a whole; write the files anew that are older in part. Then the small files
        that are left of the days that have been are merged."""
        before_ns = nanoseconds(before, "before")
        gone = 0
        with self._translated():
            if not self.path.exists():
                return 0
            with self._turn() as cursor:
                folders.clear_aside(self.path)
                for day in folders.days(self.path):
                    if day <= day_of(before_ns):
                        for file in folders.files(self.path, day):
                            gone += self._prune_file(cursor, file.path, before_ns)
                        folders.remove_if_empty(self.path, day)
            self._merge_all(merging.scattered, before=day_of(time.time_ns()))
        return gone

    def _prune_file(self, cursor: Any, path: Path, before_ns: int) -> int:
        pattern = queries.patterns([path])
        sql = f"SELECT count(*), count(*) FILTER (WHERE timestamp_ns < ?) FROM {queries.read_parquet()}"
        rows, old = cursor.execute(sql, [before_ns, pattern]).fetchone()
        if old == rows:
            path.unlink()
        elif old:
            left = f"{queries.read_parquet()} WHERE timestamp_ns >= ?"
            self._engine.copy(cursor, left, [pattern, before_ns], folders.aside(path))
            folders.publish(path)
        return int(old)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with translated(self.path):
            yield
