"""A password, token or key in a file is read at each connect: one that is changed there needs no restart."""

from __future__ import annotations

import base64
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.faults import write_once

from tallystick.errors import Unavailable
from tallystick.plugins import backend_from_url
from tallystick.testing import counters, make_batch


class Doorkeeper(http.server.BaseHTTPRequestHandler):
    """Lets nothing in, and writes down what it was shown."""

    protocol_version = "HTTP/1.1"
    shown: list[str]

    def log_message(self, format: str, *_: object) -> None:
        """Not to standard error."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.shown.append(self.headers.get("Authorization", ""))
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.do_GET()


@pytest.fixture
def shown() -> Iterator[list[str]]:
    Doorkeeper.shown = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Doorkeeper) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Doorkeeper.shown.append(str(server.server_address[1]))
        yield Doorkeeper.shown
        server.shutdown()


@pytest.mark.parametrize(
    "url",
    [
        "clickhouse://ada@127.0.0.1:{}/m?password_file={}",
        "elasticsearch://ada@127.0.0.1:{}/m?password_file={}",
        "elasticsearch://127.0.0.1:{}/m?api_key_file={}",
        "influxdb://ada@127.0.0.1:{}/m?password_file={}",
        "influxdb2://127.0.0.1:{}/m?token_file={}",
        "influxdb3://127.0.0.1:{}/m?token_file={}",
        "opensearch://ada@127.0.0.1:{}/m?password_file={}",
        "opensearch://127.0.0.1:{}/m?bearer_token_file={}",
    ],
)
def test_a_changed_secret_is_read_at_the_next_connect(url: str, shown: list[str], tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("first\n")
    backend = backend_from_url(url.format(shown.pop(), file))
    for secret in ("first", "second"):
        file.write_text(secret)
        shown.clear()
        with pytest.raises(Unavailable):
            write_once(backend, make_batch(*counters(1)))
        assert shown
        plain = base64.b64encode(f"ada:{secret}".encode()).decode()
        assert all(secret in one or plain in one for one in shown)
    file.unlink()
    with pytest.raises(Unavailable, match=f"cannot read {file}"):
        write_once(backend, make_batch(*counters(1)))
    backend.close()
