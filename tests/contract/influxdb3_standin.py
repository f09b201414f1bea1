"""Stands in for InfluxDB 3: the calls of its HTTP API that we use, as its documentation describes them.

    with StandIn() as server:
        Influxdb3Backend.from_url(f"influxdb3://127.0.0.1:{server.port}/metrics")

Lines go into tables of SQLite, a column for each tag and field; SQL is answered by SQLite, in which upper case in
quoted names is written otherwise, since it would take `a` and `A` for one name. So what is shown here is that our lines
can be taken apart by another parser than the real servers', that refused lines are understood by their number, and that
the SQL is sound as far as SQLite and DataFusion agree. It is no proof about the real server.
"""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
import threading
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType, TracebackType
from typing import Any, Self
from urllib.parse import SplitResult, parse_qs, urlsplit

VERSION = "3.2.1"

Values = dict[str, tuple[str, Any]]
"""Type and value of each column."""


def parse_line(line: str) -> tuple[str, Values]:
    """Line protocol as the reference describes it: measurement, tags, fields, time."""
    match = re.fullmatch(r"((?:[^ \\]|\\.)+) ((?:\"(?:[^\"\\]|\\.)*\"|[^ \"])+) (-?\d+)", line, re.DOTALL)
    if match is None:
        raise ValueError("the line has no measurement, fields and time")
    measurement, *pairs = re.split(r"(?<!\\),", match[1])
    values: Values = {"time": ("Timestamp", int(match[3]))}
    for pair in pairs:
        key, value = re.split(r"(?<!\\)=", pair)
        if not value:
            raise ValueError(f"the tag {key} is empty")
        values[_plain(key)] = "Dictionary(Int32, Utf8)", _plain(value)
    for pair in re.findall(r"(?:\"(?:[^\"\\]|\\.)*\"|[^,\"])+", match[2], re.DOTALL):
        key, _, value = pair.partition("=")
        if key in values:
            raise ValueError(f"{key} is there twice")
        values[key] = _field(value)
    return re.sub(r"\\([, ])", r"\1", measurement), values


def _plain(text: str) -> str:
    return re.sub(r"\\([,= ])", r"\1", text)


def _field(text: str) -> tuple[str, Any]:
    if text.startswith('"'):
        inner = re.sub(r'\\(["\\])', r"\1", text[1:-1])
        if len(inner.encode()) > 65_536:
            raise ValueError("a string field is longer than 64 KiB")
        return "Utf8", inner
    if text.endswith("i"):
        return "Int64", int(text[:-1])
    return "Float64", float(text)


class _Database:
    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", check_same_thread=False)
        self.connection.execute("ATTACH ':memory:' AS information_schema")
        self.connection.execute(
            "CREATE TABLE information_schema.columns (table_schema, table_name, column_name, data_type)"
        )
        self.connection.create_function("to_timestamp_nanos", 1, lambda moment: moment, deterministic=True)
        self.columns: dict[str, dict[str, str]] = {}

    def take(self, line: str) -> None:
        """Raises `ValueError` for a line that is refused."""
        table, values = parse_line(line)
        known = self.columns.setdefault(table, {})
        for column, (type_, _) in values.items():
            if known.setdefault(column, type_) != type_:
                expected = f"invalid column type for column '{column}', expected {known[column]}, got {type_}"
                raise ValueError(expected)
        tags = [column for column, (type_, _) in values.items() if type_.startswith("Dictionary")]
        key = json.dumps([values["time"][1], sorted((tag, values[tag][1]) for tag in tags)])
        self._make(table, values)
        columns = ", ".join(_quoted(column) for column in values)
        marks = ", ".join("?" * len(values))
        sets = ", ".join(f"{_quoted(column)} = excluded.{_quoted(column)}" for column in values)
        insert = f'INSERT INTO {_quoted(table)} ("_key", {columns}) VALUES (?, {marks})'
        cells = [key, *(value for _, value in values.values())]
        self.connection.execute(f'{insert} ON CONFLICT ("_key") DO UPDATE SET {sets}', cells)

    def _make(self, table: str, values: Values) -> None:
        self.connection.execute(f'CREATE TABLE IF NOT EXISTS {_quoted(table)} ("_key" PRIMARY KEY)')
        there = {_uncased(row[1]) for row in self.connection.execute(f"PRAGMA table_info({_quoted(table)})")}
        for column in values.keys() - there:
            self.connection.execute(f"ALTER TABLE {_quoted(table)} ADD COLUMN {_quoted(column)}")
            row = ("iox", table, column, values[column][0])
            self.connection.execute("INSERT INTO information_schema.columns VALUES (?, ?, ?, ?)", row)

    def ask(self, statement: str) -> list[dict[str, Any]]:
        pieces = re.split(r"('(?:[^']|'')*')", statement)
        for number in range(0, len(pieces), 2):  # outside of texts
            pieces[number] = re.sub(r'"(?:[^"]|"")*"', lambda found: _cased(found[0]), pieces[number])
        cursor = self.connection.execute("".join(pieces))
        names = [_uncased(column[0]) for column in cursor.description]
        rows = (dict(zip(names, row, strict=True)) for row in cursor.fetchall())
        return [{name: cell for name, cell in row.items() if cell is not None and name != "_key"} for row in rows]


