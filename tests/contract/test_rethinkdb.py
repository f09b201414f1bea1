"""RethinkDB against the contract: on the stand-in, and by hand on a real server.

No package ships the server, so in every run the stand-in of `tests/rethinkdb` takes its place; it is held to a real
server's recorded replies. With a real one:

    TALLYSTICK_TEST_RETHINKDB_URL=rethinkdb://localhost:28015 pytest tests/contract/test_rethinkdb.py
"""

from __future__ import annotations

import itertools
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rethinkdb import RethinkDB
from tests.contract.faults import FaultContract
from tests.contract.search_access import certificates
from tests.proxy import FaultProxy
from tests.rethinkdb.standin import StandIn

from tallystick.agent.attempt import Attempt
from tallystick.agent.delivery import Deliverer
from tallystick.agent.report import Report
from tallystick.backends.base import Backend, Foreign
from tallystick.backends.rethinkdb import RethinkdbBackend
from tallystick.backends.rethinkdb.shape import Native
from tallystick.errors import Misconfigured, QueryError, SettingsError, Unavailable
from tallystick.queries import Query
from tallystick.records import GAUGE, Record
from tallystick.spool.folder import Folder
from tallystick.testing import BackendContract, at, counters, make_batch
from tallystick.testing.hostile import poison

REAL = os.environ.get("TALLYSTICK_TEST_RETHINKDB_URL", "")

_numbers = itertools.count()


@pytest.fixture(scope="module")
def standin() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


def new_url(server: str) -> str:
    """A database of our own."""
    return f"{server.rstrip('/')}/contract_{os.getpid()}_{next(_numbers)}"


def drop(backend: Backend) -> None:
    assert isinstance(backend, RethinkdbBackend)
    backend.open()
    backend._run(RethinkDB().db_drop(backend._database))


class RethinkdbContract(BackendContract):
    server: str

    def make_backend(self, tmp_path: Path) -> Backend:
        return RethinkdbBackend.from_url(new_url(self.server))

    def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, RethinkdbBackend)
        return RethinkdbBackend(backend._url)

    def tear_down(self, backend: Backend) -> None:
        drop(backend)
        backend.close()


class TestRethinkdbStandIn(RethinkdbContract):
    """Plain Python evaluates each term for each document here, so it gets fewer of them, and more time."""

    many = 3_000

    def make_backend(self, tmp_path: Path) -> Backend:
        return RethinkdbBackend.from_url(f"{new_url(self.server)}?timeout_seconds=60")

    @pytest.fixture(autouse=True)
    def on_the_standin(self, standin: StandIn) -> None:
        self.server = f"rethinkdb://127.0.0.1:{standin.port}"


if REAL:

    class TestRethinkdbReal(RethinkdbContract):
        server = REAL


class TestRethinkdbOnABadNetwork(FaultContract):
    @pytest.fixture
    def proxy(self, standin: StandIn) -> Iterator[FaultProxy]:
        with FaultProxy("127.0.0.1", standin.port) as proxy:
            yield proxy

    def make_backend(self, port: int, timeout_seconds: float) -> Backend:
        url = new_url(f"rethinkdb://127.0.0.1:{port}")
        return RethinkdbBackend.from_url(f"{url}?timeout_seconds={timeout_seconds}")

    def tear_down(self, backend: Backend) -> None:
        drop(backend)


@pytest.fixture
def backend(standin: StandIn) -> Iterator[RethinkdbBackend]:
    made = RethinkdbBackend.from_url(new_url(f"rethinkdb://127.0.0.1:{standin.port}"))
    made.open()
    yield made
    drop(made)
    made.close()


def test_ids_that_are_no_keys_are_hashed_and_come_back(backend: RethinkdbBackend) -> None:
    ids = ["x" * 127, "x" * 128, "ü" * 64, "a\0b", "sha256:ab", "short"]
    batch = make_batch(*(Record(at(i), GAUGE, "g", i, own_id=text) for i, text in enumerate(ids)))
    assert not backend.write(batch).rejected
    assert not backend.write(batch).rejected
    assert [record.id for record in backend.records(Query())] == ids


