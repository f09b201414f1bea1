"""Kaneda's old rows: one query over old and new ones, and copies that are the same however often they are made."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rethinkdb import RethinkDB

from tallystick.compat.kaneda import Metrics
from tallystick.compat.kaneda.backends import InfluxBackend, MongoBackend
from tallystick.plugins import backend_from_url
from tallystick.queries import Query
from tallystick.records import Record
from tallystick.testing import at, make_batch
from tests.compat.kaneda.places import http, influx, influx_url, mongo, own_name, search_url
from tests.proxy import FaultProxy
from tests.rethinkdb.standin import StandIn
from tests.services import service

NOON = datetime(2025, 6, 15, 12, tzinfo=UTC)


def copied(source: str, target: str, *more: str) -> Any:
    command = [sys.executable, "-m", "tallystick", "copy", source, target, "--shape", "kaneda", "--json", *more]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def twice(source: str, folder: Path, count: int, *more: str) -> list[Record]:
    target = f"sqlite:///{folder}/copy.db"
    for _ in range(2):
        assert copied(source, target, *more)["copied"] == count
    backend = backend_from_url(target)
    found = list(backend.records(Query()))
    backend.close()
    assert len(found) == count
    return found


def total(backend: Any, name: str, aggregate: str = "sum") -> float:
    points = (point for series in backend.query(Query(name, aggregate=aggregate)) for point in series.points)
    return sum(float(value) for _, value in points)


@pytest.mark.service("mongodb")
def test_mongodbs_old_documents(tmp_path: Path) -> None:
    database = own_name()
    url = f"{service('mongodb')}/{database}"
    with mongo() as client:
        old: list[dict[str, Any]] = [
            {"host": "h", "name": "users", "value": 1, "timestamp": NOON, "metric": "gauge"},
            {"host": "h", "name": "doc", "s": 1, "tags": ["a"], "timestamp": NOON, "metric": "xml"},
        ]
        client[database]["metrics"].insert_many(old)
        backend = backend_from_url(f"{url}?collection=metrics&shape=kaneda")
        backend.write(make_batch(Record(at(1), "gauge", "users", 0.5)))
        assert total(backend, "users") == 1.5
        backend.close()
        found = twice(url, tmp_path, 3, "--source", "metrics")
        assert {(record.kind, record.name) for record in found} == {("gauge", "users"), ("xml", "doc")}
        (xml,) = (record for record in found if record.kind == "xml")
        assert (xml.value, xml.words, xml.own_id) == ({"s": 1}, ("a",), str(old[1]["_id"]))
        client.drop_database(database)


@pytest.mark.service("elasticsearch")
def test_elasticsearchs_old_documents(tmp_path: Path) -> None:
    index = own_name()
    old = {"host": "h", "name": "users", "value": 1, "app_name": "app", "@timestamp": "2025-06-15T12:00:00.5"}
    http(f"{search_url()}/{index}-2025.06.15/_doc/abc?refresh=true", "POST", old)
    url = f"elasticsearch{search_url().removeprefix('http')}"
    backend = backend_from_url(f"{url}/{index}?shape=kaneda")
    assert total(backend, "users") == 1
    backend.write(make_batch(Record(at(86_400), "gauge", "users", 0.5)))
    http(f"{search_url()}/{index}-*/_refresh", "POST")
    assert total(backend, "users") == 1.5
    backend.close()
    found = twice(url, tmp_path, 2, "--source", index)
    assert (found[0].own_id, found[0].app, found[0].timestamp_ns) == ("abc", "app", at(0.5))


@pytest.mark.service("influxdb1")
def test_influxdbs_old_points_and_fractions_in_one_query(tmp_path: Path) -> None:
    database = own_name()
    url = f"influxdb{influx_url().removeprefix('http')}/{database}"
    backend = backend_from_url(f"{url}?shape=kaneda")
    backend.write(make_batch(Record(at(0), "gauge", "users", 1)))
    backend.write(make_batch(Record(at(1), "gauge", "users", 0.5)))
    assert total(backend, "users") == 1.5
    assert total(backend, "users", "p99") == 1
    backend.close()
    found = twice(url, tmp_path, 2)
    assert [record.value for record in found] == [1, 0.5]
    influx(database, f'DROP DATABASE "{database}"')


def test_rethinkdbs_tables_are_kinds(tmp_path: Path) -> None:
    r = RethinkDB()
    with StandIn() as server, r.connect("127.0.0.1", server.port) as connection:
        r.db_create("old").run(connection)
        r.db("old").table_create("gauge").run(connection)
        document = {"id": "x", "host": "h", "name": "users", "value": 1, "timestamp": r.epoch_time(at(0) / 1e9)}
        r.db("old").table("gauge").insert(document).run(connection)
        url = f"rethinkdb://127.0.0.1:{server.port}/old?shape=kaneda:tables&setup=no"
        backend = backend_from_url(url)
        assert [(one.kind, one.value, one.own_id) for one in backend.records(Query())] == [("gauge", 1, "x")]
        assert total(backend, "users") == 1
        backend.close()


@pytest.mark.service("mongodb")
def test_what_is_recorded_while_the_server_is_down_is_there_afterwards() -> None:
    database = own_name()
    place = service("mongodb").removeprefix("mongodb://").rstrip("/")
    host, _, port = place.partition(":")
    with FaultProxy(host, int(port)) as proxy, mongo() as client:
        proxy.set_mode("refuse")
        backend = MongoBackend(database, "metrics", host="127.0.0.1", port=proxy.port)
        metrics = Metrics(backend=backend)
        ids = [metrics.gauge("g", number).inserted_id for number in range(100)]
        assert not backend.engine.metrics.flush(0.5)
        proxy.set_mode("pass")
        assert backend.engine.metrics.flush(40)
        assert {document["_id"] for document in client[database]["metrics"].find()} == set(ids)
        client.drop_database(database)


def test_constructors_need_no_server() -> None:
    assert InfluxBackend("d", host="127.0.0.1", port=1).report("g", "gauge", 1, None, None) is True
