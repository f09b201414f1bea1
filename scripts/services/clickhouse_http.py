"""ClickHouse's HTTP interface, as far as clients of a single server need it, in front of the real engine (chDB).

Started by the script `clickhouse`, in an environment of its own: clickhouse_http.py PORT FOLDER.

What it has: GET /ping; queries and inserts by POST or GET, in any format; parameters (`param_x`), settings, `database`;
compressed bodies (gzip, lz4, zstd); the engine's own errors, their code in the header that clients read; a password.
What it has not: sessions (each request is one of its own: SET and temporary tables end with it), external data, users,
progress headers, compressed or streamed answers, replication. Requests run beside each other, as in the server.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import re
import signal
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import chdb
import lz4.frame
import zstandard

NOT_SETTINGS = {
    *{"query", "query_id", "database", "default_format", "session_id", "session_check", "session_timeout", "user"},
    *{"password", "client_protocol_version", "compress", "decompress", "buffer_size", "wait_end_of_query"},
    *{"enable_http_compression", "send_progress_in_http_headers", "http_headers_progress_interval_ms"},
}
INSERT = re.compile(rb"(\s*INSERT\s+INTO\b[^;]*?)\bFORMAT\s+(?!VALUES\b)(\w+)[ \t]*\r?(?:\n|$)", re.IGNORECASE)
ENDS_IN_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*(?:SETTINGS\b[^)]*)?$", re.IGNORECASE)
BAD_REQUEST, FORBIDDEN, NOT_FOUND = 400, 403, 404
STATUS = {
    **dict.fromkeys((6, 26, 27, 38, 41, 53, 62, 117, 457), BAD_REQUEST),  # cannot be parsed, or is of the wrong type
    **dict.fromkeys((46, 47, 50, 56, 60, 73, 81, 115), NOT_FOUND),  # unknown function, identifier, table, setting, …
    516: FORBIDDEN,
}


def unpacked(body: bytes, encoding: str) -> bytes:
    match encoding:
        case "gzip":
            return gzip.decompress(body)
        case "lz4":
            return bytes(lz4.frame.open(io.BytesIO(body)).read())  # a client sends several frames, one a block
        case "zstd":
            return bytes(zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True).read())
        case _:
            return body


class Interface(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave as one: the second of two would wait 40 ms for the first one's acknowledgement
    path_of_data: str
    password: str

    def do_GET(self) -> None:
        if urlsplit(self.path).path == "/ping" or not urlsplit(self.path).query:
            self.answer(200, b"Ok.\n")
        else:
            self.do_POST()

    def do_POST(self) -> None:
        asked = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self.body()
        try:
            if self.given_password(asked) != self.password:
                raise RuntimeError("Code: 516. DB::Exception: default: Authentication failed. (AUTHENTICATION_FAILED)")
            body = unpacked(body, self.headers.get("Content-Encoding", ""))
            statement = b"\n".join(filter(None, [asked.get("query", "").encode(), body]))
            answer, summary, form = self.run(statement, asked)
        except Exception as error:  # the engine raises RuntimeError, its codecs errors of their own
            code = re.match(r"Code: (\d+)", str(error))
            number = int(code[1]) if code else 1000
            headers = {"X-ClickHouse-Exception-Code": str(number)}
            self.answer(STATUS.get(number, 500), f"{error}\n".encode(), headers)
            return
        query_id = asked.get("query_id") or str(uuid.uuid4())
        self.answer(
            200,
            answer,
            {
                "X-ClickHouse-Summary": json.dumps(summary),
                "X-ClickHouse-Query-Id": query_id,
                "X-ClickHouse-Format": form,
                "X-ClickHouse-Timezone": "UTC",
                "X-ClickHouse-Server-Display-Name": "chdb",
            },
        )

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def given_password(self, asked: dict[str, str]) -> str:
        kind, _, login = self.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            return base64.b64decode(login).decode().partition(":")[2]
        return self.headers.get("X-ClickHouse-Key") or asked.get("password", "")

    def run(self, statement: bytes, asked: dict[str, str]) -> tuple[bytes, dict[str, str], str]:
        connection = chdb.connect(self.path_of_data)  # a session of the one engine of this process: 0.3 ms
        try:
            if settings := {
                name: value.replace("\\", "\\\\").replace("'", "\\'")
                for name, value in asked.items()
                if name not in NOT_SETTINGS and not name.startswith("param_")
            }:
                connection.query("SET " + ", ".join(f"{name} = '{value}'" for name, value in settings.items()))
            if database := asked.get("database"):
                connection.query(f"USE `{database}`")
            if insert := INSERT.match(statement):
                command, form = insert[1].decode(), insert[2].decode()
                inserter = connection.send_insert(command, form)
                inserter.append(statement[insert.end() :])
                written = str(inserter.finish().rows_written)
                return b"", {"written_rows": written, "read_rows": written}, form
            text = statement.decode()
            named = ENDS_IN_FORMAT.search(text)
            form = named[1] if named else asked.get("default_format") or "TabSeparated"
            parameters = {name[6:]: value for name, value in asked.items() if name.startswith("param_")}
            result = connection.query(text, form, params=parameters or None)
            summary = {"read_rows": str(result.storage_rows_read()), "read_bytes": str(result.storage_bytes_read())}
            return bytes(result.bytes() or b""), summary | {"written_rows": str(result.rows_written())}, form
        finally:
            connection.close()

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Nothing: the log is for what goes wrong."""


class FrontServer(ThreadingHTTPServer):
    request_queue_size = 128


def main() -> None:
    port, folder = int(sys.argv[1]), sys.argv[2]
    Interface.path_of_data, Interface.password = folder, os.environ.get("CLICKHOUSE_PASSWORD", "")
    engine = chdb.connect(folder)  # the first connection starts the engine, the last one to close ends it
    engine.query("CREATE DATABASE IF NOT EXISTS default")
    server = FrontServer(("127.0.0.1", port), Interface)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    server.server_close()
    engine.close()


if __name__ == "__main__":
    main()