def test_a_key_that_looks_like_ours_has_no_meaning(backend: RethinkdbBackend) -> None:
    value = {"$reql_type$": "TIME", "epoch_time": 1, "%24": "x", "a\0": 2}
    record = Record(at(0), "note", "n", value, {"$reql_type$": "BINARY"}, metadata={"$reql_type$": "NOTHING"})
    batch = make_batch(record)
    assert not backend.write(batch).rejected
    (found,) = backend.records(Query(where={"$reql_type$": "BINARY"}))
    assert (found.value, found.tags, found.metadata) == (value, record.tags, record.metadata)


class Picky(Native):
    """A shape with a key that the server refuses."""

    def document(self, record: Record) -> dict[str, object]:
        made = super().document(record)
        return {**made, "id": "x" * 200} if record.value == 13 else made


def test_of_a_mixed_reply_every_record_has_its_own_verdict(standin: StandIn) -> None:
    url = RethinkdbBackend.from_url(new_url(f"rethinkdb://127.0.0.1:{standin.port}"))._url
    backend = RethinkdbBackend(url, shape=Picky())
    backend.open()
    result = backend.write(make_batch(*counters(20)))
    assert list(result.rejected) == [13]
    assert "Primary key too long" in result.rejected[13]
    assert [record.value for record in backend.records(Query())] == [i for i in range(20) if i != 13]
    drop(backend)
    backend.close()


@pytest.mark.parametrize("shape", range(14))
def test_one_bad_record_in_a_thousand_harms_no_other(backend: RethinkdbBackend, tmp_path: Path, shape: int) -> None:
    batch = make_batch(*counters(500), poison()[shape], *counters(499))
    folder = Folder(tmp_path / "agent").open()
    attempt = Attempt(folder)

    def pause(seconds: float) -> bool:
        raise AssertionError(f"nothing of this is to be waited for, {seconds} s")

    rejected = Deliverer(backend, attempt, Report(folder, backend.address, "thread"), pause).deliver(batch)
    attempt.close()
    assert list(rejected) == [500]
    good = {record.offset for index, record in enumerate(batch.records) if index != 500}
    assert {record.offset for record in backend.records(Query())} == good


def test_after_the_servers_death_and_return_it_connects_again() -> None:
    with StandIn() as server:
        backend = RethinkdbBackend.from_url(f"rethinkdb://127.0.0.1:{server.port}/again?timeout_seconds=2")
        backend.open()
        first, second = make_batch(*counters(6)).split(3)
        backend.write(first)
        server.stop()
        with pytest.raises(Unavailable):
            backend.write(second)
        with pytest.raises(Unavailable):
            backend.open()
        server.start()
        backend.open()
        backend.write(second)
        assert [record.value for record in backend.records(Query())] == list(range(6))
        backend.close()


def test_a_wrong_password_is_for_a_person_and_is_shown_nowhere() -> None:
    with StandIn(password="right") as server:
        backend = RethinkdbBackend.from_url(f"rethinkdb://admin:hunter2@127.0.0.1:{server.port}/x")
        with pytest.raises(Misconfigured, match="correct user and password") as caught:
            backend.open()
        assert "hunter2" not in f"{caught.value}{backend!r}{backend.address}{backend._url}"
        right = RethinkdbBackend.from_url(f"rethinkdb://admin:right@127.0.0.1:{server.port}/x")
        right.open()
        right.close()


def test_a_table_that_went_away_is_kept_for_a_person(backend: RethinkdbBackend) -> None:
    bare = RethinkdbBackend(backend._url)
    bare._options = {"setup": False, "table": "gone"}
    bare._table_name = "gone"
    bare.open()
    with pytest.raises(Misconfigured, match="does not exist"):
        bare.write(make_batch(*counters(2)))
    bare.close()


@pytest.mark.parametrize("name", ["user.signup", "a b", "ü", ""])
def test_a_name_that_the_server_refuses_is_refused_at_once(name: str) -> None:
    with pytest.raises(SettingsError):
        RethinkdbBackend.from_url(f"rethinkdb://localhost/x?table={name}")


def test_a_ready_connection_is_used_and_left_open(standin: StandIn) -> None:
    with RethinkDB().connect("127.0.0.1", standin.port) as connection:
        backend = RethinkdbBackend(client=connection, database="ready")
        backend.open()
        backend.write(make_batch(*counters(3)))
        assert backend.query(Query("hits"))[0].points == [(0.0, 3.0)]
        backend.close()
        assert RethinkDB().db_list().run(connection)


