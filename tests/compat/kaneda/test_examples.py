"""The documentation's examples, in their order, against real servers; what stands there is Kaneda's."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from elasticsearch8 import Elasticsearch
from rethinkdb import RethinkDB

from tallystick.compat.kaneda import Metrics
from tallystick.compat.kaneda.backends import (
    BaseBackend,
    ElasticsearchBackend,
    InfluxBackend,
    LoggerBackend,
    MongoBackend,
    RethinkBackend,
)
from tallystick.compat.kaneda.exceptions import ImproperlyConfigured
from tests.compat.kaneda.places import hits, influx, influx_url, mongo, own_name, search_url
from tests.rethinkdb.standin import StandIn
from tests.services import service

HOST = socket.gethostname()


def all_kinds(metrics: Metrics) -> Any:
    answer = metrics.gauge("users.notifications", 13, tags=["new_message", "follow_request"])
    assert metrics.increment("user.profile.views") is None  # type: ignore[func-returns-value]
    metrics.decrement("hotel.occupation")
    metrics.timing("hotel.availability.request_time", 4)
    metrics.event("user.signup", "New user registered")
    metrics.custom("hotel.response_data", metric="xml", value={"status": "ok", "xml": "<x/>"}, id_="2B75D750")
    return answer


def delivered(backend: Any) -> None:
    assert backend.engine.metrics.flush(20)


@pytest.mark.service("elasticsearch")
def test_elasticsearch_by_host_url_list_and_client() -> None:
    place = urlsplit(search_url())
    index = own_name()
    given: list[dict[str, Any]] = [
        {"host": place.hostname, "port": place.port, "user": "kaneda", "password": "kaneda"},
        {"host": place.hostname, "port": place.port},
        {"connection_url": search_url()},
        {"connection_url": [search_url(), search_url()]},
        {"client": Elasticsearch([search_url()], request_timeout=10)},
    ]
    for number, how in enumerate(given):
        backend = ElasticsearchBackend(index_name=f"{index}{number}", app_name="myapp", **how)
        answer = all_kinds(Metrics(backend=backend))
        delivered(backend)
        found = hits(f"{index}{number}-*")
        assert len(found) == 6
        assert [hit["_source"]["metric"] for hit in found].count("counter") == 2
        (gauge,) = [hit for hit in found if hit["_source"]["metric"] == "gauge"]
        assert (gauge["_id"], gauge["_index"]) == (answer["_id"], answer["_index"])
        assert gauge["_index"] == time.strftime(f"{index}{number}-%Y.%m.%d", time.gmtime())
        assert list(gauge["_source"])[:4] == ["host", "name", "value", "tags"]
        assert gauge["_source"]["tags"] == ["new_message", "follow_request"]
        assert gauge["_source"]["app_name"] == "myapp"
        assert any(hit["_id"] == "2B75D750" for hit in found)
        assert backend.client.ping()
        backend.client.close()


@pytest.mark.service("mongodb")
def test_mongodb_by_host_url_and_client() -> None:
    url = service("mongodb")
    place = urlsplit(url)
    with mongo() as client:
        given: list[dict[str, Any]] = [
            {"host": place.hostname, "port": place.port, "timeout": 3000},
            {"connection_url": f"{url}/", "timeout": 3000},
            {"client": client},
        ]
        for how in given:
            database = own_name()
            backend = MongoBackend(database, "metrics", **how)
            answer = all_kinds(Metrics(backend=backend))
            delivered(backend)
            found = {document["name"]: document for document in client[database]["metrics"].find()}
            assert len(found) == 6
            assert found["users.notifications"]["_id"] == answer.inserted_id
            assert found["hotel.response_data"]["_id"] == "2B75D750"
            assert list(found["hotel.occupation"]) == ["_id", "host", "name", "value", "timestamp", "metric"]
            assert found["hotel.occupation"]["value"] == -1
            assert backend.client.server_info()
            assert backend.collection.count_documents({}) == 6
            if "client" not in how:
                backend.client.close()
            client.drop_database(database)


@pytest.fixture
def rethink() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


def test_rethinkdb_in_one_table_in_one_a_kind_and_by_connection(rethink: StandIn) -> None:
    r = RethinkDB()
    with r.connect("127.0.0.1", rethink.port) as connection:
        backend = RethinkBackend("door", host="127.0.0.1", port=rethink.port, timeout=5)
        answer = all_kinds(Metrics(backend=backend))
        delivered(backend)
        (gauge,) = r.db("door").table("gauge").run(connection)
        assert gauge["id"] == answer["generated_keys"][0]
        assert answer["inserted"] == 1
        assert r.db("door").table("counter").count().run(connection) == 2
        one = RethinkBackend(db="door", table_name="metrics", host="127.0.0.1", port=rethink.port, timeout=5)
        all_kinds(Metrics(backend=one))
        delivered(one)
        assert r.db("door").table("metrics").count().run(connection) == 6
        other = r.connect("127.0.0.1", rethink.port, db="theirs")
        by_connection = RethinkBackend(db="door", table_name="metrics", connection=other)
        all_kinds(Metrics(backend=by_connection))
        delivered(by_connection)
        assert r.db("theirs").table("metrics").count().run(connection) == 6
        other.close()


@pytest.mark.service("influxdb1")
def test_influxdb_with_the_good_examples_and_those_that_were_bad() -> None:
    place = urlsplit(influx_url())
    database = own_name()
    backend = InfluxBackend(database, host=place.hostname, port=place.port, timeout=10)
    metrics = Metrics(backend=backend)
    tags, value = {"from": "login", "to": "edit_profile"}, {"start_time": 120, "end_time": 230}
    assert metrics.gauge("users.notifications", 13) is True
    metrics.timing("user.profile_load_time", 230, tags=tags)
    metrics.custom("zone.search", metric="query_time", value=value)
    metrics.timing("user.profile_load_time", 231, tags=["login", "edit_profile"])
    metrics.custom("zone.search", metric="nested", value={"times": [120, 230], "by": {"start": 120}})
    assert (tags, value) == ({"from": "login", "to": "edit_profile"}, {"start_time": 120, "end_time": 230})
    delivered(backend)
    (timing,) = influx(database, "SELECT * FROM timing")
    assert timing["columns"] == ["time", "edit_profile", "from", "host", "login", "name", "to", "value"]
    assert sorted(row[-1] for row in timing["values"]) == [230, 231]
    (custom,) = influx(database, "SELECT start_time, end_time, host FROM query_time")
    assert custom["values"][0][1:] == [120, 230, HOST]
    (nested,) = influx(database, 'SELECT times, "by" FROM nested')
    assert nested["values"][0][1:] == ["[120,230]", '{"start":120}']
    by_url = InfluxBackend("other", connection_url=f"influxdb://u:p@{place.netloc}/{database}", timeout=10)
    Metrics(backend=by_url).gauge("a", 0.5)
    delivered(by_url)
    assert len(influx(database, "SELECT * FROM gauge")[0]["values"]) == 2
    influx(database, f'DROP DATABASE "{database}"')


def test_the_logger_writes_the_dict_once_whatever_else_logs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = [tmp_path / "a.log", tmp_path / "b.log"]
    first, second = (Metrics(backend=LoggerBackend(filename=str(file))) for file in files)
    all_kinds(first)
    second.custom("n", "k", {"name": "N", "host": "H", "metric": "lost", "_id": "I", "tags": "lost"}, tags={"a": 1})
    lines = files[0].read_text().splitlines()
    assert len(lines) == 6
    said = {"host": HOST, "name": "user.profile.views", "value": 1, "metric": "counter"}
    assert lines[1].endswith(f" - kaneda.backends.logger - {said}")
    (line,) = files[1].read_text().splitlines()
    assert line.partition(" - kaneda.backends.logger - ")[2] == str(
        {"host": "H", "name": "N", "metric": "k", "_id": "I", "tags": {"a": 1}}
    )
    given = logging.getLogger("kaneda.demo")
    Metrics(backend=LoggerBackend(logger=given)).gauge("a", 1)
    assert given.level == logging.NOTSET


class Mine(BaseBackend):
    settings_namespace = "MINE"

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def report(self, name: str, metric: str, value: Any, tags: Any, id_: Any) -> Any:
        if name == "bad":
            raise KeyError(name)
        self.seen.append((name, metric, value, tags, id_))
        return len(self.seen)


def test_a_backend_of_ones_own_is_called_at_once_and_its_errors_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    mine = Mine()
    metrics = Metrics(backend=mine)
    assert metrics.gauge("g", 13, ["a"]) == 1
    metrics.increment("d", {"k": "v"})
    metrics.custom("c", "xml", {"s": 1}, ["x"], "ID")
    assert metrics.gauge("bad", 1) is None
    assert mine.seen == [
        ("g", "gauge", 13, ["a"], None),
        ("d", "counter", 1, {"k": "v"}, None),
        ("c", "xml", {"s": 1}, ["x"], "ID"),
    ]
    assert metrics.failed == {"bad": 1}
    assert "KeyError" in caplog.text
    assert mine._get_payload("n", {"a": 1, "name": "N"}, ["t"]) == {"host": HOST, "name": "N", "a": 1, "tags": ["t"]}


def test_timed_is_right_when_nested_and_in_threads_and_around_two_functions() -> None:
    mine = Mine()
    metrics = Metrics(backend=mine)
    timer = metrics.timed(use_ms=True)

    @timer
    def first() -> None:
        """doc"""
        time.sleep(0.012)

    @timer
    def second() -> None:
        first()

    second()
    assert first.__doc__ == "doc"
    names = [name for name, *_ in mine.seen]
    assert names == [f"{__name__}.first", f"{__name__}.second"]
    assert all(type(value) is int and value >= 12 for _, _, value, _, _ in mine.seen)
    mine.seen.clear()
    block = metrics.timed("block")
    with block as entered:
        assert entered is None
        time.sleep(0.02)
        with block:
            pass
    inner, outer = (value for _, _, value, _, _ in mine.seen)
    assert inner < 0.015
    assert outer >= 0.02
    mine.seen.clear()
    threads = [threading.Thread(target=second) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted({name for name, *_ in mine.seen}) == names
    with pytest.raises(KeyError), metrics.timed("failed"):
        raise KeyError
    assert mine.seen[-1][0] == "failed"


def test_a_client_of_a_wrong_class_is_refused() -> None:
    for make in (
        lambda: ElasticsearchBackend("i", "a", client=object()),
        lambda: MongoBackend("d", "c", client=object()),
        lambda: InfluxBackend("d", client=object()),
        lambda: RethinkBackend("d", connection=object()),
    ):
        with pytest.raises(ImproperlyConfigured):
            make()


def test_the_documentations_first_import_works() -> None:
    from tallystick.compat.kaneda import backend

    assert backend.ElasticsearchBackend is ElasticsearchBackend
