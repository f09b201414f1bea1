# ruff: noqa: S608  (pieces of SQL are put together here; only names of ours are pasted, quoted)
"""Records in PostgreSQL (Timescale included), by COPY.

What it keeps
- A batch is one transaction: its rows and its ledger are there together or not at all. Batches of one segment take
  turns (an advisory lock), so two agents that send the same never both find it missing.
- A server that does not answer is noticed after `timeout_seconds`, on each exchange with it; the connection is then
  given up. Nothing crosses a fork: a connection is used only by the process that made it.
- A value that the server refuses fails the COPY as a whole; the batch is then written record by record, in savepoints.
- Only errors that may be a record's doing (`connection.blames_a_record`) reject one; all others keep the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final, Self
from urllib.parse import parse_qsl, urlsplit

from tallystick.backends._sql import Range, covered, lost_segment, not_stored
from tallystick.backends._url import ServerUrl, read_url
from tallystick.backends.base import ACCEPTED, Foreign, Line, WriteResult
from tallystick.backends.postgresql import care, segments
from tallystick.backends.postgresql import query as queries
from tallystick.backends.postgresql import schema as schemas
from tallystick.backends.postgresql.connection import (
    ENCRYPTED,
    TIMEOUT_SECONDS,
    answering,
    blames_a_record,
    connect,
    driver,
    settle,
    translated,
)
from tallystick.backends.postgresql.foreign import foreign as foreign_source
from tallystick.backends.postgresql.rows import Native, Row, Shape, copy_texts
from tallystick.errors import Misconfigured, QueryError, SettingsError, Unavailable
from tallystick.moments import nanoseconds
from tallystick.processes import PerProcess
from tallystick.queries import Query, Series
from tallystick.records import Batch, Header, Record

_UNFIT: Final = (TypeError, ValueError, OverflowError)
"""What the driver, or we, raise for a value that cannot be sent."""


class PostgresqlBackend:
    """`postgresql://user:password@host:5432/database?schema=tallystick`.

    `client` is a ready `psycopg.Connection` in autocommit mode; the backend then cannot connect again by itself.
    `shape` says what a record is as a row; the library's own by default.
    Options of the URL: `schema`, `timeout_seconds` (each exchange), `connect_timeout_seconds`, `sslmode` (default:
    `verify-full` for other hosts and with a `ca_file`), `ca_file`, `cert_file`, `key_file`, `insecure_tls`, `setup`,
    `password_env`, `password_file`, `allow_plain_credentials`. Of several hosts the one that may be written to is used.
    """

    inline: ClassVar[bool] = False

    def __init__(
        self,
        url: ServerUrl | None = None,
        *,
        client: Any = None,
        schema: str = "tallystick",
        shape: Shape | None = None,
    ) -> None:
        if (url is None) == (client is None):
            raise SettingsError("backend: PostgresqlBackend takes either a url or a client")
        self._url = url
        self._options: dict[str, Any] = {} if url is None else url.options
        self._client = client
        self._schema = self._options.get("schema", schema)
        self._shape = shape or Native()
        self._held: PerProcess[Any] = PerProcess(_close, given=client)
        self._user = "" if client is None else client.info.user
        self._ready = False

    @classmethod
    def from_url(cls, url: str) -> Self:
        mode = dict(parse_qsl(urlsplit(url).query)).get("sslmode")
        encrypted = mode is None or mode in ENCRYPTED  # without a word about it, another host is verified
        return cls(read_url(url, default_port=5432, tls=encrypted, options={"schema": str, "sslmode": str}))

    @property
    def address(self) -> str:
        if self._url is None:
            info = self._client.info
            return f"postgresql://{info.host}:{info.port}/{info.dbname}?schema={self._schema}"
        return f"postgresql://{','.join(self._url.places)}/{self._url.name}?schema={self._schema}"

    def __repr__(self) -> str:
        return f"PostgresqlBackend({self.address!r})"

    # --- connecting ---

    def open(self) -> None:
        connection = self._connection
        if connection is not None and not connection.closed:
            return
        with self._translated():
            connection = self._client if self._client is not None else self._connect()
            try:
                if not self._ready:  # else it was looked at when this object first connected
                    self._look_at(connection)
            except BaseException:
                if connection is not self._client:
                    connection.close()
                raise
        self._held.put(connection)
        self._ready = True
        self._days = schemas.Days(connection, self._schema, self._options.get("setup", True))

    def _look_at(self, connection: Any) -> None:
        if self._options.get("setup", True):
            schemas.ensure(connection, self._schema)
        elif schemas.version(connection, self._schema) is None:
            script = schemas.script(self._schema, self._user)
            raise Misconfigured(f"{self.address}: there are no tables; as an administrator run:\n{script}")

    def _connect(self) -> Any:
        assert self._url is not None
        connection = connect(self._url)
        self._user = connection.info.user
        return connection

    @property
    def _connection(self) -> Any:
        return self._held.get()

    def close(self) -> None:
        self._held.close()

    # --- writing ---

    def write(self, batch: Batch) -> WriteResult:
        if not batch.records:
            return ACCEPTED
        self.open()
        psycopg = driver()
        with self._translated():
            self._days.have({r.timestamp_ns // schemas.DAY_NS for r in batch.records if not r.replaces})
            try:
                return WriteResult(self._transaction(batch, carefully=False))
            except (psycopg.Error, *_UNFIT) as error:
                if isinstance(error, psycopg.Error) and not blames_a_record(error):
                    raise
                return WriteResult(self._transaction(batch, carefully=True))

    def _transaction(self, batch: Batch, *, carefully: bool) -> dict[int, str]:
        connection, row = self._connection, self._shape.writer()
        rejected: dict[int, str] = {}
        with self._settled(connection):
            connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (schemas.SEGMENT_LOCK, batch.segment))
            segment, stored = segments.known(connection, self._schema, batch)
            fresh = not_stored(batch, stored)
            if carefully:
                rejected = self._insert_one_by_one(batch, fresh, segment, row)
            else:
                self._insert([batch.records[index] for index in fresh], segment, row)
            self._account(segment, stored, covered(batch, rejected, stored))
        return rejected

    def _account(self, segment: int, stored: list[Range], ranges: list[Range]) -> None:
        """Have these ranges in the ledger in place of those that were there."""
        s = schemas.quoted(self._schema)
        starts, stops = [start for start, _ in ranges], [stop for _, stop in ranges]
        gone = [start for start, _ in stored if start not in starts]
        if gone:
            self._connection.execute(f"DELETE FROM {s}.ledger WHERE segment = %s AND start = ANY(%s)", (segment, gone))
        self._connection.execute(
            f"WITH seen AS (UPDATE {s}.segments SET written = now() WHERE id = %s)"
            f" INSERT INTO {s}.ledger SELECT %s, * FROM unnest(%s::bigint[], %s::bigint[])"
            " ON CONFLICT (segment, start) DO UPDATE SET stop = excluded.stop",
            (segment, segment, starts, stops),
        )

    def _insert(self, records: list[Record], segment: int, row: Callable[[Record], Row]) -> None:
        s = schemas.quoted(self._schema)
        points = [record for record in records if record.own_id is None]
        with self._connection.cursor() as cursor:
            if points:
                with cursor.copy(f"COPY {s}.points ({schemas.COLUMNS}) FROM STDIN") as copy:
                    for text in copy_texts(points, segment, row):
                        copy.write(text)
            if len(points) < len(records):
                columns = schemas.COLUMNS.split(", ")
                newer = ", ".join(f"{column} = excluded.{column}" for column in columns if column != "own_id")
                cursor.executemany(
                    f"INSERT INTO {s}.documents AS d ({schemas.COLUMNS}) VALUES ({', '.join(['%s'] * len(columns))})"
                    f" ON CONFLICT (own_id) DO UPDATE SET {newer} WHERE excluded.timestamp_ns >= d.timestamp_ns",
                    [(r.timestamp_ns, segment, r.offset, *row(r)) for r in records if r.own_id is not None],
                )

    def _insert_one_by_one(
        self, batch: Batch, indices: Iterable[int], segment: int, row: Callable[[Record], Row]
    ) -> dict[int, str]:
        psycopg = driver()
        rejected = {}
        for index in indices:
            try:
                with self._connection.transaction():
                    self._insert([batch.records[index]], segment, row)
            except (psycopg.Error, *_UNFIT) as error:
                if isinstance(error, psycopg.Error) and not blames_a_record(error):
                    raise
                rejected[index] = f"{type(error).__name__}: {error}"
        return rejected

    # --- asking ---

    def query(self, query: Query) -> list[Series]:
        with answering(self.address), self._reader() as connection, self._settled(connection):
            return queries.answer(connection, query, queries.native(self._schema), [])

    def query_foreign(self, query: Query, foreign: Foreign) -> list[Series]:
        psycopg = driver()
        with answering(foreign.source), self._reader() as connection, self._settled(connection):
            try:
                return queries.answer(connection, query, *foreign_source(connection, foreign))
            except (psycopg.ProgrammingError, psycopg.DataError) as error:
                raise QueryError(f"{foreign.source}: {error}; correct the source, or its columns") from error

    def records(self, query: Query, *, newest: int | None = None) -> Iterator[Record]:
        conditions, parameters = queries.fits(query)
        columns = schemas.COLUMNS.replace("extra", "extra::text")
        where = " AND ".join(conditions) or "true"
        sql = f"SELECT {columns} FROM {schemas.quoted(self._schema)}.everything WHERE {where}"
        oldest_first = "ORDER BY timestamp_ns, segment, place"
        if newest is None:
            sql = f"{sql} {oldest_first}"
        else:
            newest_first = "ORDER BY timestamp_ns DESC, segment DESC, place DESC"
            sql = f"SELECT * FROM ({sql} {newest_first} LIMIT {newest:d}) AS newest {oldest_first}"
        headers: dict[int, Header] = {}
        with (
            answering(self.address),
            self._reader() as connection,
            self._settled(connection),
            connection.cursor("records") as cursor,
        ):
            for row in cursor.execute(sql, parameters):
                if row[1] not in headers:
                    headers[row[1]] = self._header(connection, row[1])
                yield self._shape.record(row, headers[row[1]])

    def _header(self, connection: Any, segment: int) -> Header:
        table = f"{schemas.quoted(self._schema)}.segments"
        found = connection.execute(f"SELECT segment, host, pid, app, started FROM {table} WHERE id = %s", (segment,))
        header = found.fetchone()
        return Header(1, *header) if header else lost_segment(self.address, segment)

    @contextmanager
    def _reader(self) -> Iterator[Any]:
        """A connection for one question, which may come from another thread than the writer's."""
        with self._translated():
            if self._client is not None:
                yield self._client
                return
            with self._connect() as connection:
                yield connection

    @contextmanager
    def _settled(self, connection: Any) -> Iterator[None]:
        """A transaction with the settings that it relies on."""
        with connection.transaction():
            settle(connection, float(self._options.get("timeout_seconds", TIMEOUT_SECONDS)))
            yield

    # --- looking after it ---

    def setup(self) -> list[str]:
        with self._reader() as connection:
            done = schemas.ensure(connection, self._schema)
            return done + segments.adopt(connection, self._schema, self.address)

    def check(self) -> list[Line]:
        with self._reader() as connection:
            return care.check(connection, self._schema)

    def indices(self) -> list[dict[str, Any]]:
        with self._reader() as connection:
            return care.indices(connection, self._schema)

    def prune(self, before: float) -> int:
        with self._reader() as connection:
            return care.prune(connection, self._schema, nanoseconds(before, "before"))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with translated(self.address, lambda: schemas.script(self._schema, self._user)):
                yield
        except Unavailable as error:
            self.close()  # after trouble on the wire it is of no use; the next `open` makes a new one
            if isinstance(error, Misconfigured):
                self._ready = False  # tables may have gone, so the next `open` looks
            raise


def _close(connection: Any) -> None:
    connection.close()
