"""What is only true of InfluxDB, on real servers: one record is one point, every text comes back, newest of an id."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.influxdb import fresh, server_of, write_lines
from tests.contract.influxdb_records import names, records

from tallystick.backends.influxdb import InfluxdbBackend
from tallystick.backends.influxdb.lines import STEP_NS
from tallystick.errors import QueryError
from tallystick.queries import AGGREGATES, Query
from tallystick.records import COUNTER, GAUGE, Batch, Record
from tallystick.testing import at, counters, make_batch
from tallystick.testing.answers import Answers
from tallystick.testing.base import FIELDS
from tallystick.testing.builders import NOON_NS, typed

pytestmark = pytest.mark.service("influxdb1", "influxdb2")

both = pytest.mark.parametrize("version", [1, 2])


@pytest.fixture
def backend(version: int) -> Iterator[InfluxdbBackend]:
    with fresh(version) as backend:
        yield backend


# --- one record, one point --------------------------------------------------------------------------------------------


@both
def test_records_of_one_nanosecond_by_many_writers_on_many_hosts_are_all_there(backend: InfluxdbBackend) -> None:
    """Segments of one process follow each other, processes run beside each other, hosts too: all at the same places."""
    batches = [
        make_batch(*(Record(NOON_NS, COUNTER, "hits", 1, {"plan": "pro"}) for _ in range(500)), host=host, pid=pid)
        for host in ("web-1", "web-2")
        for pid in (17, 17, 18)
    ]
    for batch in [*batches, *batches]:
        assert not backend.write(batch).rejected
    assert backend.query(Query("hits"))[0].points == [(0.0, 3_000.0)]
    assert len({record.id for record in backend.records(Query())}) == 3_000


@both
def test_ten_thousand_increments_of_one_nanosecond_are_ten_thousand_points(backend: InfluxdbBackend) -> None:
    """Sent whole, again, and in parts that overlap: by the server's own count."""
    batch = make_batch(*(Record(NOON_NS, COUNTER, "hits", 1, {"plan": "pro"}) for _ in range(10_000)))
    parts = [
        Batch(batch.header, batch.start, batch.end, batch.records[first : first + 4_000])
        for first in range(0, 10_000, 2_500)
    ]
    for sent in (batch, batch, *parts):
        assert not backend.write(sent).rejected
        (answered,) = server_of(backend).ask(['SELECT count("value"), sum("value") FROM "hits"'])
        assert answered[0].values[0][1:] == [10_000, 10_000]
    found = {record.id for record in backend.records(Query())}
    assert found == {record.id for record in batch.records}


@both
def test_times_closer_than_the_shift_stay_apart_and_come_back_in_order(backend: InfluxdbBackend) -> None:
    """A later record at an earlier place, and the other way round, by every distance around a hundredth of a second."""
    distances = [0, 1, 139, 140, 141, 999, 1_000, STEP_NS - 140, STEP_NS - 1, STEP_NS, STEP_NS + 1]
    moments = [NOON_NS + sign * distance for distance in distances for sign in (1, -1)]
    batch = make_batch(*(Record(moment, GAUGE, "g", index) for index, moment in enumerate(moments)))
    assert not backend.write(batch).rejected
    found = list(backend.records(Query()))
    expected = sorted(batch.records, key=lambda record: (record.timestamp_ns, record.offset))
    assert [(record.timestamp_ns, record.value) for record in found] == [(r.timestamp_ns, r.value) for r in expected]


@both
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_a_range_that_begins_within_a_hundredth_of_a_second_is_exact(backend: InfluxdbBackend, aggregate: str) -> None:
    records = [Record(NOON_NS + index * 700_001, GAUGE, "g", index % 7) for index in range(100)]
    batch = make_batch(*records)
    assert not backend.write(batch).rejected
    for start in (NOON_NS + 3_000_512, NOON_NS + 20_000_000, NOON_NS + 31_415_808):
        query = Query("g", aggregate=aggregate, start=start / 1e9, end=start / 1e9 + 0.0271)
        Answers().assert_answer(backend, batch.records, query)
        bucketed = Query("g", aggregate=aggregate, start=start / 1e9, end=start / 1e9 + 0.0271, bucket=0.01)
        Answers().assert_answer(backend, batch.records, bucketed)


