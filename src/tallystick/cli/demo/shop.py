"""A small web shop that measures itself: the standard library's WSGI server, a few routes, and `Metrics`.

    python -m tallystick.cli.demo.shop --port 8000

then, in other terminals,

    curl 'http://127.0.0.1:8000/search?q=lamp'
    tallystick query 'shop.*' --by route

What it records: `shop.request`, a timing with the tags route, method and status; `shop.sale`, a counter of items;
`shop.revenue` in cents; `shop.stock`, a gauge; and the event `shop.sold_out`. `Shop` is the application, and `Measured`
is all that an application of yours would need around it.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from tallystick.recorder.metrics import Metrics

NOUNS = ("lamp", "chair", "table", "kettle", "blanket", "clock", "mirror", "vase", "shelf", "rug")
LOOKS = ("red", "blue", "oak", "brass", "tiny", "heavy", "plain", "striped", "round", "folding")
LONGEST_BODY_BYTES = 10_000


class Product:
    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.cents = 500 + 137 * number % 9_500
        self.stock = 20 + number % 15

    def shown(self) -> dict[str, Any]:
        return {"number": self.number, "name": self.name, "cents": self.cents, "in_stock": self.stock > 0}


class Shop:
    """The application: `GET /`, `GET /products/7`, `GET /search?q=lamp`, `POST /checkout` of `{"items": [7, 12]}`."""

    def __init__(self, metrics: Metrics) -> None:
        names = [f"{look} {noun}" for noun in NOUNS for look in LOOKS]
        self.products = {number: Product(number, name) for number, name in enumerate(names, 1)}
        self.metrics = metrics
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status, answer = self.answer(environ)
        body = json.dumps(answer).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(f"{status.value} {status.phrase}", headers)
        return [body]

    def answer(self, environ: WSGIEnvironment) -> tuple[HTTPStatus, object]:
        """Status and document. Puts the route into the environment, for who measures."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].rstrip("/") or "/"
        first, _, rest = path[1:].partition("/")
        environ["shop.route"] = path if path in ("/", "/search", "/checkout") else f"/{first}/…" if rest else "other"
        if method == "GET" and path == "/":
            return HTTPStatus.OK, [product.shown() for product in list(self.products.values())[-12:]]
        if method == "GET" and first == "products" and rest:
            product = self.products.get(int(rest)) if rest.isascii() and rest.isdigit() else None
            return (HTTPStatus.OK, product.shown()) if product else (HTTPStatus.NOT_FOUND, "no such product")
        if method == "GET" and path == "/search":
            words = parse_qs(environ.get("QUERY_STRING", "")).get("q", [""])[0].lower().split()
            return HTTPStatus.OK, [p.shown() for p in self.products.values() if all(word in p.name for word in words)]
        if method == "POST" and path == "/checkout":
            return self.checkout(environ)
        return HTTPStatus.NOT_FOUND, "no such page"

    def checkout(self, environ: WSGIEnvironment) -> tuple[HTTPStatus, object]:
        try:
            length = min(int(environ.get("CONTENT_LENGTH") or 0), LONGEST_BODY_BYTES)
            items = [self.products[int(number)] for number in json.loads(environ["wsgi.input"].read(length))["items"]]
        except (ValueError, KeyError, TypeError):
            return HTTPStatus.BAD_REQUEST, 'send {"items": [product numbers]}'
        with self._lock:
            missing = [item for item in set(items) if item.stock < items.count(item)]
            if missing:
                return HTTPStatus.CONFLICT, f"sold out: {', '.join(item.name for item in missing)}"
            for item in items:
                item.stock -= 1
            gone = [item for item in set(items) if item.stock == 0]
            left = sum(product.stock for product in self.products.values())
        self.metrics.increment("shop.sale", len(items))
        self.metrics.increment("shop.revenue", sum(item.cents for item in items), unit="cents")
        self.metrics.gauge("shop.stock", left)
        for item in gone:
            self.metrics.event("shop.sold_out", item.name)
        return HTTPStatus.OK, {"items": len(items), "cents": sum(item.cents for item in items)}


class Measured:
    """Records how long each request took, with its route, method and status."""

    def __init__(self, application: WSGIApplication, metrics: Metrics) -> None:
        self.application = application
        self.metrics = metrics

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status = "500"

        def noting(line: str, *rest: Any) -> Any:
            nonlocal status
            status = line[:3]
            return start_response(line, *rest)

        began = time.perf_counter()
        try:
            return self.application(environ, noting)
        finally:
            # The route, not the path: tags are for what there are few of.
            tags = {"route": environ.get("shop.route", "other"), "method": environ["REQUEST_METHOD"], "status": status}
            self.metrics.timing("shop.request", time.perf_counter() - began, tags=tags)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """The requests are recorded, not printed."""


def main() -> None:
    parser = argparse.ArgumentParser(description="A small web shop that measures itself. Ends with Ctrl-C.")
    parser.add_argument("--port", type=int, default=8000, help="on 127.0.0.1; 0 takes a free one (default: 8000)")
    parser.add_argument("--stop-with-stdin", action="store_true", help="end when standard input ends")
    asked = parser.parse_args()
    with Metrics(app="shop") as metrics:
        application = Measured(Shop(metrics), metrics)
        with make_server("127.0.0.1", asked.port, application, _Server, _Quiet) as server:
            sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
            sys.stdout.flush()
            if asked.stop_with_stdin:
                threading.Thread(target=_stop_with_stdin, args=(server,), daemon=True).start()
            try:
                server.serve_forever(poll_interval=0.1)
            except KeyboardInterrupt:
                pass


def _stop_with_stdin(server: WSGIServer) -> None:
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()
