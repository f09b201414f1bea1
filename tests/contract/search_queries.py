"""Answers of a search backend where engines have limits, and about data that others wrote."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from tests.contract.search import DAY, DAY_SECONDS, SearchStore, ask, in_batches, refresh, remove, same

from tallystick.backends.base import ACCEPTED, Foreign
from tallystick.backends.memory import answer
from tallystick.backends.search.backend import SearchBackend
from tallystick.errors import QueryError
from tallystick.queries import Query
from tallystick.records import COUNTER, GAUGE, Record
from tallystick.testing import at, counters, make_batch


class SearchQueries(SearchStore):
    def test_more_groups_than_a_page_holds_are_all_given(self, backend: SearchBackend) -> None:
        records = [Record(at(i % 7), COUNTER, "hits", 1, {"user": f"u{i % 12_000}"}) for i in range(24_000)]
        for batch in in_batches(records):
            assert backend.write(batch) == ACCEPTED
        refresh(backend)
        found = backend.query(Query("hits", by="user"))
        assert len(found) == 12_000
        assert {series.points[0][1] for series in found} == {2.0}
        points = backend.query(Query("hits", by="user", bucket="1s"))
        assert sum(len(series.points) for series in points) == len({(r.timestamp_ns, r.tags["user"]) for r in records})

    def test_more_buckets_than_the_server_builds_at_once_are_all_given(self, backend: SearchBackend) -> None:
        records = [Record(at(i), COUNTER, "hits", 1, {"n": str(i % 3)}) for i in range(70_000)]
        for batch in in_batches(records):
            assert backend.write(batch) == ACCEPTED
        refresh(backend)
        points = [point for series in backend.query(Query("hits", bucket="1s", by="n")) for point in series.points]
        assert sorted(moment for moment, _ in points) == [at(i) / 1e9 for i in range(70_000)]

    @pytest.mark.parametrize("bucket", [0.0005, 0.0015, 1 / 3, 1e-6, 2e-9])
    @pytest.mark.parametrize("aggregate", ["count", "sum", "last", "rate"])
    def test_buckets_of_broken_milliseconds_are_exact(
        self, backend: SearchBackend, bucket: float, aggregate: str
    ) -> None:
        moments = [0, 1, 2, 499_999, 500_000, 999_999, 1_000_000, 1_499_999, 1_500_000, 333_333_333, 333_333_334]
        records = [Record(at(0) + ns, GAUGE, "g", i, {"odd": str(i % 2)}) for i, ns in enumerate(moments)]
        self.check_answers(backend, records, Query("g", aggregate=aggregate, bucket=bucket, by="odd"))

    def test_the_ends_of_a_range_are_exact_to_the_nanosecond(self, backend: SearchBackend) -> None:
        start, end = at(0) / 1e9 + 0.5, at(1) / 1e9 + 0.5  # moments that a float holds exactly
        start_ns, end_ns = at(0.5), at(1.5)
        moments = [start_ns - 1, start_ns, start_ns + 1, end_ns - 1, end_ns, end_ns + 1]
        records = [Record(moment, GAUGE, "g", i) for i, moment in enumerate(moments)]
        for bucket in (None, 0.001, 0.01, 1, 0.0005):
            for aggregate in ("count", "min", "max"):
                query = Query("g", aggregate=aggregate, start=start, end=end, bucket=bucket)
                self.check_answers(backend, records, query)
        assert [record.value for record in backend.records(Query("g", start=start, end=end))] == [1, 2, 3]

    @pytest.mark.parametrize(
        ("start", "end"), [(-5.0, None), (None, -5.0), (-8.9e9, 8.9e9), (8.9e9, None), (None, 8.9e9)]
    )
    def test_ranges_beyond_what_an_index_holds_are_answered(
        self, backend: SearchBackend, start: float | None, end: float | None
    ) -> None:
        records = [Record(moment, GAUGE, "g", 1) for moment in (0, 1, at(0), 2**63 - 1)]
        for bucket in (None, "1d", 8.9e9):
            self.check_answers(backend, records, Query("g", aggregate="count", start=start, end=end, bucket=bucket))

    def test_percentiles_are_within_the_stated_error(self, backend: SearchBackend) -> None:
        values = [((i * 7919) % 20_011) ** 2 / 1e3 for i in range(20_000)]
        for batch in in_batches([Record(at(i % 900), GAUGE, "g", value) for i, value in enumerate(values)]):
            assert backend.write(batch) == ACCEPTED
        refresh(backend)
        values.sort()
        for aggregate, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            (series,) = backend.query(Query("g", aggregate=aggregate))
            below = sum(value <= series.points[0][1] for value in values) / len(values)
            assert abs(below - share) < 0.01, aggregate

    @pytest.mark.parametrize(
        "values", [[1, 99], [0.01, 0.02, 10], [32, 2**53 + 1], [5], [0, 1, 1, 1, 1e9], [-7, 7] * 30]
    )
    def test_a_percentile_of_few_records_lies_between_neighbours_of_the_nearest_rank(
        self, backend: SearchBackend, values: list[float]
    ) -> None:
        """As the how-to page says; and a middle between them is all that the server can be off."""
        backend.write(make_batch(*(Record(at(i), GAUGE, "g", value) for i, value in enumerate(values))))
        refresh(backend)
        values = sorted(values)
        for percent in (50, 95, 99):
            nearest = math.ceil(len(values) * percent / 100) - 1
            least, most = values[max(nearest - 1, 0)], values[min(nearest + 1, len(values) - 1)]
            ((_, found),) = backend.query(Query("g", aggregate=f"p{percent}"))[0].points
            assert least <= found <= most, (percent, least, most)

    def test_stores_whose_names_begin_alike_do_not_mix(self, backend: SearchBackend) -> None:
        other = self.make(f"{backend.index}-eu")
        other.open()
        mine, theirs = make_batch(*counters(3)), make_batch(*counters(4))
        assert backend.write(mine) == ACCEPTED
        assert other.write(theirs) == ACCEPTED
        refresh(other)
        assert self.ids(backend) == sorted(record.id for record in mine.records)
        assert self.ids(other) == sorted(record.id for record in theirs.records)
        assert [i["records"] for i in (*backend.indices(), *other.indices())] == [3, 4]
        assert backend.prune(at(10 * DAY_SECONDS) / 1e9) == 3
        assert len(self.ids(other)) == 4
        remove(other)

    def test_a_query_that_the_server_refuses_says_so(self, backend: SearchBackend) -> None:
        backend.write(make_batch(*counters(1)))
        settings = {"index.max_terms_count": 2}
        ask(backend, "PUT", f"/{backend.index}-{DAY}/_settings", settings)
        with pytest.raises(QueryError, match="max_terms_count"):
            backend.query(Query(["a", "b", "c"]))

    # --- data of others -----------------------------------------------------------------------------------------------

    def test_data_written_by_others_is_asked_by_its_columns(self, backend: SearchBackend) -> None:
        """As documents of somebody's own look whose mapping the server guessed."""
        source = f"{backend.index}-other"
        records = [
            Record(at(i * 7.5), "timing", f"page.{i % 3}", i / 8, {"route": f"/{i % 4}", "size": str(i % 5)})
            for i in range(200)
        ]
        lines = []
        for i, record in enumerate(records):
            moment = datetime.fromtimestamp(record.timestamp_ns / 1e9, UTC)
            columns = {"metric": record.name, "what": record.kind, "took": record.value, "path": record.tags["route"]}
            columns |= {"when": moment.isoformat(), "bytes": i % 5, "ms": record.timestamp_ns // 1_000_000}
            columns |= {"ns": record.timestamp_ns, "s": record.timestamp_ns / 1e9, "words": "some full text"}
            lines += [msgspec.json.encode({"index": {}}), msgspec.json.encode(columns)]
        body = b"\n".join(lines) + b"\n"
        # A guess would hold seconds as 32-bit floats, two minutes apart.
        ask(backend, "PUT", f"/{source}", {"mappings": {"properties": {"s": {"type": "double"}}}})
        backend._opened().bulk(f"/{source}/_bulk?refresh=true", body)
        columns = {"value": "took", "name": "metric", "kind": "what", "tags": {"route": "path", "size": "bytes"}}
        for when, unit in (("when", "native"), ("when", "iso"), ("ms", "ms"), ("s", "s"), ("ns", "ns")):
            foreign = Foreign(source=source, time=when, time_unit=unit, **columns)  # type: ignore[arg-type]
            for query in foreign_questions():
                same(backend.query_foreign(query, foreign), answer(records, query), query)
        bare = Foreign(source=source, time="when", value="took")
        (series,) = backend.query_foreign(Query(aggregate="max"), bare)
        assert (series.name, series.points) == (source, [(0.0, 199 / 8)])
        assert backend.query_foreign(Query("another"), bare) == []
        assert backend.query_foreign(Query(kinds="counter"), bare) == []

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"source": "no-such-index"}, "there is no index"),
            ({"value": "nothing"}, "nothing: no such field"),
            ({"value": "path"}, "no number"),
            ({"time": "nothing"}, "nothing: no such field"),
            ({"time": "path"}, "no time"),
            ({"time": "ms"}, "say its time_unit"),
            ({"name": "nothing"}, "nothing: no such field"),
            ({"tags": {"a": "nothing"}}, "nothing: no such field"),
            ({"tags": {"a": "essay"}}, "full text"),
        ],
    )
    def test_a_column_that_is_not_there_or_will_not_do_is_named(
        self, backend: SearchBackend, change: dict[str, Any], says: str
    ) -> None:
        source = f"{backend.index}-other"
        fields = {"when": "date", "took": "float", "path": "keyword", "ms": "long", "essay": "text"}
        properties = {name: {"type": type_} for name, type_ in fields.items()}
        ask(backend, "PUT", f"/{source}", {"mappings": {"properties": properties}})
        foreign = Foreign(**{"source": source, "time": "when", "value": "took", **change})
        with pytest.raises(QueryError, match=says):
            backend.query_foreign(Query(), foreign)


def foreign_questions() -> Iterator[Query]:
    start, end = at(60) / 1e9, at(600) / 1e9
    for aggregate in ("count", "sum", "mean", "min", "max", "last", "rate"):
        yield Query(aggregate=aggregate, bucket="1m", by="route")
        yield Query("page.?", aggregate=aggregate, by=["size", "missing"], start=start, end=end)
        yield Query("page.1", aggregate=aggregate, where={"route": ["/1", "/2"], "size": "3"})
        yield Query(aggregate=aggregate, where={"missing": "x"})
        yield Query(aggregate=aggregate, kinds="timing", bucket="90s", start=start)
