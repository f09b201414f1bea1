"""Kaneda's documents and points by `?shape=kaneda`, on real servers, and questions about them."""

from __future__ import annotations

from typing import Any

import pytest
from rethinkdb import RethinkDB

from tallystick.errors import SettingsError
from tallystick.plugins import backend_from_url
from tallystick.queries import Query
from tallystick.records import Batch, Record
from tallystick.testing import at, make_batch
from tests.compat.kaneda.places import hits, http, influx, mongo, own_name, search_url
from tests.rethinkdb.standin import StandIn
from tests.services import service

XML = {"status": "ok", "name": "N", "timestamp": "lost", "metric": "lost", "app_name": "lost", "@timestamp": "lost"}


def batch() -> Batch:
    return make_batch(
        Record(at(0) + 123_456_000, "gauge", "users", 13, words=("new", "old"), tags={"new": "true", "old": "true"}),
        Record(at(1), "counter", "views", 1),
        Record(at(2), "timing", "time", 0.25, {"page": "home"}),
        Record(at(3), "event", "signup", "A text"),
        Record(at(4), "xml", "doc", XML, own_id="2B75D750"),
        host="web-1",
        app="shop",
    )


def values(backend: Any, name: str, **asked: Any) -> list[float]:
    return [value for series in backend.query(Query(name, **asked)) for _, value in series.points]


@pytest.mark.service("elasticsearch")
def test_elasticsearch_has_kanedas_documents_once_each() -> None:
    index = own_name()
    backend = backend_from_url(f"elasticsearch{service('elasticsearch').removeprefix('http')}/{index}?shape=kaneda")
    records = batch()
    for _ in range(2):
        assert not backend.write(records).rejected
    found = hits(f"{index}-*")
    day = "2025.06.15"
    assert {hit["_index"] for hit in found} == {f"{index}-{day}", f"{index}-{day}-tags"}
    assert next(hit["_source"] for hit in found) == {
        "host": "web-1",
        "name": "users",
        "value": 13,
        "tags": ["new", "old"],
        "app_name": "shop",
        "metric": "gauge",
        "@timestamp": "2025-06-15T12:00:00.123456",
    }
    assert [hit["_id"] for hit in found] == [record.id for record in records.records]
    assert found[-1]["_source"] == {
        "host": "web-1",
        "name": "N",
        "status": "ok",
        "timestamp": "lost",
        "metric": "xml",
        "app_name": "shop",
        "@timestamp": "2025-06-15T12:00:04.000000",
    }
    assert values(backend, "users") == [13]
    backend.close()


@pytest.mark.service("mongodb")
def test_mongodb_has_kanedas_documents_once_each() -> None:
    database = own_name()
    backend = backend_from_url(f"{service('mongodb')}/{database}?collection=metrics&shape=kaneda")
    records = batch()
    for _ in range(2):
        assert not backend.write(records).rejected
    with mongo() as client:
        found = list(client[database]["metrics"].find().sort("timestamp"))
        assert next(list(document) for document in found) == [
            "_id",
            "host",
            "name",
            "value",
            "tags",
            "timestamp",
            "metric",
        ]
        assert [document["_id"] for document in found] == [record.id for record in records.records]
        assert found[-1]["metric"] == "xml"
        assert found[-1]["status"] == "ok"
        assert found[-1]["name"] == "N"
        assert values(backend, "time", by=["page"]) == [0.25]
        assert values(backend, "*", kinds="counter") == [1]
        newer = make_batch(Record(at(9), "xml", "doc", {"status": "new"}, own_id="2B75D750"))
        older = make_batch(Record(at(8), "xml", "doc", {"status": "older"}, own_id="2B75D750"))
        backend.write(newer)
        backend.write(older)
        assert client[database]["metrics"].find_one({"_id": "2B75D750"})["status"] == "new"  # type: ignore[index]
        client.drop_database(database)
    backend.close()