def _quoted(name: str) -> str:
    return _cased('"' + name.replace('"', '""') + '"')


def _cased(name: str) -> str:
    return re.sub("[A-Z^]", lambda found: f"^{found[0].lower()}", name)


def _uncased(name: str) -> str:
    return re.sub(r"\^(.)", lambda found: found[1].upper(), name)


class StandIn:
    """`token`, when given, is asked for. Databases come with the first line, as on the real server."""

    def __init__(self, token: str = "") -> None:
        self.databases: dict[str, _Database] = {}
        self._lock = threading.Lock()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                if self.admitted():
                    self.reply(*stand_in._get(urlsplit(self.path).path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.admitted():
                    self.reply(*stand_in._post(urlsplit(self.path), body.decode()))

            def admitted(self) -> bool:
                if token and self.headers.get("Authorization") != f"Bearer {token}":
                    self.reply(401, {"error": "the request was not authenticated"})
                    return False
                return True

            def reply(self, status: int, content: Any, headers: Mapping[str, str] = MappingProxyType({})) -> None:
                raw = b"" if status == 204 else json.dumps(content).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if raw:
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: Any) -> None:
                """Quietly."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        for database in self.databases.values():
            database.connection.close()

    def _get(self, path: str) -> tuple[int, Any, dict[str, str]]:
        """`/ping` is documented to say the version, in JSON and in a header."""
        if path != "/ping":
            return 404, {"error": "not found"}, {}
        said = {"version": VERSION, "revision": "0000000000", "process_id": str(uuid.uuid4())}
        return 200, said, {"X-Influxdb-Version": VERSION, "X-Influxdb-Build": "Core"}

    def _post(self, place: SplitResult, body: str) -> tuple[int, Any]:
        with self._lock:
            if place.path == "/api/v3/write_lp":
                return self._write(parse_qs(place.query), body)
            if place.path == "/api/v3/query_sql":
                return self._query(json.loads(body))
        return 404, {"error": "not found"}

    def _write(self, options: dict[str, list[str]], body: str) -> tuple[int, Any]:
        assert options["precision"] == ["nanosecond"]
        assert options["accept_partial"] == ["true"]
        if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]*", options["db"][0]):
            return 400, {"error": "invalid character in database or rp name: must be ASCII, containing only letters, …"}
        database = self.databases.get(options["db"][0])
        if database is None:
            database = self.databases[options["db"][0]] = _Database()
        refused = []
        for number, line in enumerate(lines_of(body), 1):
            try:
                database.take(line)
            except ValueError as error:
                refused.append({"original_line": line, "line_number": number, "error_message": str(error)})
        if refused:
            return 400, {"error": "partial write of line protocol occurred", "data": refused[:100]}
        return 204, None

    def _query(self, asked: dict[str, str]) -> tuple[int, Any]:
        database = self.databases.get(asked["db"])
        if database is None:
            return 404, {"error": f"database not found: {asked['db']}"}
        try:
            return 200, database.ask(asked["q"])
        except sqlite3.Error as error:
            return 400, {"error": f"{error}: {asked['q']}"}


def lines_of(body: str) -> list[str]:
    """A newline in a string field does not end a line."""
    return [line for line in re.findall(r"(?:\"(?:[^\"\\]|\\.)*\"|[^\n\"])+", body, re.DOTALL) if line]
