"""A URL with `+https` for a server without TLS, and the other way round: what people then read names the remedy."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.contract.search_access import certificates

from tallystick.errors import Misconfigured, Unavailable
from tallystick.plugins import backend_from_url
from tallystick.queries import Query

ADD = "where the server wants TLS, add \\+https to the URL's scheme"
LEAVE = "speaks no TLS: leave \\+https away"
SCHEMES = pytest.mark.parametrize("scheme", ["influxdb", "influxdb2", "influxdb3", "opensearch", "elasticsearch"])


@contextmanager
def answering(greeting: bytes = b"", context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that says `greeting` to whatever comes, and closes, until its port is asked no more; the port."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while not over.is_set():
                connection, _ = server.accept()
                with connection:
                    try:
                        spoken = connection if context is None else context.wrap_socket(connection, server_side=True)
                        spoken.recv(4096)
                        spoken.sendall(greeting)
                        connection.shutdown(socket.SHUT_WR)
                        connection.settimeout(1)
                        while connection.recv(4096):  # a close with something unread would be a reset
                            pass
                    except OSError:
                        pass  # the other side did not like it: that is the test

        thread = threading.Thread(target=serve)
        thread.start()
        port: int = server.getsockname()[1]
        try:
            yield port
        finally:
            over.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


@SCHEMES
def test_tls_to_a_server_without_it(scheme: str) -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as port:
        backend = backend_from_url(f"{scheme}+https://127.0.0.1:{port}/metrics")
        with pytest.raises(Misconfigured, match=LEAVE):
            backend.query(Query("hits"))
        backend.close()


@SCHEMES
def test_no_tls_to_a_server_that_wants_it(scheme: str, tmp_path: Path) -> None:
    """The server, OpenSSL's, closes without a word."""
    certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    with answering(context=context) as port:
        backend = backend_from_url(f"{scheme}://127.0.0.1:{port}/metrics")
        with pytest.raises(Unavailable, match=ADD):
            backend.query(Query("hits"))
        backend.close()


@pytest.mark.parametrize("scheme", ["influxdb", "influxdb2", "influxdb3"])
def test_no_tls_to_a_server_that_says_so_in_its_own_language(scheme: str) -> None:
    with answering(b"\x15\x03\x03\x00\x02\x02\x32") as port:  # an alert of TLS 1.2: fatal, decode_error
        backend = backend_from_url(f"{scheme}://127.0.0.1:{port}/metrics")
        with pytest.raises(Misconfigured, match="speaks TLS: add"):
            backend.query(Query("hits"))
        backend.close()
