"""What `setup`, `check` and wrong ports say of RethinkDB, on the stand-in."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from rethinkdb import RethinkDB
from tests.contract.faults import write_once
from tests.contract.http_gate import HttpGate
from tests.contract.search_access import certificates
from tests.rethinkdb.standin import StandIn

from tallystick.backends.base import Foreign
from tallystick.backends.rethinkdb import RethinkdbBackend
from tallystick.errors import Misconfigured, QueryError, Unavailable
from tallystick.queries import Query
from tallystick.testing import counters, make_batch


@pytest.fixture
def standin() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


def on(port: int, more: str = "") -> RethinkdbBackend:
    return RethinkdbBackend.from_url(f"rethinkdb://127.0.0.1:{port}/shop{more}")


def test_check_finds_what_is_missing_and_makes_nothing(standin: StandIn) -> None:
    r = RethinkDB()
    for make, missing in (
        (None, "database shop is missing"),
        (r.db_create("shop"), "table shop.tallystick is missing"),
        (r.db("shop").table_create("tallystick"), "index moment is missing"),
    ):
        if make is not None:
            with r.connect("127.0.0.1", standin.port) as connection:
                make.run(connection)
        for _ in range(2):
            answers, finding = on(standin.port).check()
            assert (answers.ok, answers.what.endswith("answers")) == (True, True)
            assert (finding.ok, finding.what, "tallystick setup" in finding.remedy) == (False, missing, True)


def test_setup_says_what_it_made_and_then_nothing(standin: StandIn) -> None:
    assert on(standin.port).setup() == [
        "created the database shop",
        "created the table shop.tallystick",
        "created the index moment on shop.tallystick",
    ]
    assert on(standin.port).setup() == []
    assert all(line.ok for line in on(standin.port).check())


def test_who_only_looks_or_asks_for_other_peoples_data_makes_nothing(standin: StandIn) -> None:
    backend = on(standin.port)
    for act in (
        backend.indices,
        lambda: backend.prune(0.0),
        lambda: backend.query_foreign(Query(), Foreign(source="theirs", time="at", value="took")),
    ):
        with pytest.raises((Misconfigured, QueryError), match="does not exist"):
            act()
    assert "shop" not in standin.store.databases


@pytest.mark.parametrize("gone", ["database", "table"])
def test_what_went_away_is_made_again_while_an_application_runs(standin: StandIn, gone: str) -> None:
    backend, batch = on(standin.port), make_batch(*counters(3))
    write_once(backend, batch)
    if gone == "database":
        del standin.store.databases["shop"]
    else:
        del standin.store.databases["shop"]["tallystick"]
    with pytest.raises(Misconfigured, match="does not exist"):
        backend.write(batch)
    write_once(backend, batch)
    assert all(line.ok for line in backend.check())
    assert len(list(backend.records(Query()))) == 3
    backend.close()


def test_tls_to_a_server_without_it_is_said(standin: StandIn) -> None:
    with pytest.raises(Misconfigured, match="speaks no TLS; leave tls=yes"):
        on(standin.port, "?tls=yes").check()


def test_no_tls_to_a_server_that_wants_it_is_guessed(tmp_path: Path) -> None:
    certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    with StandIn(context=context) as server, pytest.raises(Unavailable, match="wants TLS, add tls=yes"):
        on(server.port).check()


def test_another_product_does_not_pass_for_a_server_that_is_down() -> None:
    with HttpGate("http://127.0.0.1:1") as other, pytest.raises(Unavailable, match="did not greet in time"):
        on(other.port, "?connect_timeout_seconds=0.5").check()
