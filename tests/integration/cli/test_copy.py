"""`tallystick copy` keeps ids and claims nothing that it did not copy; data of other tools can be asked."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest
from tests.integration.cli.running import as_json, tallystick
from tests.services import service

from tallystick.backends.postgresql import PostgresqlBackend
from tallystick.backends.sqlite import SqliteBackend
from tallystick.queries import Query
from tallystick.testing import make_batch, varied_records


def ids(backend: SqliteBackend | PostgresqlBackend) -> list[str]:
    return sorted(record.id for record in backend.records(Query()))


@pytest.fixture
def old(tmp_path: Path) -> SqliteBackend:
    backend = SqliteBackend(tmp_path / "old.db")
    backend.open()
    backend.write(make_batch(*varied_records(200), segment="0198f3aaaaaaaaaaaaaaaaaa"))
    backend.close()
    return backend


def test_copying_twice_changes_nothing(old: SqliteBackend, tmp_path: Path) -> None:
    new = SqliteBackend(tmp_path / "new.db")
    count = len(ids(old))
    assert as_json("copy", old.address, new.address) == {"read": count, "copied": count, "rejected": {}}
    assert ids(new) == ids(old)
    tallystick("copy", old.address, new.address)
    assert ids(new) == ids(old)


@pytest.mark.service("postgresql")
def test_there_and_back_again_every_record_is_equal(old: SqliteBackend, tmp_path: Path) -> None:
    schema = f"copy_{os.getpid()}"
    url = f"{service('postgresql')}?schema={schema}"
    back = SqliteBackend(tmp_path / "back.db")
    try:
        tallystick("copy", old.address, url)
        tallystick("copy", url, back.address)
        assert ids(PostgresqlBackend.from_url(url)) == ids(old)
        assert sorted(map(repr, back.records(Query()))) == sorted(map(repr, old.records(Query())))
    finally:
        with psycopg.connect(service("postgresql"), autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def test_what_was_not_copied_can_still_be_delivered(old: SqliteBackend, tmp_path: Path) -> None:
    batch = make_batch(*varied_records(200), segment="0198f3aaaaaaaaaaaaaaaaaa")
    left_out = batch.records[3]
    partial = SqliteBackend(tmp_path / "partial.db")
    partial.open()
    partial.write(batch.only([index for index in range(len(batch)) if index != 3]))
    partial.close()
    new = SqliteBackend(tmp_path / "new.db")
    tallystick("copy", partial.address, new.address)
    assert left_out.id not in ids(new)
    new.open()
    new.write(batch)
    assert ids(new) == ids(old)
    new.close()


def test_one_database_is_not_copied_onto_itself(old: SqliteBackend) -> None:
    assert tallystick("copy", old.address, old.address, ok=False).returncode == 2


@pytest.mark.service("postgresql")
def test_a_table_of_another_tool_is_asked_by_its_columns(tmp_path: Path) -> None:
    table = f"requests_{os.getpid()}"
    with psycopg.connect(service("postgresql"), autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {table} (at timestamptz, took double precision, path text)")
        try:
            rows = [("2026-11-21T09:00:00Z", took, path) for took, path in ((1.5, "/a"), (2.5, "/a"), (9.0, "/b"))]
            with connection.cursor() as cursor:
                cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s, %s)", rows)
            words = ["--backend", service("postgresql"), "--source", table, "--column", "time=at"]
            words += ["--column", "value=took", "--column", "tag.route=path", "--by", "route", "--aggregate", "max"]
            found = as_json("query", *words)["series"]
            assert [(one["tags"], one["points"][0][1]) for one in found] == [
                ({"route": "/a"}, 2.5),
                ({"route": "/b"}, 9),
            ]
            nowhere = tallystick("query", *words, "--column", "value=nothing", ok=False)
            assert nowhere.returncode != 0
            assert "nothing" in nowhere.stderr
        finally:
            connection.execute(f"DROP TABLE {table}")


def test_a_mapping_without_its_time_is_a_usage_error() -> None:
    done = tallystick("query", "--source", "requests", "--column", "value=took", ok=False)
    assert done.returncode == 2
    assert "time=COLUMN" in done.stderr
