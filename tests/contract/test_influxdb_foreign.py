"""What others wrote to InfluxDB 1 and 2, and another server that reads our lines."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from operator import methodcaller
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from tests.contract.influxdb import fresh, server_of, write_lines
from tests.contract.influxdb_others import LINES, assert_answered_like_ours
from tests.services import service

from tallystick.backends.base import Foreign
from tallystick.backends.influxdb import InfluxdbBackend
from tallystick.backends.influxdb.text import decoded, tag_to_value
from tallystick.errors import QueryError
from tallystick.queries import AGGREGATES, Query
from tallystick.records import COUNTER, Record
from tallystick.testing import at, counters, make_batch
from tallystick.testing.hostile import HOSTILE

pytestmark = pytest.mark.service("influxdb1", "influxdb2")

both = pytest.mark.parametrize("version", [1, 2])


@pytest.fixture
def backend(version: int) -> Iterator[InfluxdbBackend]:
    with fresh(version) as backend:
        yield backend


# --- what others wrote ------------------------------------------------------------------------------------------------


@both
def test_measurements_of_others_are_neither_counted_nor_pruned(backend: InfluxdbBackend) -> None:
    write_lines(backend, 'cpu,host=a usage=0.5,text="x" 1', "value value=3 1")
    assert backend.query(Query(aggregate="count")) == []
    assert backend.indices() == []
    assert backend.prune(4e9) == 0
    assert not backend.write(make_batch(*counters(3))).rejected
    write_lines(backend, f"hits,host=a value=50 {at(1)}")
    for aggregate in ("sum", "max", "last", "p99", "count"):
        wanted = {"sum": 3.0, "count": 3.0}.get(aggregate, 2.0)
        found = backend.query(Query(aggregate=aggregate))
        assert [(series.name, series.points) for series in found] == [("hits", [(0.0, wanted)])]
    assert [record.value for record in backend.records(Query())] == [0, 1, 2]
    (answered,) = server_of(backend).ask(["SELECT count(*) FROM cpu"])
    assert answered[0].values[0][1:] == [1, 1]


@both
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_questions_about_data_of_others_are_answered_like_ours(backend: InfluxdbBackend, aggregate: str) -> None:
    write_lines(backend, *LINES)
    assert_answered_like_ours(backend, aggregate)


@both
def test_columns_that_are_not_there_are_said_to_be_missing(backend: InfluxdbBackend) -> None:
    write_lines(backend, "old,plan=pro took=1,size=2i 1")
    good = {"source": "old", "time": "time", "value": "took"}
    assert backend.query_foreign(Query("old"), Foreign(**good))[0].points == [(0.0, 1.0)]  # type: ignore[arg-type]
    for change, said in (
        ({"source": "older"}, "no such measurement"),
        ({"value": "plan"}, "no such measurement with the field plan"),
        ({"tags": {"plan": "plans"}}, "no tag plans"),
        ({"name": "took"}, "no tag took"),
        ({"time": "size"}, "points by their own time"),
        ({"time_unit": "ms"}, "points by their own time"),
    ):
        with pytest.raises(QueryError, match=said):
            backend.query_foreign(Query("old"), Foreign(**{**good, **change}))  # type: ignore[arg-type]


# --- VictoriaMetrics, which reads the same lines ----------------------------------------------------------------------


@pytest.fixture
def place() -> str:
    return service("victoriametrics")


def ask(place: str, path: str, **parameters: str) -> list[Any]:
    """The lines of JSON that VictoriaMetrics answers."""
    with urllib.request.urlopen(f"{place}{path}?{urlencode(parameters)}", timeout=10) as reply:
        return [json.loads(line) for line in reply.read().splitlines() if line.startswith(b"{")]


@pytest.mark.service("victoriametrics")
def test_victoriametrics_reads_every_number_that_we_send_with_its_time_and_tags(place: str) -> None:
    """To the millisecond, and texts as 0, as it does with everybody's lines; it answers no InfluxQL."""
    backend = InfluxdbBackend.from_url(f"influxdb://{urlsplit(place).netloc}/metrics")
    backend.open()
    name = f"hits_{time.time_ns()}"
    batch = make_batch(
        *(Record(at(i), COUNTER, name, i * 1.5, {"plan": "pro", "text": text}) for i, text in enumerate(HOSTILE)),
        *(Record(at(i), COUNTER, name, i, {text: "yes"}) for i, text in enumerate(HOSTILE)),
        Record(at(60), "note", name, "a text", {"plan": "pro"}),
    )
    assert not backend.write(batch).rejected
    ask(place, "/internal/force_flush")
    ours = {"__name__", "db", "app", "host", "kind", "pid", "type", "writer"}
    found = [
        (
            moment,
            float(value),
            {decoded(key): tag_to_value(text) for key, text in series["metric"].items() if key not in ours},
        )
        for series in ask(place, "/api/v1/export", **{"match[]": f'{{__name__="{name}_value"}}'})
        for moment, value in zip(series["timestamps"], series["values"], strict=True)
    ]
    wanted = [
        (r.timestamp_ns // 10**6, float(r.value), r.tags) for r in batch.records if isinstance(r.value, int | float)
    ]
    order = methodcaller("__repr__")
    assert sorted(found, key=order) == sorted(wanted, key=order)
    (text,) = ask(place, "/api/v1/export", **{"match[]": f'{{__name__="{name}_text"}}'})
    assert text["values"] == [0]
    with pytest.raises(QueryError, match="answers no InfluxQL"):
        backend.query(Query(name))
    backend.close()
