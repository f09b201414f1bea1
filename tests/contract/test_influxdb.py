"""InfluxDB 1 and 2 against the contract, on real servers."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import ClassVar

import pytest
from tests.contract.faults import FaultContract
from tests.contract.influxdb import drop, url_of

from tallystick.backends.base import Backend
from tallystick.backends.influxdb import InfluxdbBackend
from tallystick.testing import BackendContract

pytestmark = pytest.mark.service("influxdb1", "influxdb2")

_numbers = itertools.count()


class InfluxdbContract(BackendContract):
    tells_arrival = False

    version: ClassVar[int]

    def make_backend(self, tmp_path: Path) -> Backend:
        return InfluxdbBackend.from_url(url_of(self.version))

    def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, InfluxdbBackend)
        return InfluxdbBackend(backend._url)

    def tear_down(self, backend: Backend) -> None:
        drop(backend)


class TestInfluxdb1(InfluxdbContract):
    version = 1


class TestInfluxdb2(InfluxdbContract):
    version = 2


class InfluxdbOnABadNetwork(FaultContract):
    version: ClassVar[int]

    def make_backend(self, port: int, timeout_seconds: float) -> Backend:
        return InfluxdbBackend.from_url(url_of(self.version, port, timeout_seconds=timeout_seconds))

    def tear_down(self, backend: Backend) -> None:
        drop(backend)


class TestInfluxdb1OnABadNetwork(InfluxdbOnABadNetwork):
    server = "influxdb1"
    version = 1


class TestInfluxdb2OnABadNetwork(InfluxdbOnABadNetwork):
    server = "influxdb2"
    version = 2
