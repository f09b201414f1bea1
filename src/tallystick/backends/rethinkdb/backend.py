"""Records in RethinkDB, one document each.

What it keeps
- A record's id is the document's primary key, so what is sent again replaces itself: nothing changes. A record with an
  id of the caller's own replaces the document of that id unless that one is newer; the server decides, by a function.
- One `insert` for each batch, on disk before it answers (`durability="hard"`). It names no culprit: when it counted
  errors, the same documents are sent once more with `return_changes="always"`, whose answer has one place a document.
- The writing thread has a connection of its own, and each question another: RethinkDB's are for one thread.
- Every call has its own time limit; after one was passed, the connection is thrown away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar, Final, Self
from urllib.parse import parse_qsl, urlsplit

from tallystick.backends import shapes
from tallystick.backends._url import ServerUrl, read_url
from tallystick.backends.base import ACCEPTED, Foreign, Line, WriteResult
from tallystick.backends.memory import answer
from tallystick.backends.rethinkdb import care
from tallystick.backends.rethinkdb import query as queries
from tallystick.backends.rethinkdb.connection import connect, driver, translated
from tallystick.backends.rethinkdb.shape import Native
from tallystick.backends.shapes import Documents
from tallystick.errors import Misconfigured, QueryError, SettingsError, TooLarge, Unavailable
from tallystick.moments import nanoseconds
from tallystick.processes import PerProcess
from tallystick.queries import Query, Series
from tallystick.records import Batch, Record

DEFAULT_PORT: Final = 28015
MAKE_ARRAY: Final = 2
EPOCH_TIME: Final = 101
LARGEST_INSERT: Final = 10_000
_OURS: Final = {"table": str, "tls": bool, "shape": str}
_PASSING: Final = re.compile(r"Cannot perform|not available|lost contact", re.IGNORECASE)


class RethinkdbBackend:
    """`rethinkdb://user:password@host:28015/database?table=tallystick`, also several hosts, divided by commas.

    `client` is a ready connection of the driver's, then used for everything, by one thread at a time; `shape` is the
    form of the documents (`backends/shapes.py`). Our options: `table`, `shape`,
    `timeout_seconds`, `connect_timeout_seconds`, `setup`, `password_env`, `password_file`, `tls`, `ca_file`,
    `cert_file`, `key_file`, `insecure_tls`, `allow_plain_credentials`.
    """

    inline: ClassVar[bool] = False

    def __init__(
        self,
        url: ServerUrl | None = None,
        *,
        client: Any = None,
        database: str = "tallystick",
        table: str = "tallystick",
        shape: Documents | None = None,
    ) -> None:
        if (url is None) == (client is None):
            raise SettingsError("backend: RethinkdbBackend takes either a url or a client")
        self._url = url
        self._options: dict[str, Any] = {} if url is None else url.options
        self._given = client
        self._database = (url.name if url is not None else "") or database
        self._table_name: str = self._options.get("table", table)
        for what, name in (("database", self._database), ("table", self._table_name)):
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise SettingsError(f"backend: {what} {name!r}: RethinkDB's names are of A-Z, a-z, 0-9, _ and - only")
        named = shapes.built(self._options.get("shape"), "rethinkdb", self._table_name)
        self._shape: Documents = shape or named or Native()
        self._native = self._shape if isinstance(self._shape, Native) else Native()
        self._held: PerProcess[Any] = PerProcess(_close, given=client)
        self._ready = False
        self._met: set[str] = set()

    @classmethod
    def from_url(cls, url: str) -> Self:
        given = dict(parse_qsl(urlsplit(url).query))
        tls = "ca_file" in given or given.get("tls", "no").lower() in ("yes", "true", "1", "on")
        return cls(read_url(url, default_port=DEFAULT_PORT, tls=tls, options=_OURS))

    @property
    def address(self) -> str:
        place = f"{self._given.host}:{self._given.port}" if self._url is None else ",".join(self._url.places)
        what = shapes.suffix(self._shape, "&")
        return f"rethinkdb://{place}/{self._database}?table={self._table_name}{what}"

    def __repr__(self) -> str:
        return f"RethinkdbBackend({self.address!r})"

    # --- connecting ---

    def open(self) -> None:
        connection = self._connection
        if connection is not None and connection.is_open():
            return
        self._held.put(self._connect())
        with self._translated():
            if self._ready or not self._options.get("setup", True):
                self._run(driver().r.expr(1))
            else:
                self._ensure(self._run)
        self._ready = True

    def _ensure(self, run: care.Run, table: str = "") -> list[str]:
        try:
            return care.ensure(run, self._database, table or self._table_name, self._shape.indexes)
        except driver().errors.ReqlPermissionError as error:
            user = self._url.user if self._url is not None else None
            script = care.script(self._database, self._table_name, user or "admin")
            raise Misconfigured(
                f"{self.address}: {error.message}; grant this user read, write and config, or let an administrator run"
                f" this and add setup=no to the URL:\n{script}"
            ) from None

    def _connect(self) -> Any:
        if self._url is None:
            return self._given
        return connect(self._url, self.address)

    @property
    def _connection(self) -> Any:
        return self._held.get()

    def close(self) -> None:
        self._held.close()

    def _run(self, term: Any) -> Any:
        return term.run(self._connection)

    def _table(self, name: str = "") -> Any:
        return driver().r.db(self._database).table(name or self._table_name)

    # --- writing ---

    def write(self, batch: Batch) -> WriteResult:
        if not batch.records:
            return ACCEPTED
        self.open()
        with self._translated():
            return shapes.by_place(batch, self._shape.place, self._table_name, self._write)

    def _write(self, table: str, batch: Batch) -> WriteResult:
        rejected: dict[int, str] = {}
        kept: dict[int, str] = {}
        plain = {record.id: index for index, record in enumerate(batch.records) if not record.replaces}
        if table != self._table_name and table not in self._met and self._options.get("setup", True):
            self._ensure(self._run, table)
            self._met.add(table)
        self._insert(batch, table, list(plain.values()), "replace", rejected, kept)
        self._insert(batch, table, _newest(batch), _unless_newer(self._shape.age), rejected, kept)
        return WriteResult(rejected, kept) if rejected or kept else ACCEPTED

    def _insert(
        self,
        batch: Batch,
        table: str,
        indices: list[int],
        conflict: Any,
        rejected: dict[int, str],
        kept: dict[int, str],
    ) -> None:
        for start in range(0, len(indices), LARGEST_INSERT):
            part = indices[start : start + LARGEST_INSERT]
            documents = [_term(self._shape.document(batch.records[index])) for index in part]
            insert = self._table(table).insert
            term = driver().ast.Datum([MAKE_ARRAY, documents])
            if not self._run(insert(term, conflict=conflict, durability="hard"))["errors"]:
                continue
            reply = self._run(insert(term, conflict=conflict, durability="hard", return_changes="always"))
            changes = reply.get("changes", ())
            if len(changes) != len(part):
                raise ValueError(f"{self.address}: {reply.get('first_error')}")  # the agent finds out which
            for index, change in zip(part, changes, strict=True):
                if "error" in change:
                    where = kept if _PASSING.search(change["error"]) else rejected
                    where[index] = change["error"]

    # --- asking ---

    def query(self, query: Query) -> list[Series]:
        if self._shape.foreign is not None:
            return self.query_foreign(query, self._shape.foreign.asked(query))
        if self._native is not self._shape:
            return answer(self.records(query), query)
        with self._asking() as run:
            return queries.answer(run, query, queries.native(query, self._table()))

    def query_foreign(self, query: Query, foreign: Foreign) -> list[Series]:
        r = driver().r
        with self._asking(make=False) as run:
            if foreign.source not in run(r.db(self._database).table_list()):
                raise QueryError(f"{self.address}: there is no table {foreign.source!r} in {self._database!r}")
            source = r.db(self._database).table(foreign.source)
            return queries.answer(run, query, queries.foreign(query, foreign, source))

    def records(self, query: Query, *, newest: int | None = None) -> Iterator[Record]:
        if newest == 0:
            return
        if (record := getattr(self._shape, "record", None)) is not None and self._native is not self._shape:
            yield from shapes.read(self._foreign_records(record), query, newest)
            return
        with self._asking() as run:
            found = run(queries.ordered(query, self._table(), newest))
            for document in found if newest is None else reversed(list(found)):
                yield self._native.record(document)

    def _foreign_records(self, record: Any) -> Iterator[Record]:
        """Of the backend's table, or of each table of the database where the shape has one a kind."""
        r = driver().r
        with self._asking(make=False) as run:
            there = run(r.db(self._database).table_list())
            tables = [self._table_name] if self._shape.foreign is not None else there
            found = [
                record(document, table)
                for table in tables
                if table in there
                for document in run(self._table(table).has_fields(self._shape.age))
            ]
        yield from sorted(found, key=lambda one: (one.timestamp_ns, one.id))

    @contextmanager
    def _asking(self, *, make: bool = True) -> Iterator[Any]:
        """What runs a term, on a connection of its own: the writing one may be at work in another thread. With `make`,
        what is missing of database, table and index is there then."""
        connection = self._connect()

        def run(term: Any) -> Any:
            return term.run(connection, array_limit=queries.ARRAY_LIMIT)

        try:
            with translated(self.address):
                if make and not self._ready and self._options.get("setup", True):
                    self._ensure(run)
                    self._ready = True
                yield run
        except TooLarge as error:
            raise QueryError(f"{error} Ask for a shorter time, or group by fewer tags.") from None
        except driver().errors.ReqlQueryLogicError as error:  # such as a sum beyond the largest double
            raise QueryError(f"{self.address}: {error.message} Ask fewer names, or for min, max or last.") from None
        finally:
            if connection is not self._given:
                connection.close(noreply_wait=False)

    # --- looking after it ---

    def setup(self) -> list[str]:
        with self._asking(make=False) as run:
            done = self._ensure(run)
        self._ready = True
        return done

    def check(self) -> list[Line]:
        with self._asking(make=False) as run:
            answers = Line(ok=True, what=f"{self.address} answers")
            return [answers, *care.check(run, self._database, self._table_name)]

    def indices(self) -> list[dict[str, Any]]:
        with self._asking(make=False) as run:
            return [care.size(run, self._database, self._table_name)]

    def prune(self, before: float) -> int:
        with self._asking(make=False) as run:
            return care.prune(run, self._database, self._table_name, nanoseconds(before, "before"))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with translated(self.address):
                yield
        except Unavailable as error:
            self.close()  # the next `open` makes a new connection
            if isinstance(error, Misconfigured):
                self._ready = False  # and looks what went away, to make it again if it may
                self._met.clear()
            raise


def _close(connection: Any) -> None:
    connection.close(noreply_wait=False)


def _newest(batch: Batch) -> list[int]:
    """Of each own id in the batch the newest record; of equally new ones the last. The others have no say."""
    found: dict[str, int] = {}
    for index, record in enumerate(batch.records):
        if record.own_id is not None:
            other = found.get(record.own_id)
            if other is None or batch.records[other].timestamp_ns <= record.timestamp_ns:
                found[record.own_id] = index
    return list(found.values())


def _unless_newer(age: str) -> Any:
    return lambda _id, old, new: driver().r.branch(new[age] >= old[age].default(new[age]), new, old)


def _term(value: Any) -> Any:
    """Plain values in the wire's own form, as the driver would make it, but with no object for each of them."""
    if isinstance(value, dict):
        return {key: _term(part) for key, part in value.items()}
    if isinstance(value, list):
        return [MAKE_ARRAY, [_term(part) for part in value]]
    if isinstance(value, datetime):
        return [EPOCH_TIME, [value.timestamp()]]
    return value
