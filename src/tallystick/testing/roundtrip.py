"""The contract, part one: what is written comes back, whole and in order."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from tallystick.backends.base import ACCEPTED, Backend
from tallystick.backends.memory import fits
from tallystick.queries import Query
from tallystick.records import COUNTER, EVENT, GAUGE, TIMING, Record
from tallystick.testing.base import Contract
from tallystick.testing.builders import NOON_NS, at, counters, make_batch, varied_records

VALUES: Final[list[Any]] = [
    *(0, 1, -1, 255, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)),
    *(0.0, 1.0, -2.0, 0.1, 1e-9, 1.7976931348623157e308, 5e-324, 123456789.123456789),
    *(True, False, None),
    *("", "text", "12", "1.5", "true", "null", "2025-06-15T12:00:00Z", '{"a": 1}', "two\nlines", "ünï ☃ 🎉"),
    *(datetime(2025, 6, 15, 12, tzinfo=UTC), datetime(2025, 6, 15, 12, 0, 0, 123456, tzinfo=UTC)),
]
"""Every kind of value but documents."""

DOCUMENTS: Final[list[Any]] = [
    {},
    [],
    {"status": "ok", "size": 1834},
    [1, 2.0, "three", None, True],
    {"a": {"b": {"c": [1, {"d": None}]}}, "list": [[], {}, [[1]]]},
    {"when": datetime(2025, 6, 15, 12, tzinfo=UTC), "all": [datetime(2024, 2, 29, tzinfo=UTC)], "a/b~c": "2025"},
    {"int": 1, "float": 1.0, "bool": True, "none": None, "text": "1"},
]


class RoundTrip(Contract):
    def test_every_kind_comes_back(self, backend: Backend) -> None:
        batch = make_batch(
            Record(at(0), COUNTER, "user.signup", 1),
            Record(at(1), GAUGE, "queue.depth", 17),
            Record(at(2), TIMING, "search.time", 0.042, unit="s"),
            Record(at(3), EVENT, "deploy", "v42 is out"),
            Record(at(4), "xml", "hotel.response", {"status": "ok", "size": 1834}),
        )
        self.write(backend, batch)
        self.assert_stored(backend, *batch.records)

    def test_every_value_comes_back_with_its_type(self, backend: Backend) -> None:
        batch = make_batch(*(Record(at(i), "sample", f"value.{i}", value) for i, value in enumerate(VALUES)))
        self.write(backend, batch)
        self.assert_stored(backend, *batch.records)

    def test_documents_and_lists_come_back(self, backend: Backend) -> None:
        batch = make_batch(*(Record(at(i), "xml", "document", value) for i, value in enumerate(DOCUMENTS)))
        self.write(backend, batch)
        self.assert_stored(backend, *batch.records)

    def test_values_of_different_types_live_under_one_name(self, backend: Backend) -> None:
        mixed: list[Any] = [
            1,
            2.5,
            "many",
            None,
            True,
            3,
            {"n": 3},
            [4],
            "5",
            6.0,
            datetime(2025, 6, 15, tzinfo=UTC),
            {"n": "x"},
        ]
        batch = make_batch(*(Record(at(i), "survey", "mixed", value) for i, value in enumerate(mixed)))
        self.write(backend, batch)
        self.assert_stored(backend, *batch.records)

    def test_tags_words_unit_metadata_and_sample_rate_come_back(self, backend: Backend) -> None:
        batch = make_batch(
            Record(at(0), COUNTER, "a", 1, {"plan": "pro", "env": "prod"}),
            Record(at(1), COUNTER, "a", 1, {"release": "true", "beta": "true"}, ("release", "beta")),
            Record(at(2), COUNTER, "a", 1, {"env": "prod", "release": "true"}, ("release",)),
            Record(at(3), COUNTER, "a", 1, {"release": "true"}),
            Record(at(4), TIMING, "a", 42, unit="ms"),
            Record(at(5), TIMING, "a", 42, unit="s"),
            Record(at(6), GAUGE, "a", 1, metadata={"user": "83121", "cart": {"items": [1, 2.5, None, True]}}),
            Record(at(7), GAUGE, "a", True, {"x": "y"}, unit="u", metadata={"k": "v"}, sample_rate=0.1),
            Record(at(8), COUNTER, "a", 1, sample_rate=0.25),
            Record(at(9), COUNTER, "a", {"d": 1}, unit="u", metadata={"k": "v"}, own_id="order-7"),
        )
        self.write(backend, batch)
        self.assert_stored(backend, *batch.records)

    def test_host_application_and_process_come_back(self, backend: Backend) -> None:
        one = make_batch(*counters(2), host="web-1", app="shop", pid=17, tags={"env": "prod"})
        two = make_batch(*counters(2), host="web-2", app="", pid=2**22)
        self.write(backend, one, two)
        self.assert_stored(backend, *one.records, *two.records)

    def test_nanoseconds_are_kept(self, backend: Backend) -> None:
        batch = make_batch(*(Record(NOON_NS + i, GAUGE, "g", i) for i in (0, 1, 999, 1000, 999_999_999)))
        self.write(backend, batch)
        self.assert_stored(backend, *batch.records)

    def test_moments_before_1970_are_kept(self, backend: Backend) -> None:
        if not self.holds_before_1970:
            pytest.skip("this store says that it cannot hold moments before 1970")
        batch = make_batch(*(Record(moment, GAUGE, "g", 1) for moment in (-1, -86_400_000_000_000, 0)))
        self.write(backend, batch)
        self.assert_stored(backend, *batch.records)
        if self.answers_queries:
            points = backend.query(Query("g", aggregate="count", bucket="1h"))[0].points
            assert points == [(-86400.0, 1.0), (-3600.0, 1.0), (0.0, 1.0)]
            later = Query("g", aggregate="count", bucket="1h", start=-7200)
            assert backend.query(later)[0].points == [(-3600.0, 1.0), (0.0, 1.0)]

    def test_records_come_oldest_first(self, backend: Backend) -> None:
        batch = make_batch(*varied_records(100))
        self.write(backend, batch)
        times = [record.timestamp_ns for record in self.stored(backend)]
        assert times == sorted(record.timestamp_ns for record in batch.records)

    def test_equally_old_records_come_in_the_order_of_recording(self, backend: Backend) -> None:
        if not self.keeps_order:
            pytest.skip("this store says that it keeps no order among equally old records")
        batch = make_batch(*(Record(NOON_NS, GAUGE, f"g.{i % 7}", i) for i in range(30)))
        self.write(backend, *batch.split(20))
        assert [record.value for record in self.stored(backend)] == [
            self.expected(record).value for record in batch.records
        ]

    def test_records_are_chosen_by_name_kind_tags_and_time(self, backend: Backend) -> None:
        records = make_batch(*varied_records(150)).records
        self.write(backend, make_batch(*records))
        for query in (
            Query("user.signup"),
            Query("user.*"),
            Query(["page.vie?", "deploy"]),
            Query(kinds=["gauge", "survey"]),
            Query(where={"plan": "pro", "route": ["/", "/cart"]}),
            Query(start=at(600) / 1e9, end=at(4200) / 1e9),
            Query("nothing"),
        ):
            fitting = [record for record in records if fits(record, query)]
            assert len(self.stored(backend, query)) == len(fitting), query

    def test_the_newest_records_are_given_oldest_first(self, backend: Backend) -> None:
        batch = make_batch(*counters(20))
        self.write(backend, batch)
        values = [record.timestamp_ns for record in self.stored(backend, newest=3)]
        assert values == [at(17), at(18), at(19)]
        assert len(self.stored(backend, newest=100)) == 20

    def test_writing_leaves_the_batch_as_it_was(self, backend: Backend) -> None:
        """Records share what they hold and may be sent again: drivers that change what they get, get copies."""
        batch = make_batch(
            Record(at(0), "xml", "document", {"a": {"b": [1, {"c": None}]}}, {"plan": "pro"}, own_id="order-7"),
            Record(at(1), GAUGE, "g", 1, {"plan": "pro", "new": "true"}, ("new",), metadata={"cart": {"items": [1]}}),
            tags={"env": "prod"},
        )
        before = deepcopy((batch.header, batch.start, batch.end, batch.records, batch.missing))
        self.write(backend, batch)
        assert (batch.header, batch.start, batch.end, batch.records, batch.missing) == before

    def test_an_empty_store_answers_nothing(self, backend: Backend) -> None:
        assert self.stored(backend) == []
        if self.answers_queries:
            assert backend.query(Query("hits", aggregate="count")) == []

    def test_an_empty_batch_is_accepted(self, backend: Backend) -> None:
        assert backend.write(make_batch()) == ACCEPTED
        assert self.stored(backend) == []
