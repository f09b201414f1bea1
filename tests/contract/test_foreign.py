"""Tables and collections that others wrote: the answers are the oracle's, and what is not there is named.

The same rows in SQLite, PostgreSQL and MongoDB: a time in each notation, numbers, and cells that hold nothing.
"""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pymongo
import pytest
from tests.services import service

from tallystick.backends.base import Foreign, ReadsForeign
from tallystick.backends.memory import answer
from tallystick.backends.mongodb import MongodbBackend
from tallystick.backends.postgresql import PostgresqlBackend
from tallystick.backends.sqlite import SqliteBackend
from tallystick.errors import Misconfigured, QueryError, Unavailable
from tallystick.queries import AGGREGATES, Query
from tallystick.records import TIMING, Record
from tallystick.testing import at

RECORDS = [
    Record(
        at(i * 7.5), TIMING, f"page.{i % 3}", i / 8, {"route": f"/{i % 4}", **({"size": str(i % 5)} if i % 2 else {})}
    )
    for i in range(120)
]
NUMBERLESS = Record(RECORDS[1].timestamp_ns, TIMING, RECORDS[1].name, None, RECORDS[1].tags)
UNITS = ["native", "iso", "ns", "us", "ms", "s"]
THEIR: dict[str, Any] = {"value": "took", "name": "metric", "kind": "what", "tags": {"route": "path", "size": "% size"}}

Fill = Callable[[list[dict[str, Any]]], ReadsForeign]

_numbers = itertools.count()


def rows() -> list[dict[str, Any]]:
    """As they would keep it; then one row without a time, one without a name, and one without a number."""
    found: list[dict[str, Any]] = []
    for record in RECORDS:
        moment = datetime.fromtimestamp(record.timestamp_ns / 1e9, UTC)
        times = {"native": moment, "iso": moment.isoformat(), "s": record.timestamp_ns / 1e9, "ns": record.timestamp_ns}
        times |= {"us": record.timestamp_ns // 1_000, "ms": record.timestamp_ns // 1_000_000}
        columns = {"took": record.value, "metric": record.name, "what": record.kind, "path": record.tags["route"]}
        found.append({**times, **columns, "% size": record.tags.get("size")})
    timeless = {**found[0], **dict.fromkeys(UNITS)}
    return [*found, timeless, {**found[0], "metric": None}, {**found[1], "took": None}]


@pytest.fixture
def sqlite(tmp_path: Path) -> Fill:
    def fill(given: list[dict[str, Any]]) -> SqliteBackend:
        """Without types, as SQLite lets people; dates as its own functions write them."""
        with closing(sqlite3.connect(tmp_path / "theirs.db")) as connection:
            connection.execute(f"CREATE TABLE theirs ({', '.join(quoted(name) for name in given[0])})")
            marks = ", ".join("?" * len(given[0]))
            for row in given:
                cells = [
                    c.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] if isinstance(c, datetime) else c for c in row.values()
                ]
                connection.execute(f"INSERT INTO theirs VALUES ({marks})", cells)
            connection.commit()
        return SqliteBackend(tmp_path / "theirs.db")

    return fill


@pytest.fixture
def postgresql() -> Iterator[Fill]:
    schema = f"theirs_{os.getpid()}_{next(_numbers)}"
    types = {"native": "timestamptz", "iso": "text", "took": "real", "s": "double precision"}
    types |= dict.fromkeys(("ns", "us", "ms"), "bigint")
    with psycopg.connect(service("postgresql"), autocommit=True) as connection:

        def fill(given: list[dict[str, Any]]) -> PostgresqlBackend:
            columns = ", ".join(f"{quoted(name)} {types.get(name, 'text')}" for name in given[0])
            connection.execute(f"CREATE SCHEMA {schema}")
            connection.execute(f"CREATE TABLE {schema}.theirs ({columns})")
            marks = ", ".join(["%s"] * len(given[0]))
            with connection.cursor() as cursor:
                cursor.executemany(f"INSERT INTO {schema}.theirs VALUES ({marks})", [[*row.values()] for row in given])
            return PostgresqlBackend.from_url(f"{service('postgresql')}?schema={schema}_ours")

        yield fill
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture
def mongodb() -> Iterator[Fill]:
    database = f"theirs_{os.getpid()}_{next(_numbers)}"
    with pymongo.MongoClient(service("mongodb"), tz_aware=True) as client:  # type: ignore[var-annotated]

        def fill(given: list[dict[str, Any]]) -> MongodbBackend:
            client[database].theirs.insert_many([dict(row) for row in given])
            return MongodbBackend.from_url(f"{service('mongodb')}/{database}")

        yield fill
        client.drop_database(database)


