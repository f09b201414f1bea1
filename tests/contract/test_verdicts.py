"""What servers without a word for each record say when they refuse, and what becomes of the schema: one suite for them.

The search engines and InfluxDB have their own, longer ones: `search_verdicts.py`, `test_influxdb_verdicts.py`.
"""

from __future__ import annotations

import itertools
import logging
import os
import traceback
from collections.abc import Iterator
from contextlib import closing
from typing import Any, ClassVar
from urllib.parse import urlsplit

import clickhouse_connect
import psycopg
import pymongo
import pytest
from rethinkdb import RethinkDB
from tests.contract.faults import write_once
from tests.contract.http_gate import HttpGate
from tests.contract.mongo_gate import MongoGate
from tests.rethinkdb.standin import StandIn
from tests.services import service

from tallystick.backends.base import ACCEPTED
from tallystick.backends.rethinkdb.connection import driver as rethinkdb_driver
from tallystick.errors import Misconfigured, TooLarge, Unavailable
from tallystick.plugins import backend_from_url
from tallystick.queries import Query
from tallystick.testing import counters, make_batch

SECRET = "correct-horse-battery"
ANY_TYPE = "a value of any type has its place: no two types conflict"
CUT_BEFORE = "the driver cuts a batch into messages that the server takes"

_numbers = itertools.count()


def new_name() -> str:
    return f"verdicts_{os.getpid()}_{next(_numbers)}"


