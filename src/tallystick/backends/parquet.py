# ruff: noqa: S608  (pieces of SQL are put together here; only names of ours are pasted)
"""Records in a folder of Parquet files, written and asked by DuckDB, readable by whatever reads Parquet.

What it keeps
- `parquet_folder` says why a batch, sent again in whole or in part, adds only what is missing.
- `write` returns after its files and their names are on the disk: the spool forgets the records then.
- Questions are asked of the files that are there at their start; they never wait for a writer, and may come from any
  thread. Of a batch of several days they may see the first ones alone.
- DuckDB's instance is in memory and belongs to the process that made it. A forked child makes its own and leaves
  the old one alone: closing it there could wait for threads that the child does not have.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar
from urllib.parse import unquote, urlsplit

from tallystick import plugins
from tallystick.backends import parquet_folder as folders
from tallystick.backends import parquet_query as queries
from tallystick.backends.base import ACCEPTED, Foreign, Line, WriteResult
from tallystick.backends.parquet_rows import COLUMNS, Part, day_of, from_rows, parts_of
from tallystick.errors import Misconfigured, QueryError, SettingsError, SpoolError, Unavailable
from tallystick.queries import Query, Series
from tallystick.records import Batch, Record

T = TypeVar("T")

_SETTINGS: Final = {
    "autoinstall_known_extensions": "false",  # nothing is fetched from anywhere
    "autoload_known_extensions": "false",
    "temp_directory": str(Path(tempfile.gettempdir()) / "tallystick-duckdb"),
}
_READ_JSON: Final = (
    "read_json(?, format = 'newline_delimited', maximum_object_size = {size:d}, columns = {{"
    + ", ".join(f"{name}: '{type_}'" for name, type_ in COLUMNS.items())
    + "}})"
)
_COPY: Final = (
    "COPY (SELECT * FROM {source}) TO {target} (FORMAT parquet, COMPRESSION {compression}, USE_TMP_FILE false)"
)
_LINES: Final = ".lines.new"
_LISTINGS: Final = 5
"""How often a question looks anew for its files when `prune` takes one away under it."""

_left_behind: Final[list[Any]] = []
"""Instances that a fork carried into this process; they stay as they are."""


@cache
def driver() -> Any:
    """The module duckdb. Raises `MissingExtra`."""
    try:
        import duckdb
    except ImportError as error:
        raise plugins.missing_extra("parquet", error) from error
    return duckdb


class ParquetBackend:
    """`parquet:///relative/folder`, `parquet:////absolute/folder`: three slashes, then the path.

    `timeout_seconds` is how long a write waits for other writers before it is `Unavailable`; `compression` is DuckDB's
    word for it (`zstd`, `snappy`, `uncompressed`, …).
    """

    inline: ClassVar[bool] = False

    def __init__(
        self, path: str | os.PathLike[str], *, timeout_seconds: float = 10.0, compression: str = "zstd"
    ) -> None:
        if not compression.isalnum():
            raise SettingsError(f"compression: {compression!r} is no name of a codec; write zstd, snappy or gzip")
        self.path = Path(path).expanduser().absolute()
        self.timeout_seconds = timeout_seconds
        self.compression = compression
        self._instance: Any = None
        self._pid = 0

    @classmethod
    def from_url(cls, url: str) -> Self:
        parts = urlsplit(url)
        path = unquote(parts.path[1:])
        if parts.netloc or not path:
            raise SettingsError(f"backend: {url!r} must be parquet:///relative/folder or parquet:////absolute/folder")
        if parts.query or parts.fragment:
            raise SettingsError(f"backend: {url!r} has options, and parquet takes none; write ? as %3F and # as %23")
        return cls(path)

    @property
    def address(self) -> str:
        path = str(self.path).replace("%", "%25").replace("?", "%3F").replace("#", "%23")
        return f"parquet:///{path}"

    def __repr__(self) -> str:
        return f"ParquetBackend({str(self.path)!r})"

    def open(self) -> None:
        """Cheap when open. A folder that was moved away is made anew."""
        self._cursor()
        if not (self.path / folders.MARKER).exists():
            self.setup()

    def close(self) -> None:
        instance, self._instance = self._instance, None
        if instance is not None and self._pid == os.getpid():
            instance.close()
        elif instance is not None:
            _left_behind.append(instance)

    def _cursor(self) -> Any:
        """A connection of its own to this process's instance: threads may not share one."""
        if self._instance is None or self._pid != os.getpid():
            self.close()
            self._instance, self._pid = driver().connect(":memory:", config=_SETTINGS), os.getpid()
        return self._instance.cursor()

    # --- writing ---

    def write(self, batch: Batch) -> WriteResult:
        if not batch.records:
            return ACCEPTED
        self.open()
        with self._translated(), folders.locked(self.path, self.timeout_seconds):
            parts, rejected = parts_of(batch, time.time_ns())
            for part in sorted(parts):
                self._write_part(part, batch.segment, parts[part])
        return WriteResult(rejected) if rejected else ACCEPTED

    def _write_part(self, part: Part, segment: str, lines: dict[int, str]) -> None:
        first, last = min(lines), max(lines)
        with self._cursor() as cursor:
            near = folders.overlapping(self.path, part, segment, first, last)
            if near:
                sql = f"SELECT place FROM {queries.read_parquet()} WHERE place BETWEEN ? AND ?"
                for (place,) in cursor.execute(sql, [queries.patterns(near), first, last]).fetchall():
                    lines.pop(place, None)
            if not lines:
                return
            path = folders.free_path(self.path, part, segment, min(lines), max(lines))
            folders.make_day(path.parent)
            data = "\n".join(lines.values()).encode()
            aside = self.path / _LINES
            aside.write_bytes(data)
            source = _READ_JSON.format(size=len(data) + 1)
            self._copy(cursor, source, [queries.patterns([aside])[0]], folders.aside(path))
            folders.publish(path)

    def _copy(self, cursor: Any, source: str, parameters: list[Any], target: Path) -> None:
        quoted = "'" + str(target).replace("'", "''") + "'"
        cursor.execute(_COPY.format(source=source, target=quoted, compression=self.compression), parameters)

    # --- asking ---

    def query(self, query: Query) -> list[Series]:
        def ask(source: queries.Source) -> list[Series]:
            with self._cursor() as cursor:
                return queries.answer(cursor, query, source)

        return self._ask(query, ask) or []

    def query_foreign(self, query: Query, foreign: Foreign) -> list[Series]:
        duckdb = driver()
        with self._cursor() as cursor:
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
            return self._cursor().execute(f"{sql} {order}", [*source[1], *parameters])

        cursor = self._ask(query, ask)
        if cursor is None:
            return
        with cursor, self._translated():
            headers: dict[tuple[Any, ...], Any] = {}
            while rows := cursor.fetchmany(1_000):
                yield from from_rows(rows, headers)

    def _ask(self, query: Query, ask: Callable[[queries.Source], T]) -> T | None:
        """`ask` of the files that can hold what is asked for; None when there are none.

        What replaces a document is as old or newer, so days before the query's start never matter; days after its end
        matter to documents alone.
        """
        io_error = driver().IOException
        start = "" if query.start_ns is None else day_of(query.start_ns)
        end = "9999" if query.end_ns is None else day_of(query.end_ns)
        with self._translated():
            for left in reversed(range(_LISTINGS)):
                days = [day for day in folders.days(self.path) if day >= start]
                found = [file for day in days for file in folders.files(self.path, day) if file.own or day <= end]
                points, documents = ([file.path for file in found if file.own is own] for own in (False, True))
                source = queries.native(points, documents)
                if source is None:
                    return None
                try:
                    return ask(source)
                except io_error:
                    if left == 0 or all(file.path.exists() for file in found):
                        raise
        return None

    # --- looking after it ---

    def setup(self) -> list[str]:
        with self._translated():
            return folders.ensure(self.path)

    def check(self) -> list[Line]:
        with self._translated():
            return folders.check(self.path)

    def indices(self) -> list[dict[str, Any]]:
        """A day each. Older contents of replaced documents are rows, too, until `prune`."""
        held = []
        with self._translated(), self._cursor() as cursor:
            for day in folders.days(self.path):
                paths = [file.path for file in folders.files(self.path, day)]
                if paths:
                    sql = f"SELECT count(*), min(timestamp_ns), max(timestamp_ns) FROM {queries.read_parquet()}"
                    count, oldest, newest = cursor.execute(sql, [queries.patterns(paths)]).fetchone()
                    size = sum(path.stat().st_size for path in paths)
                    span = {"oldest": oldest / 1e9, "newest": newest / 1e9}
                    held.append({"name": f"day={day}", "records": count, "size_bytes": size, **span})
        return held

    def prune(self, before: float) -> int:
        """Remove the days that are older as a whole; write the files anew that are older in part."""
        before_ns = round(before * 1e9)
        gone = 0
        with self._translated():
            if not self.path.exists():
                return 0
            with folders.locked(self.path, self.timeout_seconds), self._cursor() as cursor:
                folders.clear_aside(self.path)
                for day in folders.days(self.path):
                    if day <= day_of(before_ns):
                        for file in folders.files(self.path, day):
                            gone += self._prune_file(cursor, file.path, before_ns)
                        folders.remove_if_empty(self.path, day)
        return gone

    def _prune_file(self, cursor: Any, path: Path, before_ns: int) -> int:
        pattern = queries.patterns([path])
        sql = f"SELECT count(*), count(*) FILTER (WHERE timestamp_ns < ?) FROM {queries.read_parquet()}"
        rows, old = cursor.execute(sql, [before_ns, pattern]).fetchone()
        if old == rows:
            path.unlink()
        elif old:
            left = f"{queries.read_parquet()} WHERE timestamp_ns >= ?"
            self._copy(cursor, left, [pattern, before_ns], folders.aside(path))
            folders.publish(path)
        return int(old)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Trouble of the disk as the errors that the agent understands. What names no cause that we know goes on as it
        is: then the agent bisects the batch."""
        duckdb = driver()
        try:
            yield
        except (PermissionError, NotADirectoryError, FileExistsError, SpoolError) as error:
            raise Misconfigured(f"{self.path}: {error}; it must be a folder that this user may write to") from error
        except (OSError, MemoryError, duckdb.OutOfMemoryException) as error:
            raise Unavailable(f"{self.path}: {error}") from error
        except duckdb.IOException as error:
            if "Permission denied" in str(error) or "Read-only" in str(error):
                raise Misconfigured(f"{self.path}: {error}; this user must be able to write there") from error
            raise Unavailable(f"{self.path}: {error}") from error
