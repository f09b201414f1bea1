"""The way to ClickHouse: a proxy's refusals, poison, crash, TLS, fork, a caller's client, and what is never shown."""

from __future__ import annotations

import base64
import logging
import ssl
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from tests.contract.faults import write_once, write_until_stored
from tests.contract.http_gate import HttpGate, Request
from tests.contract.search_access import certificates
from tests.contract.test_clickhouse import client, drop, new_url, place
from tests.services import kill, restart, service

from tallystick.agent.attempt import Attempt
from tallystick.agent.delivery import Deliverer
from tallystick.agent.report import Report
from tallystick.backends._rows import Native, Shape
from tallystick.backends.base import ACCEPTED
from tallystick.backends.clickhouse import ClickhouseBackend
from tallystick.errors import Misconfigured, SettingsError, TooLarge, Unavailable
from tallystick.plugins import backend_from_url
from tallystick.queries import Query
from tallystick.records import COUNTER, GAUGE, Header, Record
from tallystick.spool.folder import Folder
from tallystick.testing import at, counters, make_batch
from tallystick.testing.hostile import poison

pytestmark = pytest.mark.service("clickhouse")

SECRET = "correct-horse-battery"


@pytest.fixture
def gate() -> Iterator[HttpGate]:
    with HttpGate(service("clickhouse")) as gate:
        yield gate


@pytest.fixture
def backend(gate: HttpGate) -> Iterator[ClickhouseBackend]:
    """Through the gate, which lets everything through at first."""
    backend = ClickhouseBackend.from_url(new_url(f"127.0.0.1:{gate.port}"))
    backend.open()
    yield backend
    gate.rule = lambda _: None
    drop(backend)
    backend.close()


def ids(backend: ClickhouseBackend) -> list[str]:
    return sorted(record.id for record in backend.records(Query()))


def is_insert(request: Request) -> bool:
    return "INSERT" in request.target


# --- refusals that are not the server's own ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "error", "seconds"),
    [
        (429, {"Retry-After": "7"}, Unavailable, 7.0),
        (503, {"Retry-After": "30"}, Unavailable, 30.0),
        (503, {}, Unavailable, None),
        (502, {}, Unavailable, None),
        (413, {}, TooLarge, None),
    ],
)
def test_a_proxy_in_trouble_is_waited_for_as_it_says(
    backend: ClickhouseBackend,
    gate: HttpGate,
    status: int,
    headers: dict[str, str],
    error: type[Exception],
    seconds: float | None,
) -> None:
    """It refuses the second insert: what the first one stored is there once in the end."""
    batch = make_batch(*counters(50), Record(at(0), GAUGE, "order", 1, own_id="order-1"))
    refused = []

    def second_insert(request: Request) -> Any:
        refused.append(request) if is_insert(request) else None
        return (status, headers, b"<html>in trouble</html>") if len(refused) == 2 and is_insert(request) else None

    gate.rule = second_insert
    with pytest.raises(error, match="in trouble") as caught:
        write_once(backend, batch)
    assert getattr(caught.value, "retry_after_seconds", None) == seconds
    assert len(refused) == 2, "the driver repeats nothing"
    write_once(backend, batch)
    assert ids(backend) == sorted(record.id for record in batch.records)


@pytest.mark.parametrize(("status", "remedy"), [(401, "correct user"), (403, "let this user"), (404, "must lead to")])
def test_what_a_person_must_mend_at_a_proxy_keeps_everything(
    backend: ClickhouseBackend, gate: HttpGate, status: int, remedy: str
) -> None:
    gate.rule = lambda request: (status, {}, b"no") if is_insert(request) else None
    batch = make_batch(*counters(3))
    with pytest.raises(Misconfigured, match=remedy):
        write_once(backend, batch)
    gate.rule = lambda _: None
    write_once(backend, batch)
    assert len(ids(backend)) == 3


