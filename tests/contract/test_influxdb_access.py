"""What InfluxDB 1 and 2 may create and for whom, what a URL may say, and what is never shown."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.contract.faults import write_once
from tests.contract.http_gate import HttpGate
from tests.contract.influxdb import drop, fresh, names, server_of, url_of
from tests.services import _own, kill, restart, service

from tallystick.backends.influxdb import InfluxdbBackend
from tallystick.backends.influxdb.servers import Server2
from tallystick.errors import Misconfigured, SettingsError, Unavailable
from tallystick.plugins import backend_from_url
from tallystick.queries import Query
from tallystick.records import GAUGE, Record
from tallystick.testing import at, counters, make_batch

pytestmark = pytest.mark.service("influxdb1", "influxdb2")

SECRET = "correct-horse-battery"

both = pytest.mark.parametrize("version", [1, 2])


@pytest.fixture
def backend(version: int) -> Iterator[InfluxdbBackend]:
    with fresh(version) as backend:
        yield backend


@pytest.fixture
def gate(version: int) -> Iterator[HttpGate]:
    with HttpGate(service(f"influxdb{version}")) as gate:
        yield gate


# --- what is created, and by whose right ------------------------------------------------------------------------------


@both
def test_a_database_that_went_away_is_made_again(backend: InfluxdbBackend) -> None:
    first, second = make_batch(*counters(3)), make_batch(*counters(4))
    write_once(backend, first)
    drop(backend)
    with pytest.raises(Misconfigured):
        write_once(backend, second)
    write_once(backend, second)
    assert len(names(backend)) == 4


@both
def test_without_setup_a_missing_database_is_not_made(version: int) -> None:
    backend = InfluxdbBackend.from_url(url_of(version, setup="no"))
    backend.open()
    with pytest.raises(Misconfigured, match="not found"):
        backend.write(make_batch(*counters(3)))
    (line,) = backend.check()
    assert not line.ok
    backend.close()


def test_a_retention_policy_is_written_to_and_asked() -> None:
    with fresh(1, retention_policy="a-week", retention_days=7_000) as backend:
        assert not backend.write(make_batch(*counters(3))).rejected
        assert backend.query(Query("hits"))[0].points == [(0.0, 3.0)]
        (answered,) = server_of(backend).ask(['SELECT count("value") FROM "autogen"."hits"'])
        assert answered == []
        assert backend.setup() == []
        other = InfluxdbBackend.from_url(url_of(1, name=backend._url.name, retention_policy="unknown", setup="no"))
        with pytest.raises(Misconfigured, match="retention policy not found"):
            other.write(make_batch(*counters(3)))
        other.close()


@pytest.fixture
def token() -> Iterator[Any]:
    """Makes tokens with the given rights to one bucket, in an environment variable of this name."""
    made: list[str] = []
    with fresh(2) as backend:
        server = server_of(backend)
        assert isinstance(server, Server2)
        bucket, organisation = server._place["bucket"], server._place["orgID"]

        def make(*actions: str) -> tuple[str, str]:
            resource = {"type": "buckets", "id": bucket, "orgID": organisation}
            rights = [{"action": action, "resource": resource} for action in actions]
            reply = server._api("POST", "authorizations", {}, {"orgID": organisation, "permissions": rights})
            made.append(reply["id"])
            os.environ["TALLYSTICK_TEST_POOR_TOKEN"] = reply["token"]
            return "TALLYSTICK_TEST_POOR_TOKEN", backend._url.name

        yield make
        for identity in made:
            server._api("DELETE", f"authorizations/{identity}", {})
        os.environ.pop("TALLYSTICK_TEST_POOR_TOKEN", None)


def test_a_token_that_may_read_and_write_the_bucket_alone_is_enough(token: Any) -> None:
    variable, bucket = token("read", "write")
    backend = InfluxdbBackend.from_url(url_of(2, name=bucket, token_env=variable))
    backend.open()
    write_once(backend, make_batch(*counters(3), Record(at(0), GAUGE, "order", 1, own_id="a")))
    assert len(names(backend)) == 4
    assert all(line.ok for line in backend.check())
    assert backend.prune(at(10) / 1e9) == 4
    backend.close()
    elsewhere = InfluxdbBackend.from_url(url_of(2, token_env=variable))
    with pytest.raises(Misconfigured, match="influx bucket create"):
        elsewhere.open()


def test_a_token_that_may_only_write_delivers_without_setup(token: Any) -> None:
    variable, bucket = token("write")
    with pytest.raises(Misconfigured, match="setup=no"):
        InfluxdbBackend.from_url(url_of(2, name=bucket, token_env=variable)).open()
    backend = InfluxdbBackend.from_url(url_of(2, name=bucket, token_env=variable, setup="no"))
    write_once(backend, make_batch(*counters(3)))
    backend.close()
    reader = InfluxdbBackend.from_url(url_of(2, name=bucket))
    assert len(names(reader)) == 3


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """`host:port` of a server of version 1 that asks for passwords; each user's is the name. There is a database `shop`
    with `ada`, who may write and read it, and `wren`, who may only write."""
    url = service("influxdb1", own=True)
    root = InfluxdbBackend.from_url(f"influxdb://root:root@{urlsplit(url).netloc}/shop")
    root.open()
    users = [f"CREATE USER {name} WITH PASSWORD '{name}'" for name in ("ada", "wren")]
    rights = ["GRANT ALL ON shop TO ada", "GRANT WRITE ON shop TO wren"]
    server_of(root).ask(["CREATE USER root WITH PASSWORD 'root' WITH ALL PRIVILEGES", *users, *rights])
    root.close()
    kill("influxdb1")
    _own["influxdb1"]["INFLUXDB_HTTP_AUTH_ENABLED"] = "true"
    restart("influxdb1")
    yield urlsplit(url).netloc
    kill("influxdb1")
    del _own["influxdb1"]["INFLUXDB_HTTP_AUTH_ENABLED"]
    restart("influxdb1")


def test_a_user_with_all_rights_on_the_database_needs_no_others(guarded: str) -> None:
    backend = InfluxdbBackend.from_url(f"influxdb://ada:ada@{guarded}/shop")
    for moment in (0, 1):
        write_once(backend, make_batch(*counters(3), Record(at(moment), GAUGE, "order", moment, own_id="a")))
    assert names(backend) == ["hits"] * 6 + ["order"]
    assert all(line.ok for line in backend.check())
    assert backend.prune(at(10) / 1e9) == 7
    backend.close()


def test_a_user_who_may_only_write_delivers(guarded: str) -> None:
    backend = InfluxdbBackend.from_url(f"influxdb://wren:wren@{guarded}/shop")
    write_once(backend, make_batch(*counters(3)))
    with pytest.raises(Misconfigured, match="requires READ on shop"):
        write_once(backend, make_batch(Record(at(0), GAUGE, "order", 1, own_id="a")))
    backend.close()


def test_a_user_who_may_not_create_the_database_gets_the_statement(guarded: str) -> None:
    with pytest.raises(Misconfigured, match='as an administrator run: CREATE DATABASE "other"'):
        InfluxdbBackend.from_url(f"influxdb://ada:ada@{guarded}/other").open()


@pytest.mark.parametrize("user", ["ada:wrong@", "nobody:x@", ""])
def test_a_wrong_password_is_said_to_be_so(guarded: str, user: str) -> None:
    with pytest.raises(Misconfigured, match="check the user and password"):
        InfluxdbBackend.from_url(f"influxdb://{user}{guarded}/shop").open()


@pytest.mark.parametrize(("scheme", "version"), [("influxdb2", 1), ("influxdb", 2)])
def test_a_server_of_another_version_says_so(scheme: str, version: int) -> None:
    place = service(f"influxdb{version}").rpartition("/")[2]
    backend = backend_from_url(f"{scheme}://{place}/metrics")
    other = {"influxdb": "influxdb2", "influxdb2": "influxdb"}[scheme]
    with pytest.raises(Misconfigured, match=f"its URL begins with {other}://"):
        backend.open()


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"influxdb://user:{SECRET}@127.0.0.1:1/metrics?timeout_seconds=1",
        "influxdb2://127.0.0.1:1/metrics?token_env=TALLYSTICK_TEST_SECRET&timeout_seconds=1",
        "influxdb3://127.0.0.1:1/metrics?token_env=TALLYSTICK_TEST_SECRET&timeout_seconds=1",
    ],
)
def test_no_secret_is_ever_shown(url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_TEST_SECRET", SECRET)
    caplog.set_level(logging.DEBUG)
    backend = backend_from_url(url)
    with pytest.raises(Unavailable) as caught:
        write_once(backend, make_batch(*counters(1)))
    shown = [repr(backend), backend.address, caplog.text, *traceback.format_exception(caught.value)]
    assert SECRET not in "".join(shown)


@pytest.mark.parametrize(
    "url",
    [
        f"influxdb://user:{SECRET}@db.example.org/metrics",
        "influxdb2://db.example.org/metrics?token_env=TALLYSTICK_TEST_SECRET",
        "influxdb3://db.example.org/metrics?token_env=TALLYSTICK_TEST_SECRET",
    ],
)
def test_a_secret_does_not_travel_unencrypted_to_another_host(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_TEST_SECRET", SECRET)
    with pytest.raises(SettingsError, match="unencrypted") as caught:
        backend_from_url(url)
    assert SECRET not in str(caught.value)
    backend_from_url(url + ("&" if "?" in url else "?") + "allow_plain_credentials=yes")
    backend_from_url(url.replace("://", "+https://"))


@both
def test_user_and_password_or_token_are_sent_as_the_version_wants_them(
    version: int, gate: HttpGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_TEST_SECRET", SECRET)
    place = f"127.0.0.1:{gate.port}/metrics"
    url = (
        f"influxdb://ada:{SECRET}@{place}" if version == 1 else f"influxdb2://{place}?token_env=TALLYSTICK_TEST_SECRET"
    )
    gate.rule = lambda _: (401, {}, b"{}")
    with pytest.raises(Misconfigured):
        backend_from_url(url).open()
    wanted = "Basic YWRhOmNvcnJlY3QtaG9yc2UtYmF0dGVyeQ==" if version == 1 else f"Token {SECRET}"
    assert gate.requests[0].headers["authorization"] == wanted


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("influxdb://localhost:8086", "names no database"),
        ("influxdb://one,two/metrics", "one host"),
        ("influxdb://localhost/metrics?org=x", "unknown option org"),
        ("influxdb2://localhost/metrics?retention_policy=x", "unknown option"),
        ("influxdb2://localhost/metrics?tokn_env=X", "did you mean token_env"),
        ("influxdb2://localhost/metrics?token_env=NOT_SET_ANYWHERE", "which is not set"),
        ("influxdb2://ada:secret@localhost/metrics", "influxdb2 knows no user and password; give token_env="),
        ("influxdb3+https://token@localhost/metrics", "knows no user and password"),
        ("influxdb3://localhost/metrics?writers=4", "unknown option"),
        ("influxdb://localhost/metrics?writers=0", "positive whole number"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_with_the_reason(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        backend_from_url(url)
