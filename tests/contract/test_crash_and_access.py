"""PostgreSQL and MongoDB: back after a crash of the server, clear about what a person must do, silent about secrets."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.contract.faults import write_once, write_until_stored
from tests.services import kill, restart, service

from tallystick import plugins
from tallystick.agent.attempt import Attempt
from tallystick.agent.delivery import Deliverer
from tallystick.agent.report import Report
from tallystick.backends.base import Backend
from tallystick.backends.postgresql import PostgresqlBackend
from tallystick.errors import Misconfigured, SettingsError, Unavailable
from tallystick.queries import Query
from tallystick.records import Batch, Record
from tallystick.spool.folder import Folder
from tallystick.testing import at, counters, make_batch

SECRET = "s3cr3t-w0rd"


def url_of(name: str, *, own: bool = False) -> str:
    base = service(name, own=own)
    place = f"crash_{os.getpid()}"
    return f"{base}?schema={place}" if name == "postgresql" else f"{base}/{place}"


@pytest.fixture(params=["postgresql", "mongodb"])
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def backend(server: str) -> Iterator[Any]:
    backend = plugins.backend_from_url(url_of(server))
    backend.open()
    yield backend
    backend.open()
    if server == "mongodb":
        backend._client.drop_database(backend._database)
    backend.close()
    if server == "postgresql":
        with psycopg.connect(service("postgresql"), autocommit=True) as connection:
            connection.execute(f'DROP SCHEMA IF EXISTS "{backend._schema}" CASCADE')


def ids(backend: Any) -> list[str]:
    return sorted(record.id for record in backend.records(Query()))


def test_after_kill_9_of_the_server_and_its_restart_delivery_goes_on_and_nothing_is_twice(server: str) -> None:
    backend = plugins.backend_from_url(
        url_of(server, own=True) + ("&" if server == "postgresql" else "?") + "timeout_seconds=2"
    )
    first, second = make_batch(*counters(50)), make_batch(*counters(50))
    write_until_stored(backend, first)
    kill(server)
    with pytest.raises((Unavailable, ConnectionError)):
        write_once(backend, second)
    restart(server)
    write_until_stored(backend, second)
    write_until_stored(backend, first)
    assert ids(backend) == sorted(record.id for batch in (first, second) for record in batch.records)
    backend.close()


BAD: list[Any] = [
    float("nan"),
    float("inf"),
    float("-inf"),
    2**63,
    -(2**63) - 1,
    10**40,
    {1, 2},
    object(),
    b"bytes",
    1j,
    range(3),
    lambda: None,
    Exception("no value"),
    type,
]
"""Fourteen values that no record may have and no recorder lets through; a damaged or foreign spool could."""


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: type(bad).__name__ + repr(bad)[:12])
def test_one_bad_record_of_a_thousand_costs_only_itself(backend: Any, bad: Any, tmp_path: Any) -> None:
    records = [Record(at(i), "counter", "poison", 1) for i in range(1_000)]
    records[500] = Record(at(500), "counter", "poison", bad)
    batch = make_batch(*records)
    folder = Folder(tmp_path).open()
    attempt, report = Attempt(folder), Report(folder, backend.address, "process")
    rejected = Deliverer(backend, attempt, report, lambda _: False).deliver(batch)
    assert list(rejected) == [500]
    assert rejected[500]
    assert len(ids(backend)) == 999
    attempt.close()


def test_a_missing_database_is_for_a_person_to_mend_and_keeps_all() -> None:
    backend = PostgresqlBackend.from_url(service("postgresql").replace("/tallystick", "/no_such_database"))
    with pytest.raises(Misconfigured, match="create the database"):
        backend.open()


def test_without_the_right_to_create_the_statements_are_printed() -> None:
    schema, role = f"denied_{os.getpid()}", f"poor_{os.getpid()}"
    with psycopg.connect(service("postgresql"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        try:
            url = service("postgresql").replace("postgres@", f"{role}@")
            with pytest.raises(Misconfigured, match="CREATE TABLE"):
                PostgresqlBackend.from_url(f"{url}?schema={schema}").open()
        finally:
            connection.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("scheme", ["postgresql", "mongodb"])
def test_no_password_is_ever_shown(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"{scheme}://user:{SECRET}@127.0.0.1:1/database?timeout_seconds=1&connect_timeout_seconds=1"
    backend: Backend = plugins.backend_from_url(url)
    with pytest.raises(Unavailable) as caught:
        backend.open()
    shown = "".join([repr(backend), backend.address, caplog.text, *traceback.format_exception(caught.value)])
    assert SECRET not in shown


def test_a_password_does_not_travel_unencrypted_to_another_host() -> None:
    with pytest.raises(SettingsError, match="unencrypted") as caught:
        plugins.backend_from_url(f"mongodb://user:{SECRET}@db.example.org/metrics")
    assert SECRET not in str(caught.value)
    plugins.backend_from_url(f"mongodb://user:{SECRET}@db.example.org/metrics?tls=true")
    plugins.backend_from_url(f"mongodb://user:{SECRET}@db.example.org/metrics?allow_plain_credentials=yes")


def test_an_unknown_option_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SettingsError, match="did you mean schema"):
        PostgresqlBackend.from_url("postgresql://localhost/db?shema=x")


def test_a_batch_without_records_is_accepted_and_stores_nothing(backend: Any) -> None:
    empty = make_batch(*[Record(at(0), "counter", "one", 1)])
    assert backend.write(Batch(empty.header, empty.start, empty.end, [])).rejected == {}
    assert ids(backend) == []
