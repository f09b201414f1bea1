"""The contract, part three: queries have the answers of the oracle, the memory backend, for the same records."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from tallystick.backends.base import Backend
from tallystick.backends.memory import answer
from tallystick.errors import QueryError
from tallystick.queries import AGGREGATES, Query, Series
from tallystick.records import COUNTER, GAUGE, Record
from tallystick.testing.base import Contract
from tallystick.testing.builders import NOON_NS, at, counters, make_batch, varied_records

CLOSE = 1e-9
"""Engines add floats in another order than the oracle: relative difference that is let pass."""


def questions(aggregate: str) -> Iterator[Query]:
    """One of each way to ask."""
    start, end = at(0) / 1e9, at(3600) / 1e9
    yield Query(aggregate=aggregate)
    yield Query(aggregate=aggregate, bucket="1h")
    yield Query("user.signup", aggregate=aggregate, bucket="1m")
    yield Query("user.*", aggregate=aggregate, by="plan")
    yield Query("*.v?*", aggregate=aggregate, bucket=90)
    yield Query(["search.time", "queue.*"], aggregate=aggregate, by=["plan", "route"], bucket="15m")
    yield Query("search.time", aggregate=aggregate, where={"plan": "pro"})
    yield Query("search.time", aggregate=aggregate, where={"plan": ["pro", "free"], "route": "/cart"}, by="route")
    yield Query("queue.depth", aggregate=aggregate, start=start, end=end)
    yield Query("queue.depth", aggregate=aggregate, bucket="7m", start=start, end=end)
    yield Query(aggregate=aggregate, start=start + 1.5)
    yield Query(aggregate=aggregate, end=end, by="nothing.has.this")
    yield Query(aggregate=aggregate, kinds="gauge", by="route")
    yield Query(aggregate=aggregate, kinds=["counter", "event", "survey"], bucket="30m")
    yield Query("mixed.values", aggregate=aggregate, bucket="10m", by="plan")
    yield Query(aggregate=aggregate, by="release")
    yield Query("deploy", aggregate=aggregate, where={"release": "true"})
    yield Query("user.signup", aggregate=aggregate, where={"plan": "nobody"})
    yield Query("unknown", aggregate=aggregate)
    yield Query("search.time", aggregate=aggregate, bucket="100ms", start=at(60) / 1e9, end=at(120) / 1e9)
    yield Query(aggregate=aggregate, by=["plan", "route"], limit=4)
    yield Query(aggregate=aggregate, by="plan", bucket="1h", limit=2)


class Answers(Contract):
    def oracle(self, records: list[Record]) -> list[Record]:
        """What the store is known to hold, for the oracle."""
        return [self.expected(record) for record in records]

    @pytest.mark.parametrize("aggregate", AGGREGATES)
    @pytest.mark.usefixtures("answering")
    def test_answers_equal_the_oracles(self, backend: Backend, aggregate: str) -> None:
        batch = make_batch(*varied_records(600))
        self.write(backend, *batch.split(250))
        self.settle(backend)
        records = self.oracle(batch.records)
        for query in questions(aggregate):
            self.assert_answer(backend, records, query)

    @pytest.mark.parametrize("count", [1, 2, 3, 19, 20, 21, 100, 101])
    @pytest.mark.usefixtures("answering")
    def test_percentiles_are_of_the_nearest_rank(self, backend: Backend, count: int) -> None:
        batch = make_batch(*(Record(at(i), GAUGE, "g", (i * 37) % 101) for i in range(count)))
        self.write(backend, batch)
        self.settle(backend)
        for aggregate in ("p50", "p95", "p99"):
            self.assert_answer(backend, self.oracle(batch.records), Query("g", aggregate=aggregate))

    @pytest.mark.parametrize("aggregate", AGGREGATES)
    @pytest.mark.usefixtures("answering")
    def test_one_record_alone_is_answered(self, backend: Backend, aggregate: str) -> None:
        batch = make_batch(Record(at(0), COUNTER, "a", 3, sample_rate=0.5), Record(at(0), GAUGE, "b", "text"))
        self.write(backend, batch)
        self.settle(backend)
        for name in ("a", "b"):
            self.assert_answer(backend, self.oracle(batch.records), Query(name, aggregate=aggregate))
            self.assert_answer(backend, self.oracle(batch.records), Query(name, aggregate=aggregate, bucket=10))

    @pytest.mark.parametrize("aggregate", ["sum", "mean", "min", "max", "last", "p50", "rate"])
    @pytest.mark.usefixtures("answering")
    def test_large_integers_are_counted_with(self, backend: Backend, aggregate: str) -> None:
        values = [2**63 - 1, 2**63 - 1, -(2**62), 2**53 + 1, 7]
        batch = make_batch(*(Record(at(i), GAUGE, "large", value) for i, value in enumerate(values)))
        self.write(backend, batch)
        self.settle(backend)
        self.assert_answer(backend, self.oracle(batch.records), Query("large", aggregate=aggregate))

    @pytest.mark.usefixtures("answering")
    def test_an_empty_tag_is_asked_for_as_any_other_and_is_not_a_missing_one(self, backend: Backend) -> None:
        tags = [{"plan": ""}, {"plan": "pro"}, {"route": ""}, {}, {"plan": "", "route": "/cart"}]
        batch = make_batch(*(Record(at(i), COUNTER, "hits", 1, tags[i % 5]) for i in range(15)))
        self.write(backend, batch)
        self.settle(backend)
        records = self.oracle(batch.records)
        for where in ({"plan": ""}, {"plan": ["", "pro"]}, {"plan": "", "route": "/cart"}, {"nothing": ""}):
            self.assert_answer(backend, records, Query(where=where, by=["plan", "route"]))
        self.assert_answer(backend, records, Query(aggregate="count", by="plan"))

    @pytest.mark.parametrize("aggregate", AGGREGATES)
    @pytest.mark.usefixtures("answering")
    def test_a_sum_beyond_the_largest_double_is_infinite_or_refused(self, backend: Backend, aggregate: str) -> None:
        batch = make_batch(*(Record(at(i), GAUGE, "huge", 1.7e308) for i in range(3)))
        self.write(backend, batch)
        self.settle(backend)
        try:
            self.assert_answer(backend, self.oracle(batch.records), Query("huge", aggregate=aggregate))
        except QueryError:
            assert aggregate in ("sum", "mean", "rate")

    @pytest.mark.parametrize("aggregate", AGGREGATES)
    @pytest.mark.usefixtures("answering")
    def test_the_smallest_double_does_no_harm(self, backend: Backend, aggregate: str) -> None:
        batch = make_batch(*(Record(at(i), GAUGE, "tiny", 5e-324) for i in range(0, 9, 3)))
        self.write(backend, batch)
        self.settle(backend)
        for bucket in (None, "1h"):
            self.assert_answer(backend, self.oracle(batch.records), Query("tiny", aggregate=aggregate, bucket=bucket))

    @pytest.mark.usefixtures("answering")
    def test_last_is_the_largest_of_the_newest(self, backend: Backend) -> None:
        batch = make_batch(
            *(Record(at(1), GAUGE, "g", value, {"n": "1"}) for value in (3, 8.5, 5, True)),
            *(Record(at(1), GAUGE, "g", value, {"n": "2"}) for value in (7, 6)),
            Record(at(0), GAUGE, "g", 99),
            Record(at(2), GAUGE, "g", "not a number"),
        )
        self.write(backend, batch)
        self.settle(backend)
        assert backend.query(Query("g", aggregate="last"))[0].points == [(0.0, 8.5)]

    @pytest.mark.usefixtures("answering")
    def test_the_start_is_in_and_the_end_is_out(self, backend: Backend) -> None:
        self.write(backend, make_batch(*counters(10)))
        self.settle(backend)
        query = Query("hits", aggregate="count", start=at(3) / 1e9, end=at(7) / 1e9)
        assert backend.query(query)[0].points == [(at(3) / 1e9, 4.0)]

    @pytest.mark.usefixtures("answering")
    def test_a_sampled_record_stands_for_those_that_were_not_recorded(self, backend: Backend) -> None:
        self.write(backend, make_batch(*(Record(at(i), COUNTER, "hits", 2, sample_rate=0.1) for i in range(5))))
        self.settle(backend)
        assert backend.query(Query("hits", aggregate="count"))[0].points[0][1] == pytest.approx(50, rel=CLOSE)
        assert backend.query(Query("hits"))[0].points[0][1] == pytest.approx(100, rel=CLOSE)

    @pytest.mark.usefixtures("answering")
    def test_a_thousand_values_of_a_tag_are_a_thousand_series(self, backend: Backend) -> None:
        batch = make_batch(*(Record(at(i), COUNTER, "hits", 1, {"user": f"u{i % 1000}"}) for i in range(2000)))
        self.write(backend, batch)
        self.settle(backend)
        series = backend.query(Query("hits", by="user"))
        assert {s.tags["user"]: s.points[0][1] for s in series} == {f"u{i}": 2.0 for i in range(1000)}
        assert len(backend.query(Query("hits", by="user", limit=10))) == 10

    @pytest.mark.usefixtures("answering")
    def test_records_of_one_nanosecond_are_all_counted(self, backend: Backend) -> None:
        batch = make_batch(*(Record(NOON_NS, COUNTER, "hits", 1, {"plan": "pro"}) for _ in range(self.many)))
        first, second = batch.split(self.many // 2)
        self.write(backend, first, second, first)
        self.settle(backend)
        for aggregate in ("count", "sum"):
            assert backend.query(Query("hits", aggregate=aggregate))[0].points == [(0.0, float(self.many))]

    def assert_answer(self, backend: Backend, records: list[Record], query: Query) -> None:
        """The store's answer is the oracle's. A store that gives no answers has none to compare."""
        if not self.answers_queries:
            return
        if query.limit is not None:
            self._assert_top(backend, records, query)
            return
        given, wanted = backend.query(query), answer(records, query)
        assert [_key(series) for series in given] == [_key(series) for series in wanted], query
        for one, other in zip(given, wanted, strict=True):
            assert [moment for moment, _ in one.points] == [moment for moment, _ in other.points], query
        low, high = self._bounds(records, query, wanted)
        for one, least, most in zip(given, low, high, strict=True):
            for (_, value), (_, lower), (_, upper) in zip(one.points, least.points, most.points, strict=True):
                assert type(value) is float
                slack = CLOSE * min(max(abs(lower), abs(upper), 1e-300), 1e300)
                assert lower - slack <= value <= upper + slack, f"{query}: {_key(one)}"

    def _bounds(self, records: list[Record], query: Query, wanted: list[Series]) -> tuple[list[Series], list[Series]]:
        """The least and the most that may be answered: what is wanted itself, but for an estimated percentile."""
        if query.percentile is None or not self.percentile_error:
            return wanted, wanted
        percent = query.percentile * 100

        def bound(share: float, beside: int) -> list[Series]:
            def aggregate(members: list[Record]) -> float:
                values = sorted(float(record.value) for record in members)  # type: ignore[arg-type]
                rank = math.ceil(len(values) * min(max(share, 0.0), 1.0)) - 1 + beside
                return values[min(max(rank, 0), len(values) - 1)]

            return answer(records, query, aggregate)

        return (
            bound(percent / 100 - self.percentile_error, -1),
            bound(percent / 100 + self.percentile_error, +1),
        )

    def _assert_top(self, backend: Backend, records: list[Record], query: Query) -> None:
        """With a limit: the right number of series, each as without a limit, and none larger left out."""
        unlimited = query.without_limit()
        everything = backend.query(unlimited)
        given = backend.query(query)
        sums = sorted((_total(series) for series in everything), reverse=True)
        assert [_total(series) for series in given] == pytest.approx(sums[: query.limit], rel=CLOSE), query
        assert {_key(series) for series in given} <= {_key(series) for series in answer(records, unlimited)}


def _key(series: Series) -> tuple[str, str | None, tuple[tuple[str, str | None], ...]]:
    return series.name, series.unit, tuple(series.tags.items())


def _total(series: Series) -> float:
    return sum(value for _, value in series.points)