@pytest.fixture(params=["sqlite", "postgresql", "mongodb"])
def backend(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = request.getfixturevalue(request.param)(rows())
    yield made
    made.close()


def source(backend: Any) -> str:
    return f"{backend._schema.removesuffix('_ours')}.theirs" if isinstance(backend, PostgresqlBackend) else "theirs"


def quoted(name: str) -> str:
    return f'"{name}"'


def questions(aggregate: str) -> Iterator[Query]:
    start, end = at(60) / 1e9, at(600) / 1e9
    yield Query(aggregate=aggregate, bucket="1m", by="route")
    yield Query(["page.?", "no such"], aggregate=aggregate, by=["size", "missing"], start=start, end=end)
    yield Query("page.1", aggregate=aggregate, where={"route": ["/1", "/2"], "size": "3"})
    yield Query(aggregate=aggregate, where={"missing": "x"})
    yield Query(aggregate=aggregate, kinds=TIMING, bucket="90s", start=start)
    yield Query(aggregate=aggregate, kinds="counter")


@pytest.mark.parametrize("unit", UNITS)
def test_the_answers_are_the_oracles(backend: Any, unit: Any) -> None:
    foreign = Foreign(source=source(backend), time=unit, time_unit=unit, **THEIR)
    for aggregate in AGGREGATES:
        for query in questions(aggregate):
            given, wanted = backend.query_foreign(query, foreign), answer([*RECORDS, NUMBERLESS], query)
            assert [(s.name, s.unit, s.tags) for s in given] == [(s.name, s.unit, s.tags) for s in wanted], query
            for one, other in zip(given, wanted, strict=True):
                assert one.points == [pytest.approx(point, rel=1e-9) for point in other.points], query


def test_without_columns_for_them_all_is_one_gauge_named_like_the_source(backend: Any) -> None:
    bare = Foreign(source=source(backend), time="ns", value="took", time_unit="ns")
    (series,) = backend.query_foreign(Query(aggregate="max"), bare)
    assert (series.name, series.points) == (bare.source, [(0.0, 119 / 8)])
    assert backend.query_foreign(Query("another"), bare) == []
    assert backend.query_foreign(Query(kinds="counter"), bare) == []
    (series,) = backend.query_foreign(Query(bare.source, kinds="gauge", aggregate="count"), bare)
    assert series.points == [(0.0, 122.0)]


def test_a_source_that_does_not_exist_is_named(backend: Any) -> None:
    with pytest.raises(QueryError, match="no_such"):
        backend.query_foreign(Query(), Foreign(source="no_such", time="ns", value="took"))


@pytest.mark.parametrize("part", ["time", "value", "name", "kind", "tags"])
@pytest.mark.parametrize("store", ["sqlite", "postgresql"])  # MongoDB's documents have whatever fields they have
def test_a_column_that_does_not_exist_is_named(store: str, part: str, request: pytest.FixtureRequest) -> None:
    backend: Any = request.getfixturevalue(store)(rows())
    wrong: Any = {"time": "ns", "value": "took", part: {"route": "no_such"} if part == "tags" else "no_such"}
    with pytest.raises(QueryError, match="no_such"):
        backend.query_foreign(Query(by="route"), Foreign(source=source(backend), time_unit="ns", **wrong))


@pytest.mark.parametrize("name", ['x"; DROP TABLE theirs; --', "x' OR 1=1 --", "%s", "%(x)s", "?", "$where", "\\"])
def test_hostile_names_of_columns_and_tags_are_only_names(backend: Any, name: str) -> None:
    known: dict[str, Any] = {"source": source(backend), "time": "ns", "value": "took", "time_unit": "ns"}
    (series,) = backend.query_foreign(
        Query(aggregate="count", by=name, where={name: ["/1"]}), Foreign(**known, tags={name: "path"})
    )
    assert (series.tags, series.points) == ({name: "/1"}, [(0.0, 31.0)])
    if not isinstance(backend, MongodbBackend):
        with pytest.raises(QueryError):
            backend.query_foreign(Query(by="a"), Foreign(**known, tags={"a": name}))
    assert len(backend.query_foreign(Query(aggregate="count"), Foreign(**known))) == 1


def test_asking_makes_nothing_in_their_database(backend: Any) -> None:
    backend.query_foreign(Query(), Foreign(source=source(backend), time="ns", value="took", time_unit="ns"))
    if isinstance(backend, SqliteBackend):
        assert [path.name for path in backend.path.parent.iterdir()] == ["theirs.db"]
        with closing(sqlite3.connect(backend.path)) as connection:
            assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    elif isinstance(backend, PostgresqlBackend):
        with psycopg.connect(service("postgresql")) as connection:
            sql = "SELECT count(*) FROM pg_namespace WHERE nspname = %s"
            assert connection.execute(sql, (backend._schema,)).fetchone() == (0,)
    else:
        assert backend._client[backend._database].list_collection_names() == ["theirs"]


# --- SQLite: any type in any column -----------------------------------------------------------------------------------


def test_texts_that_are_numbers_count_as_numbers_and_others_do_not(sqlite: Fill) -> None:
    cells: list[Any] = ["12", "1.5", "-3e1", 4, 0.5, "12 ms", "", "true", "null", b"7", None, "[1]", '"8"']
    backend = sqlite([{"when": str(at(i) // 10**9), "took": cell} for i, cell in enumerate(cells)])
    foreign = Foreign(source="theirs", time="when", value="took", time_unit="s")
    (total,) = backend.query_foreign(Query(), foreign)
    (count,) = backend.query_foreign(Query(aggregate="count", end=at(60) / 1e9, start=at(0) / 1e9), foreign)
    assert (total.points, count.points) == ([(0.0, -12.0)], [(at(0) / 1e9, 13.0)])


def test_a_table_may_be_named_like_our_own_or_like_a_word_of_sql(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "theirs.db")
    with closing(sqlite3.connect(backend.path)) as connection:
        for name in ("matched", "placed", "taken", "source", "select", "points", "a.b", 'say "x"'):
            table = name.replace('"', '""')
            connection.execute(f'CREATE TABLE "{table}" ("order" INTEGER, value REAL)')
            connection.execute(f'INSERT INTO "{table}" VALUES (1749988800000, 2.5)')
            connection.commit()
            foreign = Foreign(source=name, time="order", value="value", time_unit="ms")
            for aggregate in ("sum", "p50"):
                (series,) = backend.query_foreign(Query(aggregate=aggregate), foreign)
                assert (series.name, series.points) == (name, [(0.0, 2.5)])


def test_a_file_of_others_is_asked_and_never_written_to(sqlite: Fill) -> None:
    backend: Any = sqlite(rows())
    before = backend.path.read_bytes()
    backend.query_foreign(Query(), Foreign(source="theirs", time="ns", value="took", time_unit="ns"))
    assert backend.path.read_bytes() == before
    with pytest.raises(Misconfigured, match="something else"):
        backend.open()


def test_a_locked_file_is_a_trouble_that_passes_and_no_wrong_question(sqlite: Fill) -> None:
    backend: Any = sqlite(rows())
    backend.busy_timeout_seconds = 0.1
    with closing(sqlite3.connect(backend.path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable, match="locked"):
            backend.query_foreign(Query(), Foreign(source="theirs", time="ns", value="took", time_unit="ns"))


def test_the_command_line_asks_their_file(sqlite: Fill) -> None:
    backend: Any = sqlite(rows())
    words = ["--source", "theirs", "--aggregate", "max", "--by", "route", "--json", "--backend", backend.address]
    for column in ("time=native", "value=took", "tag.route=path"):
        words += ["--column", column]
    done = subprocess.run([sys.executable, "-m", "tallystick", "query", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [(one["tags"]["route"], one["points"][0][1]) for one in json.loads(done.stdout)["series"]]
    assert found == [(f"/{i}", (116 + i) / 8) for i in range(4)]


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_a_nan_in_their_table_is_no_number(postgresql: Fill, aggregate: str) -> None:
    nan = {**rows()[2], "took": float("nan")}
    foreign = Foreign(source=source(backend := postgresql([*rows(), nan])), time="ns", time_unit="ns", **THEIR)
    none = Record(RECORDS[2].timestamp_ns, TIMING, RECORDS[2].name, None, RECORDS[2].tags)
    wanted = answer([*RECORDS, NUMBERLESS, none], Query(aggregate=aggregate))
    for one, other in zip(backend.query_foreign(Query(aggregate=aggregate), foreign), wanted, strict=True):
        assert one.points == [pytest.approx(point, rel=1e-9) for point in other.points]
