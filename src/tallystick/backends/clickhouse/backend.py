# ruff: noqa: S608  (pieces of SQL are put together here; only names of ours are pasted, quoted)
"""Records in ClickHouse, by one insert of JSON lines a table.

What it keeps
- `schema.py` says why a batch may be sent again, in whole or in part, by several at once: equal rows are one
  record. A batch is up to two inserts, which is as well: after a failure between them it comes again.
- `write` returns after the server has made the part (no asynchronous inserts): durable in the store's own sense.
- Every answer has a limit as a whole. Nothing crosses a fork: a client is used only by the process that made it.
- Values that the server would refuse are found here, before sending; each gets its own verdict.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final, Self

from tallystick.backends._rows import COLUMNS, Native, Shape, from_rows, parts_of, shared_cells
from tallystick.backends._url import ServerUrl, read_url
from tallystick.backends.base import ACCEPTED, Foreign, Line, WriteResult
from tallystick.backends.clickhouse import query as queries
from tallystick.backends.clickhouse import schema as schemas
from tallystick.backends.clickhouse.connection import connect, driver, sentence, translated
from tallystick.errors import Misconfigured, QueryError, SettingsError
from tallystick.moments import nanoseconds
from tallystick.processes import PerProcess
from tallystick.queries import Query, Series
from tallystick.records import Batch, Record

_INSERT: Final = {
    "async_insert": 0,
    "precise_float_parsing": 1,  # the quick way may be off in the last digit
    "max_partitions_per_insert_block": 0,  # a batch may reach over many months
    "input_format_json_read_numbers_as_strings": 1,
}
_READ: Final = {"do_not_merge_across_partitions_select_final": 1}  # equal points share a partition
_SYNC: Final = {"mutations_sync": 1}


class ClickhouseBackend:
    """`clickhouse://user:password@host:8123/database`, with TLS `clickhouse+https://…:8443/database`.

    `client` is a ready client of clickhouse-connect; `shape` says what stands in the columns of a record. Options of
    the URL: `timeout_seconds` (each call), `connect_timeout_seconds`, `ca_file`, `cert_file`, `key_file`,
    `insecure_tls`, `setup`, `password_env`, `password_file`, `allow_plain_credentials`.
    """

    inline: ClassVar[bool] = False

    def __init__(
        self,
        url: ServerUrl | None = None,
        *,
        client: Any = None,
        database: str = "tallystick",
        shape: Shape | None = None,
    ) -> None:
        if (url is None) == (client is None):
            raise SettingsError("backend: ClickhouseBackend takes either a url or a client")
        if url is not None and len(url.hosts) > 1:
            raise SettingsError("backend: clickhouse takes one host; put a load balancer before several")
        self._url = url
        self._given = client
        self._shape = shape or Native()
        self._database = (url.name if url is not None else "") or database
        self._user = (None if url is None else url.user) or "default"
        self._setup = url is None or url.options.get("setup", True)
        self._held: PerProcess[Any] = PerProcess(_close, given=client)
        self._ready = False

    @classmethod
    def from_url(cls, url: str) -> Self:
        tls = url.partition("://")[0] == "clickhouse+https"
        return cls(read_url(url, default_port=8443 if tls else 8123, tls=tls))

    @property
    def address(self) -> str:
        scheme = "clickhouse" if self._url is None else self._url.scheme
        place = self._given.url.rpartition("/")[2] if self._url is None else self._url.places[0]
        return f"{scheme}://{place}/{self._database}"

    def __repr__(self) -> str:
        return f"ClickhouseBackend({self.address!r})"

    def open(self) -> None:
        if self._client is not None and self._ready:
            return
        self.close()
        with self._translated():
            client = self._connect()
            if self._ready:
                pass  # looked at when this object first connected, and nothing was missing since
            elif self._setup:
                schemas.ensure(client, self._database)
            elif schemas.version(client, self._database) is None:
                script = schemas.script(self._database, self._user)
                raise Misconfigured(f"{self.address}: there are no tables; as an administrator run:\n{script}")
        self._held.put(client)
        self._ready = True

    def _connect(self) -> Any:
        if self._url is None:
            return self._given
        return connect(self._url, self.address, tls=self._url.scheme == "clickhouse+https")

    @property
    def _client(self) -> Any:
        return self._held.get()

    def close(self) -> None:
        self._held.close()

    # --- writing ---

    def write(self, batch: Batch) -> WriteResult:
        if not batch.records:
            return ACCEPTED
        self.open()
        parts, rejected = parts_of(batch, self._shape, shared_cells(batch.header, time.time_ns()))
        with self._translated():
            for own, table in ((False, "points"), (True, "documents")):
                lines = [line for part, lines in parts.items() if part.own is own for line in lines.items()]
                if lines:
                    data = "\n".join(line for _, line in sorted(lines)).encode()
                    place = f"{schemas.quoted(self._database)}.{table}"
                    once = memoryview(data)  # bytes would be sent again by the driver when a connection breaks
                    self._client.raw_insert(place, insert_block=once, fmt="JSONEachRow", settings=_INSERT)
        return WriteResult(rejected) if rejected else ACCEPTED

    # --- asking ---

    def query(self, query: Query) -> list[Series]:
        with self._reader() as client:
            return queries.answer(client, query, queries.native(self._database, query))

    def query_foreign(self, query: Query, foreign: Foreign) -> list[Series]:
        errors = driver().driver.exceptions
        with self._reader() as client:
            try:
                return queries.answer(client, query, queries.foreign(self._database, foreign, query))
            except errors.DatabaseError as error:
                raise QueryError(f"{foreign.source}: {sentence(error)}; correct the source, or its columns") from error

    def records(self, query: Query, *, newest: int | None = None) -> Iterator[Record]:
        source = queries.native(self._database, query)
        columns = ", ".join(COLUMNS)
        sql = f"SELECT {columns} FROM ({source}) AS source"
        if newest is not None:
            newest_first = "ORDER BY timestamp_ns DESC, segment DESC, place DESC"
            sql = f"SELECT {columns} FROM ({sql} {newest_first} LIMIT {newest:d}) AS newest"
        sql = f"{sql} ORDER BY timestamp_ns, segment, place"
        headers: dict[tuple[Any, ...], Any] = {}
        with self._reader() as client, client.query_row_block_stream(sql, settings=_READ) as blocks:
            for block in blocks:
                yield from from_rows(block, headers, self._shape)

    @contextmanager
    def _reader(self) -> Iterator[Any]:
        """A client for one question: the open one (without a session, threads may share it), else one of its own."""
        with self._translated():
            opened = self._client
            if opened is not None and self._ready:
                yield opened
                return
            client = self._connect()
            try:
                yield client
            finally:
                if client is not self._given:
                    client.close()

    # --- looking after it ---

    def setup(self) -> list[str]:
        with self._reader() as client:
            return schemas.ensure(client, self._database)

    def check(self) -> list[Line]:
        with self._reader() as client:
            return schemas.check(client, self._database)

    def indices(self) -> list[dict[str, Any]]:
        d, held = schemas.quoted(self._database), []
        with self._reader() as client:
            for table in ("points", "documents"):
                sql = f"SELECT count(), min(timestamp_ns), max(timestamp_ns) FROM {d}.{table} FINAL"
                records, oldest, newest = client.query(sql).result_rows[0]
                where = f"database = {schemas.text(self._database)} AND table = '{table}' AND active"
                size = client.query(f"SELECT sum(bytes_on_disk) FROM system.parts WHERE {where}").result_rows[0][0]
                span = (oldest / 1e9, newest / 1e9) if records else (None, None)
                entry = {"name": table, "records": records, "size_bytes": size, "oldest": span[0], "newest": span[1]}
                held.append(entry)
        return held

    def prune(self, before: float) -> int:
        """Drop the partitions that are older as a whole, and delete what is older in the others, at once."""
        d, before_ns, gone = schemas.quoted(self._database), nanoseconds(before, "before"), 0
        with self._reader() as client:
            for table in ("points", "documents"):
                sql = f"SELECT count() FROM {d}.{table} FINAL WHERE timestamp_ns < {before_ns}"
                old = client.query(sql).result_rows[0][0]
                if not old:
                    continue
                gone += old
                if table == "points":
                    for partition in self._whole_partitions(client, before_ns):
                        client.command(f"ALTER TABLE {d}.points DROP PARTITION {partition}")
                client.command(f"ALTER TABLE {d}.{table} DELETE WHERE timestamp_ns < {before_ns}", settings=_SYNC)
        return int(gone)

    def _whole_partitions(self, client: Any, before_ns: int) -> list[int]:
        where = f"database = {schemas.text(self._database)} AND table = 'points' AND active"
        rows = client.query(f"SELECT DISTINCT partition FROM system.parts WHERE {where}").result_rows
        size = schemas.PARTITION_NS
        # the division rounds towards zero, so partition 0 reaches from -size to size
        ends = {int(text): (int(text) + 1) * size if int(text) >= 0 else int(text) * size + 1 for (text,) in rows}
        return sorted(number for number, end in ends.items() if end <= before_ns)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with translated(self.address, self._database, self._user):
                yield
        except Misconfigured:
            self._ready = False  # tables may have gone, so the next `open` looks
            raise


def _close(client: Any) -> None:
    client.close()
