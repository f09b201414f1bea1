"""InfluxDB 3 against the contract, on a stand-in for its documented HTTP API: no package ships the real server."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.faults import write_once
from tests.contract.http_gate import HttpGate, Reply, Request
from tests.contract.influxdb import names
from tests.contract.influxdb3_standin import StandIn
from tests.contract.influxdb_others import LINES, assert_answered_like_ours

from tallystick.backends.base import Backend, Foreign
from tallystick.backends.influxdb3 import Influxdb3Backend
from tallystick.errors import Misconfigured, QueryError, SettingsError, TooLarge, Unavailable
from tallystick.queries import AGGREGATES, Query
from tallystick.records import GAUGE, Record
from tallystick.testing import BackendContract, at, counters, make_batch

_numbers = itertools.count()


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


class TestInfluxdb3(BackendContract):
    """The stand-in speaks the documented HTTP API; the real server was not to be had."""

    tells_arrival = False

    @pytest.fixture(autouse=True)
    def _server(self, stand_in: StandIn) -> None:
        self.port = stand_in.port

    def make_backend(self, tmp_path: Path) -> Backend:
        return Influxdb3Backend.from_url(f"influxdb3://127.0.0.1:{self.port}/contract-{next(_numbers)}")

    def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, Influxdb3Backend)
        return Influxdb3Backend(backend._url)

    def test_prune_forgets_the_old_alone(self, backend: Backend) -> None:
        pytest.skip("InfluxDB 3 deletes no single record: the retention is the database's own")


@pytest.fixture
def gate() -> Iterator[HttpGate]:
    with StandIn() as server, HttpGate(f"http://127.0.0.1:{server.port}") as gate:
        yield gate


@pytest.fixture
def backend(gate: HttpGate) -> Iterator[Influxdb3Backend]:
    backend = Influxdb3Backend.from_url(f"influxdb3://127.0.0.1:{gate.port}/metrics")
    backend.open()
    yield backend
    backend.close()


def write_lines(backend: Influxdb3Backend, *lines: str) -> None:
    """As another tool would."""
    assert backend._server is not None
    assert backend._server.write("\n".join(lines).encode()).ok


def test_refused_lines_are_told_by_their_number(backend: Influxdb3Backend) -> None:
    """Also when there are more than the hundred that an answer lists."""
    write_lines(backend, f"ints value=7i {at(0)}")
    batch = make_batch(*(Record(at(i), GAUGE, "ints" if i % 3 == 0 else "free", i) for i in range(1_000)))
    for _ in range(2):
        rejected = backend.write(batch).rejected
        assert set(rejected) == set(range(0, 1_000, 3))
        assert all("invalid column type for column 'value'" in why for why in rejected.values())
        assert names(backend) == ["free"] * (1_000 - len(rejected))


LIMIT = "Update to schema would exceed number of tables limit of 2000 tables"


def test_a_limit_of_tables_rejects_only_the_records_beyond_it(gate: HttpGate, backend: Influxdb3Backend) -> None:
    records = [Record(at(i), GAUGE, "new" if i == 3 else "known", i) for i in range(5)]
    refused = {"original_line": "new", "line_number": 4, "error_message": LIMIT}
    partial = json.dumps({"error": "partial write of line protocol occurred", "data": [refused]}).encode()
    gate.rule = lambda request: (422, {}, partial) if b"new" in request.body else None
    assert backend.write(make_batch(*records)).rejected == {3: LIMIT}
    gate.rule = lambda _: None
    assert names(backend) == ["known"] * 4


@pytest.mark.parametrize(
    ("status", "headers", "body", "error", "said"),
    [
        (400, {}, {"error": "database was deleted"}, Misconfigured, "database was deleted; correct"),
        (400, {}, {"error": "invalid", "data": None}, Misconfigured, "answered 400: invalid"),
        (
            422,
            {},
            {"error": "partial", "data": [{"line_number": 1, "error_message": "Adding a new database would exceed"}]},
            Misconfigured,
            "new database would exceed",
        ),
        (401, {}, {}, Misconfigured, "token"),
        (403, {}, {}, Misconfigured, "grant"),
        (413, {}, {}, TooLarge, "413"),
        (500, {}, {"error": "max request size (10485760 bytes) exceeded"}, TooLarge, "10485760"),
        (500, {}, {"error": "out of luck"}, Unavailable, "out of luck"),
        (503, {"Retry-After": "7"}, {}, Unavailable, "503"),
    ],
)
def test_an_answer_that_names_no_line_rejects_none(
    gate: HttpGate,
    backend: Influxdb3Backend,
    status: int,
    headers: dict[str, str],
    body: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    def in_trouble(request: Request) -> Reply | None:
        return (status, headers, json.dumps(body).encode()) if request.path.endswith("write_lp") else None

    gate.rule = in_trouble
    batch = make_batch(*counters(5))
    with pytest.raises(error, match=said) as caught:
        backend.write(batch)
    if "Retry-After" in headers:
        assert getattr(caught.value, "retry_after_seconds", None) == 7.0
    gate.rule = lambda _: None
    write_once(backend, batch)
    assert names(backend) == ["hits"] * 5


def test_the_token_is_sent_and_a_wrong_one_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_TEST_RIGHT", "apiv3_right")
    monkeypatch.setenv("TALLYSTICK_TEST_WRONG", "apiv3_wrong")
    with StandIn(token="apiv3_right") as server:
        url = f"influxdb3://127.0.0.1:{server.port}/metrics?token_env=TALLYSTICK_TEST"
        right, wrong = Influxdb3Backend.from_url(f"{url}_RIGHT"), Influxdb3Backend.from_url(f"{url}_WRONG")
        with pytest.raises(Misconfigured, match="token") as caught:
            write_once(wrong, make_batch(*counters(3)))
        assert "apiv3_wrong" not in f"{caught.value} {wrong!r}"
        write_once(right, make_batch(*counters(3)))
        assert names(right) == ["hits"] * 3
        for backend in (right, wrong):
            backend.close()


@pytest.mark.parametrize("name", ["a%20b", "_a", "a.b", "a/b/c", "%C3%BC"])
def test_a_name_that_the_server_does_not_take_is_refused_before_anything_is_sent(name: str) -> None:
    with pytest.raises(SettingsError, match="letters, digits"):
        Influxdb3Backend.from_url(f"influxdb3://127.0.0.1/{name}")


# --- what others wrote ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_questions_about_data_of_others_are_answered_like_ours(backend: Influxdb3Backend, aggregate: str) -> None:
    write_lines(backend, *LINES)
    assert_answered_like_ours(backend, aggregate)
    assert backend.query(Query(aggregate="count")) == []


def test_columns_that_are_not_there_are_said_to_be_missing(backend: Influxdb3Backend) -> None:
    write_lines(backend, "old,plan=pro took=1,size=2i 1")
    good: dict[str, Any] = {"source": "old", "time": "time", "value": "took"}
    assert backend.query_foreign(Query("old"), Foreign(**good))[0].points == [(0.0, 1.0)]
    for change, said in (
        ({"source": "older"}, "no such table"),
        ({"value": "plan"}, "no such table with numbers in a column plan"),
        ({"tags": {"plan": "plans"}}, "no column plans"),
        ({"time": "size"}, "points by their own time"),
        ({"time_unit": "ms"}, "points by their own time"),
    ):
        with pytest.raises(QueryError, match=said):
            backend.query_foreign(Query("old"), Foreign(**{**good, **change}))