def test_rethinkdb_has_kanedas_documents_in_one_table_or_in_one_a_kind() -> None:
    r, records = RethinkDB(), batch()
    with StandIn() as server:
        url = f"rethinkdb://127.0.0.1:{server.port}/kaneda?timeout_seconds=5"
        with r.connect("127.0.0.1", server.port) as connection:
            for table, shape in (("metrics", "kaneda"), ("other", "kaneda:tables")):
                backend = backend_from_url(f"{url}&table={table}&shape={shape}")
                for _ in range(2):
                    assert not backend.write(records).rejected
                if shape == "kaneda":
                    assert values(backend, "time", by=["page"]) == [0.25]
                backend.close()
            found = list(r.db("kaneda").table("metrics").run(connection))
            assert len(found) == 5
            assert {"host", "id", "name", "timestamp", "value"} == set(next(d for d in found if d["name"] == "views"))
            tables = set(r.db("kaneda").table_list().run(connection))
            assert tables >= {"gauge", "counter", "timing", "event", "xml"}
            (xml,) = r.db("kaneda").table("xml").run(connection)
            assert xml["id"] == "2B75D750"
            assert xml["metric"] == "lost"


@pytest.mark.service("influxdb1")
def test_influxdb_has_kanedas_points_and_an_old_integer_field_takes_fractions_beside() -> None:
    database, records = own_name(), batch()
    backend = backend_from_url(f"influxdb{service('influxdb1').removeprefix('http')}/{database}?shape=kaneda")
    for _ in range(2):
        assert not backend.write(records).rejected
    (series,) = influx(database, "SELECT * FROM gauge")
    assert series["columns"] == ["time", "host", "name", "new", "old", "value"]
    assert series["values"] == [[at(0) + 123_456_000, "web-1", "users", "true", "true", 13]]
    types = {row[0]: row[1] for row in influx(database, "SHOW FIELD KEYS FROM gauge")[0]["values"]}
    assert types == {"name": "string", "value": "integer"}
    mixed: list[Any] = [0.5, True, 7, 2.5, "x"]
    odd = make_batch(*(Record(at(10) + n, "gauge", "users", value) for n, value in enumerate(mixed)))
    assert not backend.write(odd).rejected
    (series,) = influx(database, "SELECT value, value_float, value_text FROM gauge")
    assert [row[1:] for row in series["values"]] == [
        [13, None, None],
        [None, 0.5, None],
        [1, None, None],
        [7, None, None],
        [None, 2.5, None],
        [None, None, "x"],
    ]
    influx(database, f'DROP DATABASE "{database}"')
    backend.close()


def test_two_points_of_one_moment_are_both_kept() -> None:
    from tallystick.compat.kaneda.points import Influx

    records = make_batch(*(Record(at(0), "gauge", "users", value) for value in (1, 2, 3)))
    first, second = Influx().lines(records)[0], Influx().lines(records)[0]
    assert first == second
    assert len({line.rpartition(" ")[2] for line in first}) == 3


def test_a_shape_that_is_not_known_or_not_for_a_store_says_so() -> None:
    with pytest.raises(SettingsError, match="no shape 'kaned'"):
        backend_from_url("mongodb://localhost/x?shape=kaned")
    with pytest.raises(SettingsError, match="unknown option shape"):
        backend_from_url("postgresql://localhost/x?shape=kaneda")


@pytest.mark.service("elasticsearch")
def test_a_day_takes_numbers_texts_and_both_kinds_of_tags() -> None:
    index = own_name()
    old = f"{index}-2025.06.15"
    http(f"{search_url()}/{old}/_doc", "POST", {"value": 1, "name": "old", "@timestamp": "2025-06-15T00:00:00"})
    backend = backend_from_url(f"elasticsearch{service('elasticsearch').removeprefix('http')}/{index}?shape=kaneda")
    records = make_batch(
        Record(at(0), "event", "signup", "A text"),
        Record(at(1), "gauge", "users", 0.5, words=("new",), tags={"new": "true"}),
        Record(at(2), "gauge", "users", 2, {"page": "home"}),
        Record(at(86_400), "event", "signup", "A text"),
        Record(at(86_401), "gauge", "users", True),
        Record(at(86_402), "gauge", "users", 4.5),
    )
    assert not backend.write(records).rejected
    assert [hit["_index"] for hit in hits(f"{index}-*")].count(f"{old}-tags") == 1
    assert sum(values(backend, "users", start=at(86_400) / 1e9)) == 4.5
    assert sum(values(backend, "*", aggregate="count")) == 7
    backend.close()
