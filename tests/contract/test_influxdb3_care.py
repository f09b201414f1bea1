"""Looking after InfluxDB 3: whether what answers is one, and what is said when it is something else.

The other products are the real ones where they can be had. The stand-in answers `/ping` as the documentation says.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from tests.contract.faults import write_once
from tests.contract.http_gate import HttpGate
from tests.contract.influxdb3_standin import VERSION, StandIn
from tests.services import service

from tallystick.backends.base import Managed
from tallystick.backends.influxdb import InfluxdbBackend
from tallystick.backends.influxdb3 import Influxdb3Backend
from tallystick.errors import BackendError, Misconfigured, Unavailable
from tallystick.records import GAUGE, Record
from tallystick.testing import at, counters, make_batch

NO_INFLUXDB_3 = "this is no InfluxDB 3: correct scheme, host and port"


@contextmanager
def other_product(status: int, body: bytes = b"<html>hello</html>") -> Iterator[int]:
    """An HTTP server that answers everything alike; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def on(port: int, more: str = "") -> Influxdb3Backend:
    return Influxdb3Backend.from_url(f"influxdb3://127.0.0.1:{port}/metrics{more}")


def test_check_says_the_version_and_what_is_there() -> None:
    with StandIn() as server:
        backend = on(server.port)
        assert isinstance(backend, Managed)
        assert backend.setup() == []
        said = [(line.ok, line.what) for line in backend.check()]
        assert said[0] == (True, f"influxdb3://127.0.0.1:{server.port}/metrics: InfluxDB {VERSION} answers")
        assert said[1] == (True, "no record yet; the first makes database and table")
        write_once(backend, make_batch(*counters(3), Record(at(9), GAUGE, "load", 1.5)))
        assert backend.check()[1].what == "2 tables of records"
        held = {index["name"]: index for index in backend.indices()}
        assert {name: index["records"] for name, index in held.items()} == {"hits": 3, "load": 1}
        assert held["load"]["oldest"] == held["load"]["newest"] == at(9) / 1e9
        backend.close()


@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 405, 501])
def test_another_product_is_said_to_be_no_influxdb_3(status: int) -> None:
    with other_product(status, b"" if status == 204 else b"<html>hello</html>") as port:
        for ask in (on(port).check, on(port).setup):
            with pytest.raises(Misconfigured, match=NO_INFLUXDB_3):
                ask()


@pytest.mark.parametrize(
    ("name", "scheme"), [("influxdb1", "influxdb"), ("influxdb2", "influxdb2"), ("victoriametrics", "influxdb")]
)
def test_an_older_influxdb_is_said_to_be_one(name: str, scheme: str) -> None:
    backend = on(urlsplit(service(name)).port or 0)
    with pytest.raises(Misconfigured, match=NO_INFLUXDB_3) as caught:
        backend.check()
    if name != "victoriametrics":
        assert f"its URL begins with {scheme}://" in str(caught.value)


def test_a_version_that_is_only_in_the_body_will_do() -> None:
    """The first releases of version 3 sent no such header."""
    with StandIn() as server, HttpGate(f"http://127.0.0.1:{server.port}") as gate:
        gate.rule = lambda request: (200, {}, b'{"version":"3.0.0"}') if request.path == "/ping" else None
        assert "InfluxDB 3.0.0 answers" in on(gate.port).check()[0].what


def test_a_wrong_token_and_a_server_that_is_down_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_TEST_WRONG", "apiv3_wrong")
    with StandIn(token="apiv3_right") as server, pytest.raises(Misconfigured, match=r"401.*token"):
        on(server.port, "?token_env=TALLYSTICK_TEST_WRONG").check()
    with pytest.raises(Unavailable, match="cannot be reached"):
        on(server.port).check()


def test_a_token_that_may_not_query_is_a_finding_of_check() -> None:
    with StandIn() as server, HttpGate(f"http://127.0.0.1:{server.port}") as gate:
        gate.rule = lambda request: (403, {}, b"{}") if request.path.endswith("query_sql") else None
        answers, asks = on(gate.port).check()
        assert (answers.ok, asks.ok) == (True, False)
        assert "403" in asks.what


def test_prune_says_who_forgets_instead() -> None:
    with StandIn() as server, pytest.raises(BackendError, match="--retention-period 90d metrics"):
        on(server.port).prune(0.0)


@pytest.mark.parametrize("url", ["influxdb3://127.0.0.1:{}/m", "influxdb2://127.0.0.1:{}/m?org=o&setup=no"])
@pytest.mark.parametrize("status", [200, 405, 501])
def test_no_record_counts_as_delivered_to_what_is_no_influxdb(url: str, status: int) -> None:
    """Also when it says that all went well."""
    make = Influxdb3Backend if url.startswith("influxdb3") else InfluxdbBackend
    with other_product(status) as port:
        backend = make.from_url(url.format(port))
        with pytest.raises(Misconfigured, match="this is no InfluxDB"):
            write_once(backend, make_batch(*counters(3)))
        backend.close()
