"""What Elasticsearch and OpenSearch have to keep beyond the contract, on real servers: one class for both."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from tests.contract.faults import TIMEOUT_SECONDS, FaultContract, numbered, write_once, write_until_stored
from tests.proxy import FaultProxy
from tests.services import service

from tallystick.agent.attempt import Attempt
from tallystick.agent.delivery import Deliverer
from tallystick.agent.report import Report
from tallystick.backends._search import BODY_BYTES, SearchBackend
from tallystick.backends.base import ACCEPTED, Backend, Foreign
from tallystick.backends.memory import answer
from tallystick.errors import Misconfigured, QueryError, TooLarge, Unavailable
from tallystick.queries import Query
from tallystick.records import COUNTER, EVENT, GAUGE, Batch, Record
from tallystick.spool.folder import Folder
from tallystick.testing import BackendContract, at, counters, make_batch
from tallystick.testing.hostile import poison

DAY = "2025.06.15"
"""Of `at(0)`."""
DAY_SECONDS = 86_400

_numbers = itertools.count()


def new_index() -> str:
    return f"contract-{os.getpid()}-{next(_numbers)}"


def ask(backend: Backend, method: str, target: str, body: Any = None) -> Any:
    assert isinstance(backend, SearchBackend)
    return backend._opened(setup=False).ask(method, target, body)


def refresh(backend: Backend) -> None:
    assert isinstance(backend, SearchBackend)
    ask(backend, "POST", f"/{backend.index}-*/_refresh?ignore_unavailable=true")


def remove(backend: Backend) -> None:
    """Every index of the prefix, in small lots since their names stand in a URL, and the template."""
    assert isinstance(backend, SearchBackend)
    settings = "_settings?expand_wildcards=open,closed&filter_path=*.settings.index.uuid"
    found = list(ask(backend, "GET", f"/{backend.index}*/{settings}") or ())
    for start in range(0, len(found), 50):
        ask(backend, "DELETE", "/" + ",".join(found[start : start + 50]))
    ask(backend, "DELETE", f"/_index_template/{backend.index}")
    backend.close()


class OfSearch:
    """Where the server is, and which backend speaks to it."""

    server: ClassVar[str]
    kind: ClassVar[type[SearchBackend]]

    def make(self, index: str | None = None, **options: Any) -> SearchBackend:
        return self.kind(service(self.server).removeprefix("http://"), index=index or new_index(), **options)


class SearchContract(OfSearch, BackendContract):
    """What both engines relax: they estimate percentiles, and hold the years 1970 to 2262. See their how-to pages."""

    percentile_error = 0.01
    holds_before_1970 = False

    def make_backend(self, tmp_path: Path) -> Backend:
        return self.make()

    def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, SearchBackend)
        return self.make(backend.index)

    def settle(self, backend: Backend) -> None:
        refresh(backend)

    def tear_down(self, backend: Backend) -> None:
        remove(backend)


class SearchFaults(OfSearch, FaultContract):
    def make_backend(self, port: int, timeout_seconds: float) -> Backend:
        return self.kind(f"127.0.0.1:{port}", index=new_index(), timeout_seconds=timeout_seconds)

    def settle(self, backend: Backend) -> None:
        refresh(backend)

    def tear_down(self, backend: Backend) -> None:
        remove(backend)

    def test_an_answer_that_trickles_in_is_noticed_within_twice_the_timeout(
        self, backend: Backend, proxy: FaultProxy
    ) -> None:
        batch = numbered(3)
        proxy.set_mode("trickle")
        for _ in range(2):  # on the connection that was open, then on a new one
            began = time.monotonic()
            with pytest.raises(Unavailable, match="answer"):
                write_once(backend, batch)
            assert time.monotonic() - began < 2 * TIMEOUT_SECONDS + 0.5
        proxy.set_mode("pass")
        write_until_stored(backend, batch)
        self.check_stored(backend, batch)


class SearchPromises(OfSearch):
    @pytest.fixture
    def backend(self) -> Iterator[SearchBackend]:
        backend = self.make()
        backend.open()
        yield backend
        remove(backend)

    def ids(self, backend: SearchBackend, query: Query | None = None) -> list[str]:
        refresh(backend)
        return sorted(record.id for record in backend.records(query or Query()))

    def make_index(self, backend: SearchBackend, day: str = DAY, **body: Any) -> str:
        name = f"{backend.index}-{day}"
        ask(backend, "PUT", f"/{name}", body)
        return name

    def check_answers(self, backend: SearchBackend, records: list[Record], query: Query) -> None:
        """The store's answer is the oracle's."""
        batch = make_batch(*records, segment="one", start=100)
        assert backend.write(batch) == ACCEPTED
        refresh(backend)
        same(backend.query(query), answer(batch.records, query), query)

    # --- verdicts -----------------------------------------------------------------------------------------------------

    def test_a_field_of_another_type_rejects_the_conflicting_records_alone(self, backend: SearchBackend) -> None:
        self.make_index(backend, mappings={"properties": {"value": {"type": "ip"}}})
        batch = make_batch(
            Record(at(0), GAUGE, "number", 7),
            Record(at(1), EVENT, "text", "v42"),
            Record(at(DAY_SECONDS), GAUGE, "tomorrow", 8),
            Record(at(2), GAUGE, "number", 9),
        )
        for _ in range(2):
            result = backend.write(batch)
            assert set(result.rejected) == {0, 3}
            assert "value" in result.rejected[0]
            assert not result.kept
        assert self.ids(backend) == sorted(batch.records[index].id for index in (1, 2))
        (line,) = [line for line in backend.check() if not line.ok]
        assert "holds value as ip" in line.what

    @pytest.mark.parametrize("block", ["blocks.read_only_allow_delete", "blocks.write", "blocks.read_only"])
    def test_a_blocked_index_keeps_its_records_and_no_others(self, backend: SearchBackend, block: str) -> None:
        """As the server itself blocks an index when its disk is full."""
        name = self.make_index(backend)
        ask(backend, "PUT", f"/{name}/_settings", {f"index.{block}": True})
        blocked, other = Record(at(0), GAUGE, "blocked", 1), Record(at(DAY_SECONDS), GAUGE, "free", 1)
        batch = make_batch(blocked, other)
        result = backend.write(batch)
        assert set(result.kept) == {0}
        assert "block" in result.kept[0]
        assert not result.rejected
        with pytest.raises(Unavailable, match="block"):
            backend.write(batch.only([0]))
        ask(backend, "PUT", f"/{name}/_settings", {f"index.{block}": None})
        assert backend.write(batch.only(result.kept)) == ACCEPTED
        assert self.ids(backend) == sorted(record.id for record in batch.records)

    def test_an_index_that_takes_nothing_keeps_its_records(self, backend: SearchBackend) -> None:
        name = self.make_index(backend)
        ask(backend, "POST", f"/{name}/_close")
        batch = make_batch(*counters(2))
        with pytest.raises(Misconfigured, match="closed"):
            backend.write(batch)
        ask(backend, "POST", f"/{name}/_open?wait_for_active_shards=1")
        ask(backend, "PUT", f"/{name}/_settings", {"index.default_pipeline": "no-such-pipeline"})
        with pytest.raises(Misconfigured, match="pipeline"):
            backend.write(batch)
        ask(backend, "PUT", f"/{name}/_settings", {"index.default_pipeline": None})
        assert backend.write(batch) == ACCEPTED

    def test_a_request_larger_than_servers_take_is_halved_until_it_fits(
        self, backend: SearchBackend, tmp_path: Path
    ) -> None:
        big = "x" * 250_000
        batch = make_batch(*(Record(at(i), EVENT, "big", f"{i}{big}") for i in range(90)))
        with pytest.raises(TooLarge, match=str(BODY_BYTES)):
            backend.write(batch)
        assert deliver(backend, batch, tmp_path) == {}
        assert self.ids(backend) == sorted(record.id for record in batch.records)

    def test_what_an_index_cannot_hold_is_rejected_alone_and_with_the_servers_reason(
        self, backend: SearchBackend
    ) -> None:
        long = "x" * 40_000
        bad = {
            "name": Record(at(0), GAUGE, long, 1),
            "unit": Record(at(0), GAUGE, "g", 1, unit=long),
            "tag": Record(at(0), GAUGE, "g", 1, {"plan": long}),
            "key": Record(at(0), GAUGE, "g", 1, {long: "pro"}),
        }
        batch = make_batch(*counters(2), *bad.values(), *counters(2))
        result = backend.write(batch)
        assert set(result.rejected) == {2, 3, 4, 5}
        assert all("immense" in reason for reason in result.rejected.values()), result.rejected
        assert not result.kept
        assert len(self.ids(backend)) == 4

    @pytest.mark.parametrize("shape", range(14))
    def test_one_poison_in_a_thousand_costs_no_other_record_a_second_try(
        self, backend: SearchBackend, tmp_path: Path, shape: int
    ) -> None:
        batch = make_batch(*counters(499), poison()[shape], *counters(500))
        rejected = deliver(backend, batch, tmp_path)
        assert set(rejected) <= {499}
        stored = self.ids(backend, Query("hits"))
        assert stored == sorted(record.id for record in batch.records if record.name == "hits")

    # --- one record, one document -------------------------------------------------------------------------------------

    def test_an_own_id_is_one_document_whatever_the_day(self, backend: SearchBackend) -> None:
        days = [Record(at(day * DAY_SECONDS), GAUGE, "order", day, own_id="order-7") for day in (0, 40, 3)]
        for record in days:
            assert backend.write(make_batch(record)) == ACCEPTED
        refresh(backend)
        assert [record.value for record in backend.records(Query())] == [40]

    def test_own_ids_longer_than_a_server_takes_are_told_apart(self, backend: SearchBackend) -> None:
        long = ["ü" * 255, "ü" * 256, "ü" * 257, "🎉" * 255, "🎉" * 254 + "x"]
        batch = make_batch(*(Record(at(i), GAUGE, "g", i, own_id=text) for i, text in enumerate(long)))
        for _ in range(2):
            assert backend.write(batch) == ACCEPTED
        assert self.ids(backend) == sorted(long)

    def test_a_write_never_asks_for_a_refresh(self, backend: SearchBackend) -> None:
        ask(backend, "PUT", f"/{self.make_index(backend)}/_settings", {"index.refresh_interval": "-1"})
        backend.write(make_batch(*counters(5)))
        assert list(backend.records(Query())) == []
        assert len(self.ids(backend)) == 5

    # --- queries ------------------------------------------------------------------------------------------------------

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

    # --- schema -------------------------------------------------------------------------------------------------------

    def test_the_schema_is_ours_and_not_guessed(self, backend: SearchBackend) -> None:
        backend.write(make_batch(Record(at(0), GAUGE, "g", 1.5, {"plan": "pro"}, metadata={"a": 1}, own_id="x")))
        backend.write(make_batch(Record(at(0), "xml", "g", {"deep": {"er": 1}}, unit="s", sample_rate=0.5)))
        mappings = ask(backend, "GET", f"/{backend.index}/_mapping")
        assert set(mappings) == {f"{backend.index}-{DAY}", f"{backend.index}-unique"}
        for index in mappings.values():
            fields = index["mappings"]["properties"]
            types = {name: field.get("type", "object") for name, field in fields.items()}
            assert types["@timestamp"] == "date_nanos"
            assert types["value"] == types["weight"] == "double"
            assert {types[name] for name in ("name", "kind", "unit", "host", "app")} == {"keyword"}
            assert fields["document"]["enabled"] is fields["metadata"]["enabled"] is False
            assert not {"a", "deep", "plan"} & set(types), "nothing of the records' own was added to the mapping"

    def test_a_changed_template_is_noticed_and_mended(self, backend: SearchBackend) -> None:
        target = f"/_index_template/{backend.index}"
        (found,) = ask(backend, "GET", target)["index_templates"]
        template = {key: value for key, value in found["index_template"].items() if not key.endswith("_millis")}
        template["template"]["mappings"]["properties"]["value"] = {"type": "keyword"}
        template["template"]["settings"] = {"index": {"refresh_interval": "30s"}}
        ask(backend, "PUT", target, template)
        assert any("is not as it should be" in line.what for line in backend.check() if not line.ok)
        assert backend.setup() == [f"index template {backend.index} mended"]
        assert [line for line in backend.check() if not line.ok] == []
        assert backend.setup() == []
        (found,) = ask(backend, "GET", target)["index_templates"]
        mended = found["index_template"]["template"]
        assert mended["settings"]["index"]["refresh_interval"] == "30s", "the administrator's settings stay"
        assert mended["mappings"]["properties"]["value"] == {"type": "double"}

    def test_an_index_made_without_the_template_is_noticed_and_mended(self, backend: SearchBackend) -> None:
        ask(backend, "DELETE", f"/_index_template/{backend.index}")
        name = self.make_index(backend, mappings={"dynamic": False, "properties": {"name": {"type": "keyword"}}})
        other = self.make_index(backend, "not-ours", mappings={"properties": {}})
        before = make_batch(*counters(2))
        assert backend.write(before) == ACCEPTED
        found = " ".join(line.what for line in backend.check() if not line.ok)
        assert "is missing" in found
        assert f"{name} lacks the alias" in found
        assert f"{name} lacks the fields" in found
        assert other not in found
        done = backend.setup()
        assert len(done) == 3
        assert [line for line in backend.check() if not line.ok] == []
        assert backend.setup() == []
        after = make_batch(*counters(2))
        assert backend.write(after) == ACCEPTED
        refresh(backend)
        # The first two were indexed by the fields that there were: their time was not among them.
        assert backend.query(Query("hits", aggregate="count"))[0].points == [(0.0, 2.0)]

    def test_a_name_that_is_taken_is_said(self) -> None:
        backend = self.make()
        ask(backend, "PUT", f"/{backend.index}")
        backend.close()
        with pytest.raises(Misconfigured, match="must be free"):
            backend.open()
        with pytest.raises(Misconfigured, match="must be free"):
            backend.write(make_batch(*counters(1)))
        remove(backend)

    def test_without_setup_nothing_is_made(self) -> None:
        backend = self.make(setup=False)
        backend.open()
        assert ask(backend, "GET", f"/_index_template/{backend.index}") is None
        assert backend.setup() == [f"index template {backend.index} made"]
        remove(backend)

    # --- care ---------------------------------------------------------------------------------------------------------

    def test_prune_cuts_through_a_day_and_through_the_own_ids(self, backend: SearchBackend) -> None:
        hours = [Record(at(hour * 3600), COUNTER, "hits", hour) for hour in range(-40, 20, 4)]
        own = [Record(at(hour * 3600), GAUGE, "order", hour, own_id=f"order-{hour}") for hour in (-30, -1, 1, 30)]
        assert backend.write(make_batch(*hours, *own)) == ACCEPTED
        refresh(backend)
        assert backend.prune(at(0) / 1e9) == 12
        refresh(backend)
        assert [record.value for record in backend.records(Query())] == [0, 1, 4, 8, 12, 16, 30]
        oldest = {index["name"]: index["oldest"] for index in backend.indices()}
        assert oldest == {
            f"{backend.index}-{DAY}": at(0) / 1e9,
            f"{backend.index}-2025.06.16": at(12 * 3600) / 1e9,
            f"{backend.index}-unique": at(3600) / 1e9,
        }
        assert backend.prune(at(0) / 1e9) == 0

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


def same(given: list[Any], wanted: list[Any], query: Query) -> None:
    assert [(s.name, s.unit, s.tags) for s in given] == [(s.name, s.unit, s.tags) for s in wanted], query
    for one, other in zip(given, wanted, strict=True):
        assert one.points == [pytest.approx(point, rel=1e-9) for point in other.points], query


def in_batches(records: list[Record], size: int = 5_000) -> Iterator[Batch]:
    for start in range(0, len(records), size):
        yield make_batch(*records[start : start + size])


def deliver(backend: Backend, batch: Batch, tmp_path: Path) -> dict[int, str]:
    """As the agent does, in its first cycle: having to wait for a second one is an error."""
    folder = Folder(tmp_path / "agent").open()
    attempt = Attempt(folder)

    def pause(seconds: float) -> bool:
        raise AssertionError(f"nothing of this is to be waited for, {seconds} s")

    try:
        return Deliverer(backend, attempt, Report(folder, backend.address, "thread"), pause).deliver(batch)
    finally:
        attempt.close()