@both
def test_a_bucket_that_is_no_whole_hundredths_of_a_second_is_refused(backend: InfluxdbBackend) -> None:
    with pytest.raises(QueryError, match="whole hundredths"):
        backend.query(Query("g", bucket=0.015))


@both
def test_the_tag_of_writers_can_be_bounded(version: int) -> None:
    with fresh(version, writers=4) as backend:
        batches = [make_batch(*counters(20, tags={"plan": "pro"}), pid=pid) for pid in range(30)]
        for batch in [*batches, *batches]:
            assert not backend.write(batch).rejected
        assert len(list(backend.records(Query()))) == 600
        found = {record.id: record for record in backend.records(Query())}
        assert all(_row(found[record.id]) == _row(record) for batch in batches for record in batch.records)
        (answered,) = server_of(backend).ask([f"SHOW SERIES FROM {server_of(backend).source('hits')}"])
        assert sum(len(rows.values) for rows in answered) <= 4


def _row(record: Record) -> dict[str, Any]:
    return {field: typed(getattr(record, field)) for field in FIELDS}


# --- every legal text -------------------------------------------------------------------------------------------------


@both
def test_every_legal_name_tag_and_value_comes_back_equal(version: int, thorough: bool) -> None:
    with fresh(version) as backend:

        @settings(max_examples=1_000 if thorough else 40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(records(), min_size=1, max_size=15), names, names)
        def round_trip(given: list[Record], host: str, app: str) -> None:
            batch = make_batch(*given, host=host, app=app)
            assert not backend.write(batch).rejected
            found = {record.id: record for record in backend.records(Query())}
            assert len(found) == len(given)
            assert [_row(found[record.id]) for record in batch.records] == [_row(record) for record in batch.records]
            assert backend.prune(4_102_444_800) == len(given)

        round_trip()


@both
def test_names_and_tags_that_are_too_long_together_are_rejected_with_the_reason(backend: InfluxdbBackend) -> None:
    tags = {f"{number:02}{'k' * 253}": "v" * 1_000 for number in range(64)}
    batch = make_batch(*counters(3), Record(at(0), GAUGE, "long", 1, tags), *counters(3))
    result = backend.write(batch)
    assert list(result.rejected) == [3]
    assert "no more than 65000" in result.rejected[3]
    assert len(list(backend.records(Query()))) == 6


# --- ids of the caller's ----------------------------------------------------------------------------------------------


@both
def test_versions_written_at_once_end_with_the_newest_alone(version: int) -> None:
    with fresh(version) as backend:
        handles = [InfluxdbBackend(backend._url) for _ in range(4)]
        failures: list[BaseException] = []

        def run(number: int, handle: InfluxdbBackend) -> None:
            try:
                handle.open()
                for step in range(6):
                    moment = at(step * 4 + number)
                    names = ("order.open", "order.closed")
                    own = [
                        Record(moment, GAUGE, names[step % 2], moment, {"n": str(number)}, own_id=f"id-{i}")
                        for i in range(5)
                    ]
                    assert not handle.write(make_batch(*own)).rejected
            except BaseException as error:
                failures.append(error)
            finally:
                handle.close()

        threads = [threading.Thread(target=run, args=pair) for pair in enumerate(handles)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        found = [(record.id, record.timestamp_ns) for record in backend.records(Query())]
        assert sorted(found) == [(f"id-{i}", at(23)) for i in range(5)]
        assert sum(s.points[0][1] for s in backend.query(Query(aggregate="count"))) == 5


@both
def test_content_that_the_server_refuses_leaves_older_content_of_the_same_batch(backend: InfluxdbBackend) -> None:
    write_lines(backend, f"taken value=7i {at(0)}")
    old, new = Record(at(0), GAUGE, "free", 1, own_id="a"), Record(at(1), GAUGE, "taken", 2, own_id="a")
    result = backend.write(make_batch(old, new))
    assert list(result.rejected) == [1]
    assert [record.value for record in backend.records(Query())] == [1]
