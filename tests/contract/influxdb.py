"""Databases of our own on the real InfluxDB servers."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.contract.http_gate import Request
from tests.services import service

from tallystick.backends.base import Backend, Readable
from tallystick.backends.influxdb import InfluxdbBackend
from tallystick.backends.influxdb.influxql import InfluxqlServer, identifier
from tallystick.backends.influxdb.servers import Server1, Server2
from tallystick.queries import Query

TOKEN = "TALLYSTICK_TEST_INFLUXDB2_TOKEN"

os.environ.setdefault(TOKEN, "tallystick-token")
_numbers = itertools.count()


def new_name(version: int) -> str:
    """Odd, but one that the server takes."""
    return f"contract {os.getpid()}{'/' if version == 2 else ' '}{next(_numbers)}"


def url_of(version: int, port: int | None = None, name: str | None = None, tls: str = "", **options: Any) -> str:
    """A database of our own on the server of this version, or on this port; `tls` is what follows the scheme."""
    if version == 2:
        options = {"org": "tallystick", "token_env": TOKEN, **options}
    if port is None:
        port = urlsplit(service(f"influxdb{version}")).port
    given = "&".join(f"{key}={value}" for key, value in options.items() if value is not None)
    scheme = "influxdb" if version == 1 else "influxdb2"
    place = (name or new_name(version)).replace(" ", "%20")
    return f"{scheme}{tls}://127.0.0.1:{port}/{place}?{given}"


def drop(backend: Backend) -> None:
    assert isinstance(backend, InfluxdbBackend)
    server = backend._version(backend._url)
    server.prepare(create=True)
    if isinstance(server, Server1):
        server.ask([f"DROP DATABASE {identifier(server.database)}"])
    elif isinstance(server, Server2):
        server._api("DELETE", f"buckets/{server._place['bucket']}", {})
    server.close()


@contextmanager
def fresh(version: int, **options: Any) -> Iterator[InfluxdbBackend]:
    """An open backend on an empty database."""
    backend = InfluxdbBackend.from_url(url_of(version, **options))
    backend.open()
    try:
        yield backend
    finally:
        drop(backend)
        backend.close()


def server_of(backend: InfluxdbBackend) -> InfluxqlServer:
    backend.open()
    assert backend._server is not None
    return backend._server


def write_lines(backend: InfluxdbBackend, *lines: str) -> None:
    """As another tool would."""
    assert server_of(backend).write("\n".join(lines).encode()).ok


def names(backend: Readable) -> list[str]:
    """Of all that is stored."""
    return sorted(record.name for record in backend.records(Query()))


def is_write(request: Request) -> bool:
    return request.path.endswith("/write")
