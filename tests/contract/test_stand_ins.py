"""Bad networks and crashes where a stand-in, or a second server of a protocol, takes the place of the real one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import ClassVar

import pytest
from tests.contract import influxdb3_standin
from tests.contract.faults import TIMEOUT_SECONDS, CrashContract, FaultContract
from tests.proxy import FaultProxy
from tests.rethinkdb import standin

from tallystick.backends.base import Backend
from tallystick.backends.influxdb3 import Influxdb3Backend
from tallystick.backends.mongodb import MongodbBackend
from tallystick.backends.rethinkdb import RethinkdbBackend

KILL_9 = "after kill 9 of the server and its restart delivery goes on and nothing is twice"

_numbers = itertools.count()


def new_url(scheme: str, port: int, timeout_seconds: float, more: str = "") -> str:
    """A store of our own."""
    name = f"stand_in_{os.getpid()}_{next(_numbers)}"
    return f"{scheme}://127.0.0.1:{port}/{name}?timeout_seconds={timeout_seconds}{more}"


class TestInfluxdb3OnABadNetwork(FaultContract):
    does_not_apply: ClassVar[dict[str, str]] = {
        KILL_9: "the stand-in has no disk to come back from",
        "a schema that was changed or lost is noticed and mended": "the server makes tables and columns as lines come",
    }

    cuts = 200

    @pytest.fixture
    def proxy(self) -> Iterator[FaultProxy]:
        with influxdb3_standin.StandIn() as server, FaultProxy("127.0.0.1", server.port) as proxy:
            yield proxy

    def make_backend(self, port: int, timeout_seconds: float) -> Backend:
        return Influxdb3Backend.from_url(new_url("influxdb3", port, timeout_seconds))


@pytest.mark.service("mongodb-java")
class TestMongodbJavaOnABadNetwork(FaultContract):
    does_not_apply: ClassVar[dict[str, str]] = {KILL_9: "this server keeps its records in memory"}
    server = "mongodb-java"
    cuts = 200

    def make_backend(self, port: int, timeout_seconds: float) -> Backend:
        return MongodbBackend.from_url(new_url("mongodb", port, timeout_seconds, "&directConnection=true"))

    def tear_down(self, backend: Backend) -> None:
        backend._client.drop_database(backend._database)  # type: ignore[attr-defined]


class TestRethinkdbCrash(CrashContract):
    """What the stand-in stores outlives its end."""

    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        with standin.StandIn() as server:
            self.kill, self.restart = server.stop, server.start  # type: ignore[method-assign]
            backend = RethinkdbBackend.from_url(new_url("rethinkdb", server.port, TIMEOUT_SECONDS))
            yield backend
            backend.close()