@pytest.mark.parametrize("what", ["DATABASE `{}`", "TABLE `{}`.points", "TABLE `{}`.documents"])
def test_what_was_dropped_under_an_open_backend_is_made_again_at_the_next_write(
    backend: ClickhouseBackend, what: str
) -> None:
    write_once(backend, make_batch(*counters(3)))
    second = make_batch(*counters(4), Record(at(0), GAUGE, "order", 1, own_id="order-1"))
    with client() as connection:
        connection.command(f"DROP {what.format(backend._database)}")
    with pytest.raises(Misconfigured, match="tallystick setup"):
        backend.write(second)
    assert backend.write(second) == ACCEPTED
    assert {record.id for record in second.records} <= set(ids(backend))
    assert all(line.ok for line in backend.check())


def test_a_server_that_is_down_is_told_in_a_few_words_and_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with HttpGate(service("clickhouse")) as gate:
        backend = ClickhouseBackend.from_url(new_url(f"127.0.0.1:{gate.port}"))
    for act in (backend.open, backend.setup, partial(backend.write, make_batch(*counters(1)))):
        with pytest.raises(Unavailable, match="refused") as caught:
            act()
        assert len(str(caught.value).removeprefix(backend.address)) < 80
        assert "query_id" not in str(caught.value)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_without_setup_missing_tables_are_not_made(gate: HttpGate) -> None:
    backend = ClickhouseBackend.from_url(new_url(f"127.0.0.1:{gate.port}") + "?setup=no")
    with pytest.raises(Misconfigured, match="CREATE TABLE"):
        backend.open()
    assert not any("CREATE" in f"{request.target}{request.body!r}" for request in gate.requests)
    assert [line.ok for line in backend.check()] == [False]
    backend.close()


def test_the_script_for_an_administrator_makes_the_tables_and_grants_the_rights() -> None:
    """The engine of the tests has no users; it knows the grant as one that lacks the user."""
    poor = ClickhouseBackend.from_url(f"{new_url(f'poor@{place()}')}?setup=no")
    with pytest.raises(Misconfigured) as caught:
        poor.open()
    *making, grant = str(caught.value).partition(":\n")[2].splitlines()
    assert "TO `poor`" in grant
    administrator = client()
    for statement in making:
        administrator.command(statement.rstrip(";"))
    with pytest.raises(DatabaseError, match="UNKNOWN_ROLE"):
        administrator.command(grant.rstrip(";"))
    poor.open()
    drop(poor)
    poor.close()


@pytest.mark.parametrize("shape", range(14))
def test_one_bad_record_of_a_thousand_costs_only_itself(backend: ClickhouseBackend, shape: int, tmp_path: Path) -> None:
    """In the first cycle of the agent's delivery, without a second try."""
    batch = make_batch(*counters(500), poison()[shape], *counters(499))
    folder = Folder(tmp_path).open()
    attempt, report = Attempt(folder), Report(folder, backend.address, "process")

    def pause(seconds: float) -> bool:
        raise AssertionError(f"nothing of this is to be waited for, {seconds} s")

    rejected = Deliverer(backend, attempt, report, pause).deliver(batch)
    attempt.close()
    assert set(rejected) <= {500}
    good = {record.offset for index, record in enumerate(batch.records) if index != 500}
    assert {record.offset for record in backend.records(Query("hits"))} == good


# --- the way there ----------------------------------------------------------------------------------------------------


def test_after_kill_9_of_the_server_and_its_restart_delivery_goes_on_and_nothing_is_twice() -> None:
    own = service("clickhouse", own=True).partition("://")[2]
    backend = ClickhouseBackend.from_url(f"clickhouse://{own}/crash?timeout_seconds=5")
    first, second = make_batch(*counters(50)), make_batch(*counters(50))
    write_until_stored(backend, first)
    kill("clickhouse")
    with pytest.raises(Unavailable):
        write_once(backend, second)
    with pytest.raises(Unavailable):
        backend.query(Query("hits"))
    restart("clickhouse")
    write_until_stored(backend, second)
    write_until_stored(backend, first)
    assert ids(backend) == sorted(record.id for batch in (first, second) for record in batch.records)
    backend.close()


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_tls_is_verified_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    mine = f"cert_file={tmp_path / 'client.pem'}&key_file={tmp_path / 'client.key'}"
    with HttpGate(service("clickhouse"), context) as gate:
        url = new_url(f"127.0.0.1:{gate.port}").replace("clickhouse:", "clickhouse+https:")
        with pytest.raises(Misconfigured, match="ca_file="):
            ClickhouseBackend.from_url(f"{url}?{mine}").open()
        with pytest.raises(Misconfigured, match="cannot load"):
            ClickhouseBackend.from_url(f"{url}?ca_file={tmp_path / 'none.pem'}").open()
        backend = ClickhouseBackend.from_url(f"{url}?ca_file={tmp_path / 'ca.pem'}&{mine}")
        lax = ClickhouseBackend.from_url(f"{url}?insecure_tls=yes&{mine}")
        for each in (backend, lax):
            write_once(each, make_batch(*counters(5)))
        assert len(ids(backend)) == 10
        backend.close()
        lax.close()
        with pytest.raises((Unavailable, Misconfigured)):  # the door wants to see a certificate
            ClickhouseBackend.from_url(f"{url}?ca_file={tmp_path / 'ca.pem'}").open()
        drop(backend)


