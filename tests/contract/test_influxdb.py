"""InfluxDB against the contract: versions 1 and 2, on real servers."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from tests.contract.faults import FaultContract
from tests.services import service

from tallystick.backends.base import Backend
from tallystick.backends.influxdb import InfluxdbBackend
from tallystick.backends.influxdb_servers import Server1, Server2, identifier
from tallystick.testing import BackendContract

pytestmark = pytest.mark.service("influxdb1", "influxdb2")

os.environ["TALLYSTICK_TEST_INFLUXDB2_TOKEN"] = "tallystick-token"
_numbers = itertools.count()


def new_name(version: int) -> str:
    """Odd, but one that the server takes."""
    return f"contract {os.getpid()}{'/' if version == 2 else ' '}{next(_numbers)}"


def url_of(version: int, port: int | None = None, name: str | None = None, **options: Any) -> str:
    """A database of our own, of an odd name, on a server of this version."""
    if version == 2:
        options |= {"org": "tallystick", "token_env": "TALLYSTICK_TEST_INFLUXDB2_TOKEN"}
    if port is None:
        port = urlsplit(service(f"influxdb{version}")).port
    given = "&".join(f"{key}={value}" for key, value in options.items())
    scheme = "influxdb" if version == 1 else "influxdb2"
    place = (name or new_name(version)).replace(" ", "%20")
    return f"{scheme}://127.0.0.1:{port}/{place}?{given}"


def drop(backend: Backend) -> None:
    assert isinstance(backend, InfluxdbBackend)
    server = backend._version(backend._url)
    if isinstance(server, Server1):
        server.ask([f"DROP DATABASE {identifier(server.database)}"])
    elif isinstance(server, Server2):
        server.prepare(create=True)
        server._api("DELETE", f"buckets/{server._place['bucket']}", {})
    server.close()


class _Contract(BackendContract):
    tells_arrival = False

    version: ClassVar[int]

    def make_backend(self, tmp_path: Path) -> Backend:
        return InfluxdbBackend.from_url(url_of(self.version))

    def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, InfluxdbBackend)
        return InfluxdbBackend(backend._url)

    def tear_down(self, backend: Backend) -> None:
        drop(backend)


class TestInfluxdb1(_Contract):
    version = 1


class TestInfluxdb2(_Contract):
    version = 2


class _BadNetwork(FaultContract):
    version: ClassVar[int]

    def make_backend(self, port: int, timeout_seconds: float) -> Backend:
        return InfluxdbBackend.from_url(url_of(self.version, port, timeout_seconds=timeout_seconds))

    def tear_down(self, backend: Backend) -> None:
        drop(backend)


class TestInfluxdb1OnABadNetwork(_BadNetwork):
    server = "influxdb1"
    version = 1


class TestInfluxdb2OnABadNetwork(_BadNetwork):
    server = "influxdb2"
    version = 2
