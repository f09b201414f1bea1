"""ClickHouse against the contract: the real engine, behind an HTTP interface of the tests (scripts/services)."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
import pytest
from tests.contract.faults import FaultContract
from tests.services import service

from tallystick.backends.base import Backend
from tallystick.backends.clickhouse import ClickhouseBackend
from tallystick.testing import BackendContract

pytestmark = pytest.mark.service("clickhouse")

_numbers = itertools.count()


def new_url(place: str) -> str:
    """A database of our own."""
    return f"clickhouse://{place}/contract_{os.getpid()}_{next(_numbers)}"


def place() -> str:
    return urlsplit(service("clickhouse")).netloc


def client() -> Any:
    host, _, port = place().rpartition(":")
    return clickhouse_connect.get_client(host=host, port=int(port))


def drop(backend: Any) -> None:
    with client() as connection:
        connection.command(f"DROP DATABASE IF EXISTS `{backend._database}`")


class TestClickhouse(BackendContract):
    def make_backend(self, tmp_path: Path) -> Backend:
        return ClickhouseBackend.from_url(new_url(place()))

    def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, ClickhouseBackend)
        return ClickhouseBackend(backend._url)

    def tear_down(self, backend: Backend) -> None:
        drop(backend)


class TestClickhouseOnABadNetwork(FaultContract):
    server = "clickhouse"

    def make_backend(self, port: int, timeout_seconds: float) -> Backend:
        return ClickhouseBackend.from_url(f"{new_url(f'127.0.0.1:{port}')}?timeout_seconds={timeout_seconds}")

    def tear_down(self, backend: Backend) -> None:
        drop(backend)