def test_a_ready_client_is_used_and_left_open() -> None:
    with client() as given:
        backend = ClickhouseBackend(client=given, database=new_url("").rpartition("/")[2])
        batch = make_batch(*counters(3))
        write_once(backend, batch)
        assert ids(backend) == [record.id for record in batch.records]
        assert backend.address == f"clickhouse://{place()}/{backend._database}"
        backend.close()
        assert given.command("SELECT 1") == 1
        drop(backend)


def test_either_a_url_or_a_client() -> None:
    url = ClickhouseBackend.from_url("clickhouse://localhost")._url
    for wrong in ({"url": None}, {"url": url, "client": object()}):
        with pytest.raises(SettingsError, match="either a url or a client"):
            ClickhouseBackend(**wrong)
    with pytest.raises(SettingsError, match="one host"):
        backend_from_url("clickhouse://one,two/metrics")


def test_a_password_goes_where_it_must_and_is_never_shown(
    gate: HttpGate, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("CLICKHOUSE_SECRET", SECRET)
    login = base64.b64encode(f"ada:{SECRET}".encode()).decode()
    said = b"Code: 516. DB::Exception: ada: Authentication failed. (AUTHENTICATION_FAILED)"
    gate.rule = lambda _: (403, {"X-ClickHouse-Exception-Code": "516"}, said)
    shown = []
    for user, query in ((f"ada:{SECRET}@", ""), ("ada@", "?password_env=CLICKHOUSE_SECRET")):
        backend = backend_from_url(f"clickhouse://{user}127.0.0.1:{gate.port}/metrics{query}")
        for act in (backend.open, backend.setup, partial(backend.write, make_batch(*counters(1)))):
            gate.requests.clear()
            with pytest.raises(Misconfigured, match="correct user and password") as caught:
                act()
            assert {request.headers["authorization"] for request in gate.requests} == {f"Basic {login}"}
            shown += [repr(backend), backend.address, *traceback.format_exception(caught.value)]
        backend.close()
    for hidden in (SECRET, login):
        assert hidden not in "".join(shown) + caplog.text
    with pytest.raises(SettingsError, match="unencrypted") as refused:
        backend_from_url(f"clickhouse://ada:{SECRET}@db.example.org/metrics")
    assert SECRET not in str(refused.value)


# --- another shape ----------------------------------------------------------------------------------------------------


class Shouting(Native):
    """Names in capitals, as some other system might keep them."""

    def writer(self) -> Any:
        plain = super().writer()
        return lambda record: plain(record).replace(f'"name":"{record.name}"', f'"name":"{record.name.upper()}"')

    def record(self, row: tuple[Any, ...], header: Header) -> Record:
        return super().record((*row[:3], row[3].lower(), *row[4:]), header)


def test_another_shape_says_what_stands_in_the_columns(backend: ClickhouseBackend) -> None:
    shape: Shape = Shouting()
    other = ClickhouseBackend(backend._url, shape=shape)
    write_once(other, make_batch(Record(at(0), COUNTER, "hits", 1)))
    assert [record.name for record in other.records(Query())] == ["hits"]
    assert [record.name for record in backend.records(Query())] == ["HITS"]
    other.close()
