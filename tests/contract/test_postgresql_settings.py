"""PostgreSQL behind the settings of others: a pooler, an encoding, what a database or a user is told to do."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from tests.services import service

from tallystick.backends.base import ACCEPTED
from tallystick.backends.postgresql import PostgresqlBackend
from tallystick.queries import Query
from tallystick.records import Record
from tallystick.testing import at, counters, make_batch

_numbers = itertools.count()


def new_name() -> str:
    return f"settings_{os.getpid()}_{next(_numbers)}"


def run(*statements: str) -> None:
    with psycopg.connect(service("postgresql"), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@contextmanager
def opened(url: str, options: str = "") -> Iterator[PostgresqlBackend]:
    schema = new_name()
    with closing(PostgresqlBackend.from_url(f"{url}?schema={schema}{options}")) as backend:
        backend.open()
        yield backend
    run(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


@pytest.mark.service("pgbouncer")
def test_a_pooler_that_shares_its_connections_takes_every_record() -> None:
    """Each batch goes to whichever session of the server is free: the last one is taken away after every few."""
    with opened(service("pgbouncer")) as backend:
        for _ in range(3):
            results = [backend.write(make_batch(*counters(1))) for _ in range(8)]
            with psycopg.connect(service("pgbouncer"), prepare_threshold=None) as other:
                other.execute("SELECT 1")
                results.append(backend.write(make_batch(*counters(1))))
                own = Record(at(0), "event", "placed", {"n": 1}, own_id="mine")
                results.append(backend.write(make_batch(own, *counters(1))))
            assert results == [ACCEPTED] * len(results)
        assert len(list(backend.records(Query()))) == 3 * 10 + 1
        assert backend.query(Query("hits", aggregate="count"))[0].points[0][1] == 3 * 10
        assert backend.prune(at(0) / 1e9) >= 0


@pytest.fixture
def ascii_url() -> Iterator[str]:
    database = new_name()
    run(f"CREATE DATABASE {database} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    yield service("postgresql").rpartition("/")[0] + f"/{database}"
    run(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.mark.service("postgresql")
def test_a_database_without_an_encoding_stores_and_finds_every_text(ascii_url: str) -> None:
    with opened(ascii_url) as backend:
        placed = Record(at(1), "event", "placed", {"at": "Łódź"}, own_id="ü")
        bought = Record(at(0), "counter", "orders", 1, tags={"city": "Zürich"})
        assert backend.write(make_batch(bought, placed)) == ACCEPTED
        (found,) = backend.query(Query("orders", by="city"))
        assert found.tags == {"city": "Zürich"}
        assert [record.value for record in backend.records(Query("placed"))] == [{"at": "Łódź"}]


@pytest.fixture
def role() -> Iterator[str]:
    """A user whom an administrator told to do all of it otherwise."""
    name = new_name()
    run(
        f"CREATE ROLE {name} LOGIN SUPERUSER",
        f"ALTER ROLE {name} SET statement_timeout = '200ms'",
        f"ALTER ROLE {name} SET synchronous_commit = 'off'",
        f"ALTER ROLE {name} SET DateStyle = 'German'",
        f"ALTER ROLE {name} SET TimeZone = 'Asia/Kathmandu'",
        f"ALTER ROLE {name} SET extra_float_digits = -15",
        f"ALTER ROLE {name} SET standard_conforming_strings = 'off'",
    )
    yield name
    run(f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")


@pytest.mark.service("postgresql")
def test_what_a_user_is_told_changes_neither_numbers_nor_durability_nor_patience(role: str) -> None:
    url = service("postgresql").replace("postgres@", f"{role}@")
    with opened(url) as backend:
        s = backend._schema
        run(
            f"CREATE TABLE {s}.seen (sync text)",
            f"CREATE FUNCTION {s}.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5);"
            f" INSERT INTO {s}.seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$",
            f"CREATE TRIGGER look BEFORE INSERT ON {s}.points FOR EACH ROW EXECUTE FUNCTION {s}.look()",
        )
        assert backend.write(make_batch(Record(at(0), "gauge", "load", 0.1 + 0.2, tags={"a\\": "b"}))) == ACCEPTED
        assert [record.value for record in backend.records(Query())] == [0.1 + 0.2]
        assert backend.query(Query("load", where={"a\\": "b"}))[0].points[0][1] == 0.1 + 0.2
        with psycopg.connect(service("postgresql")) as connection:
            assert connection.execute(f"SELECT sync FROM {s}.seen").fetchall() == [("on",)]
