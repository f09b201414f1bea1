"""Tables of ClickHouse and Parquet files that others wrote: the answers are the oracle's, what is missing is named."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.contract.test_clickhouse import client, place
from tests.contract.test_foreign import NUMBERLESS, RECORDS, THEIR, UNITS, questions, rows

from tallystick.backends.base import Foreign
from tallystick.backends.clickhouse import ClickhouseBackend
from tallystick.backends.memory import answer
from tallystick.backends.parquet import ParquetBackend
from tallystick.errors import QueryError
from tallystick.queries import AGGREGATES, Query

pytestmark = pytest.mark.service("clickhouse")

TYPES = {"native": "DateTime64(9, 'UTC')", "iso": "String", "took": "Float32", "s": "Float64"}
TYPES |= dict.fromkeys(("ns", "us", "ms"), "Int64")

_numbers = itertools.count()


@pytest.fixture
def clickhouse() -> Iterator[ClickhouseBackend]:
    given, database = rows(), f"theirs_{os.getpid()}_{next(_numbers)}"
    columns = ", ".join(f"`{name}` Nullable({TYPES.get(name, 'String')})" for name in given[0])
    with client() as connection:
        connection.command(f"CREATE DATABASE {database}")
        connection.command(f"CREATE TABLE {database}.theirs ({columns}) ENGINE = MergeTree ORDER BY tuple()")
        connection.insert("theirs", [[*row.values()] for row in given], [*given[0]], database=database)
        backend = ClickhouseBackend.from_url(f"clickhouse://{place()}/{database}")
        yield backend
        backend.close()
        connection.command(f"DROP DATABASE {database}")


@pytest.fixture
def parquet(tmp_path: Path) -> Iterator[ParquetBackend]:
    given = rows()
    types = {"native": "TIMESTAMPTZ", "took": "FLOAT", "s": "DOUBLE", **dict.fromkeys(("ns", "us", "ms"), "BIGINT")}
    with duckdb.connect() as connection:
        columns = ", ".join(f'"{name}" {types.get(name, "VARCHAR")}' for name in given[0])
        connection.execute(f"CREATE TABLE theirs ({columns})")
        marks = ", ".join("?" * len(given[0]))
        connection.executemany(f"INSERT INTO theirs VALUES ({marks})", [[*row.values()] for row in given])
        connection.execute(f"COPY theirs TO '{tmp_path / 'theirs.parquet'}' (FORMAT parquet)")
    backend = ParquetBackend(tmp_path)
    yield backend
    backend.close()


@pytest.fixture(params=["clickhouse", "parquet"])
def backend(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def source(backend: Any) -> str:
    return "theirs.parquet" if isinstance(backend, ParquetBackend) else "theirs"


def test_a_table_is_looked_up_in_the_urls_database_unless_its_name_says_another(clickhouse: ClickhouseBackend) -> None:
    named = f"{clickhouse._database}.theirs"
    elsewhere = ClickhouseBackend.from_url(f"clickhouse://{place()}/elsewhere")
    for backend, source in ((clickhouse, "theirs"), (clickhouse, named), (elsewhere, named)):
        foreign = Foreign(source=source, time="ns", value="took", time_unit="ns")
        (series,) = backend.query_foreign(Query(aggregate="count"), foreign)
        assert series.points == [(0.0, 122.0)]
    with pytest.raises(QueryError, match="theirs"):
        elsewhere.query_foreign(Query(), Foreign(source="theirs", time="ns", value="took", time_unit="ns"))


@pytest.mark.parametrize("unit", UNITS)
def test_the_answers_are_the_oracles(backend: Any, unit: Any) -> None:
    foreign = Foreign(source=source(backend), time=unit, time_unit=unit, **THEIR)
    for aggregate in AGGREGATES if unit == "native" else ("count", "last"):
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
    (series,) = backend.query_foreign(Query(bare.source, kinds="gauge", aggregate="count"), bare)
    assert series.points == [(0.0, 122.0)]


@pytest.mark.parametrize("part", ["source", "time", "value", "name", "kind", "tags"])
def test_what_does_not_exist_is_named(backend: Any, part: str) -> None:
    wrong: Any = {"source": source(backend), "time": "ns", "value": "took"}
    wrong[part] = {"route": "no_such"} if part == "tags" else "no_such"
    with pytest.raises(QueryError, match="no_such"):
        backend.query_foreign(Query(by="route"), Foreign(time_unit="ns", **wrong))


@pytest.mark.parametrize("value", ["$where", "", "took.x"])
def test_a_mistake_is_told_in_the_servers_sentence_without_our_statement(
    clickhouse: ClickhouseBackend, value: str
) -> None:
    with pytest.raises(QueryError, match=r"^theirs: .*; correct the source, or its columns$") as caught:
        clickhouse.query_foreign(Query(), Foreign(source="theirs", time="ns", value=value, time_unit="ns"))
    said = str(caught.value)
    assert value in said
    assert len(said) < 250
    assert not any(part in said for part in ("SELECT", "CAST", "toInt64", "http://"))


@pytest.mark.parametrize("name", ['x"; DROP TABLE theirs; --', "x' OR 1=1 --", "`", "%s", "?", "{x:String}", "\\"])
def test_hostile_names_of_columns_and_tags_are_only_names(backend: Any, name: str) -> None:
    known: dict[str, Any] = {"source": source(backend), "time": "ns", "value": "took", "time_unit": "ns"}
    (series,) = backend.query_foreign(
        Query(aggregate="count", by=name, where={name: ["/1"]}), Foreign(**known, tags={name: "path"})
    )
    assert (series.tags, series.points) == ({name: "/1"}, [(0.0, 31.0)])
    with pytest.raises(QueryError):
        backend.query_foreign(Query(by="a"), Foreign(**known, tags={"a": name}))
    assert len(backend.query_foreign(Query(aggregate="count"), Foreign(**known))) == 1
