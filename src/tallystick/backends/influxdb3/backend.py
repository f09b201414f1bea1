"""Records in InfluxDB 3: the points of `influxdb/lines.py` by `/api/v3/write_lp`, questions in SQL by
`/api/v3/query_sql`.

What differs from versions 1 and 2: the server makes the database with the first line, tells of every refused line by
its number, has no limit on series, and cannot delete a row. So there is nothing to set up, `prune` says what to do
instead (a retention is set with the server's own tools), and of records with ids of the caller's all versions stay;
whoever asks sees the newest.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any, ClassVar, Final, Self
from urllib.parse import quote, urlencode

import msgspec

from tallystick.backends._url import ServerUrl, read_url
from tallystick.backends.base import ACCEPTED, Foreign, Line, WriteResult
from tallystick.backends.influxdb.http import Answer, Http, check, no_influxdb, no_json, other_version, taken
from tallystick.backends.influxdb.lines import Native, Shape, to_record
from tallystick.backends.influxdb.verdicts import add, refusals, whole_requests
from tallystick.backends.influxdb3 import care, sql
from tallystick.backends.influxdb3.foreign import answer_foreign
from tallystick.errors import BackendError, Misconfigured, QueryError, SettingsError, TooLarge, Unavailable
from tallystick.masking import Secret
from tallystick.processes import PerProcess
from tallystick.queries import Query, Series
from tallystick.records import Batch, Record

_COLUMNS: Final = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'iox'"
_PAGE: Final = 5_000
_DATABASE: Final = re.compile("[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9_-]+)?")
"""What the server takes as a name, with a retention policy of version 1 behind it or without."""


class _Server:
    """One server with one database, and one connection to it. Used by one thread at a time."""

    def __init__(self, url: ServerUrl) -> None:
        if len(url.hosts) != 1 or not url.name:
            raise SettingsError(f"backend: {url.scheme}://{url.places[0]} must have one host and a database: /metrics")
        if not _DATABASE.fullmatch(url.name):
            raise SettingsError(f"backend: {url.name!r} is no database of InfluxDB 3; take letters, digits, _ and -")
        self.address = f"{url.scheme}://{url.places[0]}/{quote(url.name)}"
        token = url.options.get("token")
        self._http = Http(url, self.address, (lambda: f"Bearer {token.reveal()}") if token else None)
        self.database = url.name

    def close(self) -> None:
        self._http.close()

    def write(self, body: bytes) -> Answer:
        """An answer of 400 or 422 is about lines when it lists them, and else about the request, whatever is in it."""
        options = urlencode({"db": self.database, "precision": "nanosecond", "accept_partial": "true"})
        answer = self._http.request("POST", f"/api/v3/write_lp?{options}", body)
        if answer.status == 500 and "max request size" in answer.text:
            raise TooLarge(f"{self.address}: {answer.text}")
        if answer.status not in (400, 422):
            return taken(answer, self.address)
        lines = refusals(answer)
        if not lines or any("new database would exceed" in line.error_message for line in lines):
            said = f"{answer.text}{f' ({lines[0].error_message})' if lines else ''}"
            raise Misconfigured(f"{self.address} answered {answer.status}: {said}; correct the backend's URL")
        return answer

    def version(self) -> str:
        """What `GET /ping` says, in a header, and in JSON for those that send no such header. Raises `Misconfigured`
        for what is no InfluxDB 3: other products answer, too."""
        answer = self._http.request("GET", "/ping")
        version = (answer.headers.get("x-influxdb-version") or _said_version(answer.body)).removeprefix("v")
        if answer.ok and version.startswith("3."):
            return version
        if answer.status > 400:
            check(answer, self.address)
        said = f"{self.address} answered GET /ping with {answer.status} and no version 3"
        raise Misconfigured(f"{said}; {no_influxdb(self.address)}{other_version(answer, self.address)}")

    def ask(self, statement: str) -> list[sql.Row]:
        asked = msgspec.json.encode({"db": self.database, "q": statement, "format": "json"})
        answer = self._http.request("POST", "/api/v3/query_sql", asked, "application/json")
        if answer.status == 404 and "database" in answer.text:  # it comes with the first line
            return []
        try:
            check(answer, self.address)
        except Unavailable:
            raise
        except BackendError as error:
            raise QueryError(str(error)) from None
        try:
            rows: list[sql.Row] = msgspec.json.decode(answer.body)
        except msgspec.MsgspecError:
            raise no_json(answer, self.address) from None
        return rows

    def tables(self) -> dict[str, list[str]]:
        """Those of ours; the tables of others in the same database are left alone."""
        found: dict[str, list[str]] = {}
        for row in self.ask(_COLUMNS):
            found.setdefault(row["table_name"], []).append(row["column_name"])
        return {table: columns for table, columns in found.items() if {"timestamp_ns", "writer"} <= set(columns)}


def _said_version(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["version"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""


class Influxdb3Backend:
    """`influxdb3://host:8181/database?token_env=…`, also with `+https` after the scheme.

    Options of the URL: `token_env`, `token_file`, `gzip` (default: to other hosts only), `timeout_seconds` (each call),
    `connect_timeout_seconds`, `ca_file`, `cert_file`, `key_file`, `insecure_tls`.
    """

    inline: ClassVar[bool] = False

    def __init__(self, url: ServerUrl, *, shape: Shape | None = None) -> None:
        self._url = url
        self._shape = Native() if shape is None else shape
        self.address = _Server(url).address
        self._held = PerProcess(_Server.close, leave=_Server.close)

    @classmethod
    def from_url(cls, url: str) -> Self:
        tls = url.partition("://")[0].endswith("+https")
        return cls(read_url(url, default_port=8181, tls=tls, options={"token": Secret, "gzip": bool}, login=False))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"

    def open(self) -> None:
        if self._server is None:
            self._held.put(_Server(self._url))

    @property
    def _server(self) -> _Server | None:
        return self._held.get()

    def close(self) -> None:
        self._held.close()

    def write(self, batch: Batch) -> WriteResult:
        if not batch.records:
            return ACCEPTED
        self.open()
        assert self._server is not None
        with whole_requests():
            rejected = add(self._server, self._shape, batch)
        return WriteResult(rejected) if rejected else ACCEPTED

    def query(self, query: Query) -> list[Series]:
        with closing(_Server(self._url)) as server:
            statement = sql.statement(server.tables(), query)
            return [] if statement is None else sql.series(query, server.ask(statement))

    def query_foreign(self, query: Query, foreign: Foreign) -> list[Series]:
        with closing(_Server(self._url)) as server:
            return answer_foreign(server.ask, query, foreign)

    def records(self, query: Query, *, newest: int | None = None) -> Iterator[Record]:
        with closing(_Server(self._url)) as server:
            tables = server.tables()
            names = sql.matching(tables, query)
            if newest is None:
                yield from heapq.merge(*(_read(server, tables, name, query) for name in names), key=_order)
            else:
                last = (record for name in names for record in _newest(server, tables, name, query, newest))
                yield from sorted(heapq.nlargest(newest, last, key=_order), key=_order)

    def setup(self) -> list[str]:
        """Asks whether it is the server; nothing is ever missing, since that makes all with the first line."""
        with closing(_Server(self._url)) as server:
            server.version()
        return []

    def check(self) -> list[Line]:
        with closing(_Server(self._url)) as server:
            return care.check(server.address, server.version(), server.tables)

    def indices(self) -> list[dict[str, Any]]:
        with closing(_Server(self._url)) as server:
            return care.indices(server.ask, server.tables())

    def prune(self, before: float) -> int:
        """Raises `BackendError`: the server deletes no single record."""
        care.prune(self.address, self._url.name)


def _order(record: Record) -> tuple[int, str, int]:
    return record.timestamp_ns, record.header.segment, record.offset


def _read(server: _Server, tables: sql.Tables, table: str, query: Query) -> Iterator[Record]:
    """A table page by page, each beginning behind the last row of the one before."""
    after = ""
    while (select := _select(tables, table, query)) is not None:
        rows = server.ask(f"{select}{after} ORDER BY p.timestamp_ns, p.writer, p.time LIMIT {_PAGE}")
        yield from (_record(table, row) for row in rows)
        if len(rows) < _PAGE:
            return
        moment, writer, at = rows[-1]["timestamp_ns"], sql.literal(rows[-1]["writer"]), rows[-1]["_at"]
        later = f"p.writer > {writer} OR (p.writer = {writer} AND p.time > to_timestamp_nanos({at}))"
        after = f" AND (p.timestamp_ns > {moment} OR (p.timestamp_ns = {moment} AND ({later})))"


def _newest(server: _Server, tables: sql.Tables, table: str, query: Query, count: int) -> Iterator[Record]:
    select = _select(tables, table, query)
    if select is not None:
        newest_first = "ORDER BY p.timestamp_ns DESC, p.writer DESC, p.time DESC"
        yield from (_record(table, row) for row in server.ask(f"{select} {newest_first} LIMIT {count}"))


def _select(tables: sql.Tables, table: str, query: Query) -> str | None:
    rest = sql.from_where(tables, table, query)
    versions = sql.newest_versions(tables)
    start = f"WITH {versions.rstrip(', ')} " if versions else ""
    return None if rest is None else f"{start}SELECT p.*, CAST(p.time AS BIGINT) AS _at {rest}"


def _record(table: str, row: dict[str, Any]) -> Record:
    there = {column: cell for column, cell in row.items() if cell is not None and column not in ("time", "_at")}
    return to_record(table, row["_at"], there)  # no tag of a record is `_at`, since names with a `_` are encoded