@pytest.mark.parametrize(
    ("unit", "times"),
    [
        ("s", [at(0) / 1e9, at(30) / 1e9, at(60) / 1e9]),
        ("ms", [at(0) // 10**6, at(30) // 10**6, at(60) // 10**6]),
        ("ns", [at(0), at(30), at(60)]),
        ("iso", ["2025-06-15T12:00:00Z", "2025-06-15T12:00:30Z", "2025-06-15T12:01:00"]),
        ("native", [RethinkDB().epoch_time(at(seconds) / 1e9) for seconds in (0, 30, 60)]),
    ],
)
def test_other_peoples_documents_are_asked_too(backend: RethinkdbBackend, unit: str, times: list[object]) -> None:
    r = RethinkDB()
    table = r.db(backend._database).table("theirs")
    backend._run(r.db(backend._database).table_create("theirs"))
    rows = [{"when": when, "took": i + 1, "who": "ada" if i else None} for i, when in enumerate(times)]
    backend._run(table.insert([*rows, {"took": 5}, {"when": times[0], "took": "text"}]))
    foreign = Foreign(source="theirs", time="when", value="took", time_unit=unit, tags={"user": "who"})  # type: ignore[arg-type]
    whole = backend.query_foreign(Query("theirs", bucket="1m"), foreign)
    assert [series.points for series in whole] == [[(at(0) / 1e9, 3.0), (at(60) / 1e9, 3.0)]]
    mine = backend.query_foreign(Query("theirs", by="user", start=at(10) / 1e9, end=at(60) / 1e9), foreign)
    assert [(series.tags, series.points) for series in mine] == [({"user": "ada"}, [(at(10) / 1e9, 2.0)])]
    with pytest.raises(QueryError, match="no table"):
        backend.query_foreign(Query(), Foreign(source="nothing", time="a", value="b"))


# --- TLS, rights, several hosts, forks --------------------------------------------------------------------------------


def test_tls_is_verified_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    certificates(tmp_path)
    (tmp_path / "other").mkdir()
    certificates(tmp_path / "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # with 1.3 a client may miss why it is refused
    mine = f"cert_file={tmp_path / 'client.pem'}&key_file={tmp_path / 'client.key'}"
    with StandIn(context=context) as server:
        url = f"rethinkdb://127.0.0.1:{server.port}/secure?timeout_seconds=5"
        refused = {
            f"tls=yes&{mine}": "ca_file=",
            f"ca_file={tmp_path / 'other' / 'ca.pem'}&{mine}": "ca_file=",
            f"ca_file={tmp_path / 'ca.pem'}": "cert_file=",
        }
        for option, remedy in refused.items():
            with pytest.raises(Misconfigured, match=remedy):
                RethinkdbBackend.from_url(f"{url}&{option}").open()
        assert "secure" not in server.store.databases
        for option in (f"ca_file={tmp_path / 'ca.pem'}", "tls=yes&insecure_tls=yes"):
            backend = RethinkdbBackend.from_url(f"{url}&{option}&{mine}")
            backend.open()
            assert not backend.write(make_batch(*counters(3))).rejected
            drop(backend)
            backend.close()


class Strict(StandIn):
    """Lets nobody make a database."""

    def answer(self, query: list[Any], rest: list[Any]) -> dict[str, Any]:
        if isinstance(query[1], list) and query[1][0] == 57:  # DB_CREATE
            return {"t": 18, "e": 6_000_000, "r": ["No permission `config`."], "b": []}
        return super().answer(query, rest)


def test_without_the_right_to_create_the_statements_are_printed() -> None:
    with Strict() as server:
        url = f"rethinkdb://127.0.0.1:{server.port}/forbidden"
        with pytest.raises(Misconfigured, match="No permission") as caught:
            RethinkdbBackend.from_url(url).open()
        script = str(caught.value).partition("\n")[2].splitlines()
        assert script[:2] == ['r.dbCreate("forbidden");', 'r.db("forbidden").tableCreate("tallystick");']
        assert script[2].endswith('.indexCreate("moment");')
        assert script[3] == 'r.db("forbidden").grant("admin", {read: true, write: true});'


def test_of_several_hosts_the_first_that_answers_is_used(standin: StandIn) -> None:
    backend = RethinkdbBackend.from_url(new_url(f"rethinkdb://127.0.0.1:1,127.0.0.1:{standin.port}"))
    backend.open()
    assert not backend.write(make_batch(*counters(3))).rejected
    assert len(list(backend.records(Query()))) == 3
    drop(backend)
    backend.close()
