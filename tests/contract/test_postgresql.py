"""PostgreSQL against the contract, on a real server."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.contract.faults import CrashContract, FaultContract
from tests.services import service

from tallystick.backends.base import Backend
from tallystick.backends.postgresql import PostgresqlBackend
from tallystick.backends.postgresql.rows import Native, Row
from tallystick.queries import Query
from tallystick.records import Record
from tallystick.testing import BackendContract, at, counters, make_batch

pytestmark = pytest.mark.service("postgresql")

_numbers = itertools.count()


def new_url(url: str) -> str:
    """A schema of our own in the database."""
    return f"{url}?schema=contract_{os.getpid()}_{next(_numbers)}"


def drop(backend: Any) -> None:
    with psycopg.connect(service("postgresql"), autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{backend._schema}" CASCADE')


class TestPostgresql(BackendContract):
    def make_backend(self, tmp_path: Path) -> Backend:
        return PostgresqlBackend.from_url(new_url(service("postgresql")))

    def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, PostgresqlBackend)
        return PostgresqlBackend(backend._url)

    def tear_down(self, backend: Backend) -> None:
        drop(backend)


class TestPostgresqlOnABadNetwork(FaultContract):
    server = "postgresql"

    def make_backend(self, port: int, timeout_seconds: float) -> Backend:
        url = new_url(f"postgresql://postgres@127.0.0.1:{port}/tallystick")
        return PostgresqlBackend.from_url(f"{url}&timeout_seconds={timeout_seconds}")

    def tear_down(self, backend: Backend) -> None:
        drop(backend)


class TestPostgresqlCrash(CrashContract):
    server = "postgresql"

    def make_backend(self, port: int, timeout_seconds: float) -> Backend:
        url = new_url(f"postgresql://postgres@127.0.0.1:{port}/tallystick")
        return PostgresqlBackend.from_url(f"{url}&timeout_seconds={timeout_seconds}")


class Shouting(Native):
    """Names in capitals; a record of the kind `secret` is refused."""

    def writer(self) -> Callable[[Record], Row]:
        native = super().writer()

        def row(record: Record) -> Row:
            if record.kind == "secret":
                raise ValueError("not to be stored")
            found = native(record)
            return (found[0].upper(), *found[1:])

        return row


def test_another_shape_says_what_stands_in_the_rows() -> None:
    backend = PostgresqlBackend(PostgresqlBackend.from_url(new_url(service("postgresql")))._url, shape=Shouting())
    backend.open()
    own = Record(at(3), "gauge", "own", 4, own_id="mine")
    batch = make_batch(*counters(3), Record(at(3), "secret", "hits", 1), own)
    assert backend.write(batch).rejected == {3: "ValueError: not to be stored"}
    assert sorted(record.name for record in backend.records(Query())) == ["HITS", "HITS", "HITS", "OWN"]
    assert [series.name for series in backend.query(Query("HITS"))] == ["HITS"]
    backend.close()
    drop(backend)