def check_secrecy(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of a URL that leads to nobody."""
    caplog.set_level(logging.DEBUG)
    backend = backend_from_url(url)
    with pytest.raises(Unavailable) as caught:
        write_once(backend, make_batch(*counters(1)))
    shown = [repr(backend), backend.address, caplog.text, *traceback.format_exception(caught.value)]
    assert SECRET not in "".join(shown)


class Verdicts:
    """Give `make`, `drop` and `harm`. The URL of `secret` leads to nobody."""

    secret: ClassVar[str]

    def make(self) -> Any:
        """A backend on an empty store of its own, not yet open."""
        raise NotImplementedError

    def drop(self, backend: Any) -> None:
        """Remove the store."""
        raise NotImplementedError

    def harm(self, backend: Any) -> None:
        """Take away a part of what `setup` made, as a person might."""
        raise NotImplementedError

    @pytest.fixture
    def backend(self) -> Iterator[Any]:
        backend = self.make()
        backend.open()
        yield backend
        backend.close()
        self.drop(backend)

    def test_a_schema_that_was_changed_or_lost_is_noticed_and_mended(self, backend: Any) -> None:
        assert [line for line in backend.check() if not line.ok] == []
        self.harm(backend)
        wrong = [line for line in backend.check() if not line.ok]
        assert wrong
        assert all("setup" in line.remedy for line in wrong)
        assert backend.setup()
        assert [line for line in backend.check() if not line.ok] == []
        assert backend.setup() == []
        assert backend.write(make_batch(*counters(3))) == ACCEPTED

    def test_no_password_or_token_is_ever_shown(self, caplog: pytest.LogCaptureFixture) -> None:
        check_secrecy(self.secret.format(SECRET), caplog)


@pytest.mark.service("postgresql")
class TestPostgresqlVerdicts(Verdicts):
    """More of them are in `test_postgresql_access.py`."""

    does_not_apply: ClassVar[dict[str, str]] = {"a request that is too large is halved": "COPY has no limit"}
    secret = "postgresql://ada:{}@127.0.0.1:1/metrics?timeout_seconds=1"

    def make(self) -> Any:
        return backend_from_url(f"{service('postgresql')}?schema={new_name()}")

    def drop(self, backend: Any) -> None:
        with psycopg.connect(service("postgresql"), autocommit=True) as connection:
            connection.execute(f'DROP SCHEMA IF EXISTS "{backend._schema}" CASCADE')

    def harm(self, backend: Any) -> None:
        self.drop(backend)


class MongodbVerdicts(Verdicts):
    does_not_apply: ClassVar[dict[str, str]] = {
        "a conflict of types rejects the conflicting records alone": ANY_TYPE,
        "a request that is too large is halved": CUT_BEFORE,
    }
    secret = "mongodb://ada:{}@127.0.0.1:1/metrics?timeout_seconds=1&connect_timeout_seconds=1"
    server: ClassVar[str]

    def make(self) -> Any:
        return backend_from_url(f"{service(self.server)}/{new_name()}")

    def drop(self, backend: Any) -> None:
        with pymongo.MongoClient[dict[str, Any]](service(self.server)) as client:
            client.drop_database(backend._database)

    def harm(self, backend: Any) -> None:
        with pymongo.MongoClient[dict[str, Any]](service(self.server)) as client:
            client[backend._database][backend._collection_name].drop_index("timestamp_ns_1")

    def test_a_server_in_trouble_is_waited_for_as_it_says(self, backend: Any) -> None:
        """Each item of a reply has its own word: stored already, refused, or a trouble that passes."""
        codes = [11000, 2, 91, 121, 10107, 11000, 14031, 26, 112, 263, 99_999]
        errors = [{"index": index, "code": code, "errmsg": f"said {code}"} for index, code in enumerate(codes)]
        late = {"code": 64, "errmsg": "waiting for replication"}
        with MongoGate(service(self.server)) as gate:
            other = backend_from_url(f"mongodb://127.0.0.1:{gate.port}/{backend._database}?directConnection=true")
            other.open()
            gate.rule = lambda command: {"ok": 1, "n": 0, "writeErrors": errors} if "insert" in command else None
            result = other.write(make_batch(*counters(11)))
            assert result.rejected == {1: "said 2 (code 2)", 3: "said 121 (code 121)"}
            assert sorted(result.kept) == [2, 4, 6, 7, 8, 9, 10]
            gate.rule = lambda command: {"ok": 1, "n": 7, "writeConcernError": late} if "insert" in command else None
            with pytest.raises(Unavailable, match="waiting for replication"):
                other.write(make_batch(*counters(7)))
            other.close()

    def test_a_unique_index_that_a_person_added_takes_no_record_away_unsaid(self, backend: Any) -> None:
        with pymongo.MongoClient[dict[str, Any]](service(self.server)) as client:
            client[backend._database][backend._collection_name].create_index("name", unique=True)
        result = backend.write(make_batch(*counters(2), *counters(1, name="other")))
        assert sorted(result.rejected) == [1]
        assert {record.name for record in backend.records(Query())} == {"hits", "other"}

    @pytest.mark.parametrize("code", [20, 26, 112, 211, 263, 388, 99_999])
    def test_a_command_that_a_server_refuses_for_its_own_state_keeps_a_record_that_stands_alone(
        self, backend: Any, code: int
    ) -> None:
        with MongoGate(service(self.server)) as gate:
            other = backend_from_url(f"mongodb://127.0.0.1:{gate.port}/{backend._database}?directConnection=true")
            other.open()
            said = {"ok": 0, "code": code, "errmsg": f"said {code}"}
            gate.rule = lambda command: said if "insert" in command else None
            with pytest.raises(Unavailable, match=f"said {code}"):
                other.write(make_batch(*counters(1)))
            other.close()


@pytest.mark.service("mongodb")
class TestMongodbVerdicts(MongodbVerdicts):
    server = "mongodb"

    def test_what_a_person_must_mend_keeps_everything_and_says_the_remedy(self, backend: Any) -> None:
        with_password = f"mongodb://ada:{SECRET}@{urlsplit(service(self.server)).netloc}/{backend._database}"
        stranger = backend_from_url(with_password)
        with pytest.raises(Misconfigured, match="correct user and password"):
            write_once(stranger, make_batch(*counters(3)))
        stranger.close()


@pytest.mark.service("mongodb-java")
class TestMongodbJavaVerdicts(MongodbVerdicts):
    server = "mongodb-java"
    does_not_apply: ClassVar[dict[str, str]] = {
        "what a person must mend keeps everything and says the remedy": "this server has neither users nor rights",
    }


@pytest.mark.service("clickhouse")
class TestClickhouseVerdicts(Verdicts):
    does_not_apply: ClassVar[dict[str, str]] = {
        "a conflict of types rejects the conflicting records alone": ANY_TYPE,
    }
    secret = "clickhouse://ada:{}@127.0.0.1:1/metrics?timeout_seconds=1"

    def make(self, place: str = "") -> Any:
        return backend_from_url(f"clickhouse://{place or urlsplit(service('clickhouse')).netloc}/{new_name()}")

    def run(self, statement: str) -> None:
        host, _, port = urlsplit(service("clickhouse")).netloc.rpartition(":")
        with clickhouse_connect.get_client(host=host, port=int(port)) as client:
            client.command(statement)

    def drop(self, backend: Any) -> None:
        self.run(f"DROP DATABASE IF EXISTS `{backend._database}`")

    def harm(self, backend: Any) -> None:
        self.run(f"DROP TABLE `{backend._database}`.documents")

    @pytest.mark.parametrize("code", [43, 48, 202, 225, 241, 242, 252, 344, 499, 1_999])
    def test_a_server_in_trouble_is_waited_for_as_it_says(self, code: int) -> None:
        self.check_refusal(code, Unavailable)

    @pytest.mark.parametrize("code", [307, 396])
    def test_a_request_that_is_too_large_is_halved(self, code: int) -> None:
        self.check_refusal(code, TooLarge)

    def check_refusal(self, code: int, error: type[Exception]) -> None:
        """The real server's words for it, in its place."""
        said = f"Code: {code}. DB::Exception: no. (NAME)".encode()
        reply = (500, {"X-ClickHouse-Exception-Code": str(code)}, said)
        with HttpGate(service("clickhouse")) as gate:
            backend = self.make(place=f"127.0.0.1:{gate.port}")
            backend.open()
            batch = make_batch(*counters(3))
            gate.rule = lambda request: reply if "INSERT" in f"{request.target}{request.body!r}" else None
            with pytest.raises(error, match=f"Code: {code}") as caught:
                write_once(backend, batch)
            assert type(caught.value) is error
            gate.rule = lambda _: None
            write_once(backend, batch)
            assert len(list(backend.records(Query()))) == 3
            backend.close()
            self.drop(backend)

    def test_what_a_person_must_mend_keeps_everything_and_says_the_remedy(self, backend: Any) -> None:
        batch = make_batch(*counters(3))
        self.run(f"RENAME TABLE `{backend._database}`.points TO `{backend._database}`.away")
        with pytest.raises(Misconfigured, match="CREATE TABLE"):
            write_once(backend, batch)
        self.run(f"RENAME TABLE `{backend._database}`.away TO `{backend._database}`.points")
        write_once(backend, batch)
        assert len(list(backend.records(Query()))) == 3


class TestRethinkdbVerdicts(Verdicts):
    does_not_apply: ClassVar[dict[str, str]] = {
        "a conflict of types rejects the conflicting records alone": ANY_TYPE,
        "a request that is too large is halved": "a batch is cut into inserts that the server takes",
    }
    secret = "rethinkdb://ada:{}@127.0.0.1:1/metrics?timeout_seconds=1"

    @pytest.fixture(autouse=True)
    def on_the_standin(self) -> Iterator[None]:
        with StandIn() as server:
            self.port = server.port
            yield

    def make(self) -> Any:
        return backend_from_url(f"rethinkdb://127.0.0.1:{self.port}/{new_name()}")

    def drop(self, backend: Any) -> None:
        """It goes with the stand-in."""

    def run(self, term: Any) -> None:
        with closing(RethinkDB().connect("127.0.0.1", self.port)) as connection:
            term.run(connection)

    def harm(self, backend: Any) -> None:
        self.run(RethinkDB().db(backend._database).table(backend._table_name).index_drop("moment"))

    def test_a_server_in_trouble_is_waited_for_as_it_says(self, backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """The stand-in is never in trouble, so the driver's errors are raised in its place."""
        errors = rethinkdb_driver().errors
        batch = make_batch(*counters(3))
        for error in (errors.ReqlOpFailedError, errors.ReqlOpIndeterminateError):
            with monkeypatch.context() as patch:
                patch.setattr(backend, "_run", raising(error("primary replica for shard not available", None, [])))
                with pytest.raises(Unavailable, match="not available"):
                    write_once(backend, batch)
        write_once(backend, batch)
        assert len(list(backend.records(Query()))) == 3


def raising(error: Exception) -> Any:
    def run(_: Any) -> Any:
        raise error

    return run


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("influxdb1", f"influxdb://ada:{SECRET}@127.0.0.1:1/metrics"),
        ("influxdb2", "influxdb2://127.0.0.1:1/metrics?org=tallystick&token_env=TALLYSTICK_TEST_SECRET"),
        ("influxdb3", "influxdb3://127.0.0.1:1/metrics?token_env=TALLYSTICK_TEST_SECRET"),
    ],
)
def test_no_password_or_token_is_ever_shown(
    server: str, url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_TEST_SECRET", SECRET)
    check_secrecy(url, caplog)
