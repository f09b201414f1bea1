"""A door before a real HTTP server, which lets requests through or answers them itself: for what a server does only
when it is behind a password, a proxy or TLS, or in trouble.

    with HttpGate("http://127.0.0.1:19201") as gate:
        gate.rule = lambda request: (503, {"Retry-After": "7"}, b"") if request.path == "/_bulk" else None
"""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

FRAMING = {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"}

Reply = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Request:
    """`headers` have names in lower case; `path` has no parameters; `port` is the client's, of this connection."""

    method: str
    path: str
    target: str
    headers: dict[str, str]
    body: bytes
    port: int


class HttpGate:
    """`rule` gives the reply to a request, or None to let it through. `context` makes it a door of TLS."""

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self.rule: Callable[[Request], Reply | None] = lambda _: None
        self.requests: list[Request] = []
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(
                    self.command, urlsplit(self.path).path, self.path, headers, body, self.client_address[1]
                )
                gate.requests.append(request)
                status, given, raw = gate.rule(request) or pass_on(request)
                self.send_response(status)
                for name, value in given.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                """Quietly."""

        def pass_on(request: Request) -> Reply:
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
            sent = {name: value for name, value in request.headers.items() if name not in ("host", "connection")}
            connection.request(request.method, request.target, request.body, sent)
            answer = connection.getresponse()
            raw = answer.read()
            connection.close()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in FRAMING}
            return answer.status, kept, raw

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that hangs up, or refuses our certificate, is what the test is about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
