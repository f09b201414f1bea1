"""MongoDB: TLS and certificates, what refusals mean for each record, rights, several hosts, forks, indexes.

The servers of its protocol that can be had know neither TLS nor trouble, so a door before the real one does.
"""

from __future__ import annotations

import itertools
import os
import shutil
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymongo
import pytest
from tests.contract.faults import write_once
from tests.contract.mongo_gate import Command, MongoGate
from tests.contract.search_access import certificates
from tests.services import service

from tallystick.backends.base import ACCEPTED
from tallystick.backends.mongodb import MongodbBackend
from tallystick.backends.mongodb import backend as mongodb
from tallystick.backends.mongodb import care as mongodb_care
from tallystick.errors import Misconfigured, SettingsError, Unavailable
from tallystick.queries import Query
from tallystick.records import Record
from tallystick.testing import at, counters, make_batch
from tallystick.testing.base import deliver

pytestmark = pytest.mark.service("mongodb")

_numbers = itertools.count()


def url_of(port: int, *options: str, host: str = "127.0.0.1") -> str:
    name = f"access_{os.getpid()}_{next(_numbers)}"
    more = ["directConnection=true", "timeout_seconds=10", "connect_timeout_seconds=5", *options]
    return f"mongodb://{host}:{port}/{name}?{'&'.join(more)}"


def drop(backend: MongodbBackend) -> None:
    with pymongo.MongoClient[dict[str, Any]](service("mongodb")) as client:
        client.drop_database(backend._database)
    backend.close()


def ids(backend: MongodbBackend) -> list[str]:
    return sorted(record.id for record in backend.records(Query()))


@pytest.fixture
def gate() -> Iterator[MongoGate]:
    with MongoGate(service("mongodb")) as gate:
        yield gate


@pytest.fixture
def backend(gate: MongoGate) -> Iterator[MongodbBackend]:
    made = MongodbBackend.from_url(url_of(gate.port))
    made.open()
    yield made
    drop(made)


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, server.pem, both.pem (the client's certificate and key); stranger.pem, an authority of nobody here."""
    folder = tmp_path_factory.mktemp("keys")
    certificates(folder)
    (folder / "other").mkdir()
    certificates(folder / "other")
    shutil.copy(folder / "other" / "ca.pem", folder / "stranger.pem")
    (folder / "both.pem").write_text((folder / "client.pem").read_text() + (folder / "client.key").read_text())
    return folder


@pytest.fixture(params=["server", "both"])
def shown(request: pytest.FixtureRequest) -> bool:
    """Whether the client must show a certificate, too."""
    return bool(request.param == "both")


@pytest.fixture
def door(keys: Path, shown: bool) -> Iterator[MongoGate]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "server.pem", keys / "server.key")
    context.load_verify_locations(keys / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED if shown else ssl.CERT_NONE
    if shown:  # with 1.3 a client already writes when it is refused, and may miss the reason
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    with MongoGate(service("mongodb"), context) as gate:
        yield gate


def test_tls_is_verified_unless_somebody_says_otherwise(door: MongoGate, keys: Path, shown: bool) -> None:
    mine = [f"cert_file={keys / 'both.pem'}"] if shown else []
    refused = {
        "tls=true": "ca_file=",
        f"ca_file={keys / 'stranger.pem'}": "ca_file=",
        f"tls=true&tlsCAFile={keys / 'stranger.pem'}": "ca_file=",
    }
    for option, remedy in refused.items():
        with pytest.raises(Misconfigured, match=remedy):
            MongodbBackend.from_url(url_of(door.port, option, *mine)).open()
    with pytest.raises(Misconfigured, match="in the server's certificate"):
        MongodbBackend.from_url(url_of(door.port, f"ca_file={keys / 'ca.pem'}", *mine, host="localhost")).open()
    assert "insert" not in door.names
    for option in (f"ca_file={keys / 'ca.pem'}", "insecure_tls=yes"):
        backend = MongodbBackend.from_url(url_of(door.port, option, *mine))
        write_once(backend, make_batch(*counters(5)))
        assert len(ids(backend)) == 5
        drop(backend)
    assert "insert" in door.names


@pytest.mark.parametrize("shown", ["both"], indirect=True)
def test_without_the_certificate_that_the_server_asks_for_the_remedy_is_told(door: MongoGate, keys: Path) -> None:
    with pytest.raises(Misconfigured, match="cert_file="):
        MongodbBackend.from_url(url_of(door.port, f"ca_file={keys / 'ca.pem'}")).open()


def test_files_that_cannot_be_used_are_named(keys: Path) -> None:
    for option in ("ca_file=/no/such.pem", f"cert_file={keys / 'ca.pem'}"):
        with pytest.raises(Misconfigured, match="PEM") as caught:
            MongodbBackend.from_url(url_of(1, option)).open()
        assert option.partition("=")[2] in str(caught.value)
    with pytest.raises(SettingsError, match="one PEM file"):
        MongodbBackend.from_url(url_of(1, f"cert_file={keys / 'client.pem'}", f"key_file={keys / 'client.key'}"))


def test_a_password_travels_to_another_host_with_tls_or_by_saying_so() -> None:
    url = "mongodb://ada:hunter2@db.example.org/metrics"
    for option in ("tls=false", "w=1"):
        with pytest.raises(SettingsError, match="unencrypted"):
            MongodbBackend.from_url(f"{url}?{option}")
    for option in ("tls=true", "ca_file=/some/ca.pem", "insecure_tls=yes", "allow_plain_credentials=yes"):
        assert "hunter2" not in repr(MongodbBackend.from_url(f"{url}?{option}"))


# --- what the server says ---------------------------------------------------------------------------------------------

PASSING = {
    91: "ShutdownInProgress",
    189: "PrimarySteppedDown",
    262: "ExceededTimeLimit",
    9001: "SocketException",
    10107: "NotWritablePrimary",
    11600: "InterruptedAtShutdown",
    11602: "InterruptedDueToReplStateChange",
    13435: "NotPrimaryNoSecondaryOk",
    13436: "NotPrimaryOrSecondary",
    14031: "OutOfDiskSpace",
}


def only(name: str, reply: Command) -> Any:
    return lambda command: reply if name in command else None


@pytest.mark.parametrize("name", ["insert", "update"])
@pytest.mark.parametrize("code", PASSING, ids=PASSING.get)
def test_a_server_in_trouble_is_waited_for(backend: MongodbBackend, gate: MongoGate, code: int, name: str) -> None:
    own_id = "mine" if name == "update" else None
    batch = make_batch(Record(at(0), "gauge", "hits", 1, own_id=own_id))
    gate.rule = only(name, {"ok": 0, "code": code, "codeName": PASSING[code], "errmsg": f"said {code}"})
    with pytest.raises(Unavailable, match=f"said {code}") as caught:
        write_once(backend, batch)
    assert type(caught.value) is Unavailable
    gate.rule = lambda _: None
    write_once(backend, batch)
    assert len(ids(backend)) == 1


def test_of_a_mixed_reply_every_record_has_its_own_verdict(backend: MongodbBackend, gate: MongoGate) -> None:
    codes = [11000, 121, 91, 10107, 14031, 11000, 2]
    errors = [{"index": index, "code": code, "errmsg": f"said {code}"} for index, code in enumerate(codes)]
    gate.rule = only("insert", {"ok": 1, "n": 8, "writeErrors": errors})
    result = backend.write(make_batch(*counters(15)))
    assert result.rejected == {1: "said 121 (code 121)", 6: "said 2 (code 2)"}
    assert sorted(result.kept) == [2, 3, 4]


def test_a_write_that_no_majority_has_yet_is_kept_whole(backend: MongodbBackend, gate: MongoGate) -> None:
    late = {"code": 64, "errmsg": "waiting for replication timed out"}
    gate.rule = only("insert", {"ok": 1, "n": 3, "writeConcernError": late})
    with pytest.raises(Unavailable, match="waiting for replication"):
        backend.write(make_batch(*counters(3)))


@pytest.mark.parametrize("code", [13, 18, 8000])
def test_what_a_person_must_mend_keeps_everything(backend: MongodbBackend, gate: MongoGate, code: int) -> None:
    gate.rule = only("insert", {"ok": 0, "code": code, "errmsg": f"said {code}"})
    batch = make_batch(*counters(3))
    with pytest.raises(Misconfigured, match=f"said {code}.*readWrite"):
        write_once(backend, batch)
    gate.rule = lambda _: None
    write_once(backend, batch)
    assert len(ids(backend)) == 3


def test_a_record_larger_than_servers_take_costs_only_itself(backend: MongodbBackend) -> None:
    large = Record(at(5), "note", "large", "x" * (17 * 2**20))
    result = deliver(backend, make_batch(*counters(5), large, *counters(5)))
    assert list(result.rejected) == [5]
    assert "large" in result.rejected[5]
    assert len(ids(backend)) == 10


def test_what_cannot_be_a_document_is_rejected_alone_in_one_write(backend: MongodbBackend, gate: MongoGate) -> None:
    odd = [
        Record(at(0), "gauge", "nul", 1, {"a\x00": "b"}),
        Record(at(0), "gauge", "half a character", "\ud800"),
        Record(at(0), "gauge", "more than 64 bits", 2**64),
        Record(at(0), "gauge", "no number", float("nan")),
        Record(at(0), "gauge", "no value", object()),  # type: ignore[arg-type]
        Record(2**70, "gauge", "later than any date", 1),
        Record(at(0), "gauge", "own", 2**64, own_id="own"),
        Record(at(0), "gauge", "md", 1, metadata={"k": 10**400}),
        Record(at(0), "gauge", "sampled", 1, sample_rate=0.0),
    ]
    batch = make_batch(*counters(20), *odd, *counters(20))
    backend.open()
    gate.names.clear()
    for _ in range(2):
        result = backend.write(batch)
        assert sorted(result.rejected) == list(range(20, 29))
        assert not result.kept
    assert gate.names.count("insert") == 2
    assert len(ids(backend)) == 40


def test_many_contents_of_own_ids_are_one_bulk_and_the_newest_stays(backend: MongodbBackend, gate: MongoGate) -> None:
    times = [5, 9, 2, 9, 1]
    batch = make_batch(*(Record(at(time), "gauge", "g", i, own_id=f"o{i % 2}") for i, time in enumerate(times)))
    newer = make_batch(Record(at(7), "gauge", "g", 70, own_id="o0"))
    for each in (batch, newer, batch):
        assert backend.write(each) == ACCEPTED
    assert {record.id: record.value for record in backend.records(Query())} == {"o0": 70, "o1": 3}
    gate.names.clear()
    backend.write(batch)
    assert gate.names.count("update") <= 2


def test_an_older_content_that_somebody_inserts_at_the_same_moment_does_not_stay(
    backend: MongodbBackend, gate: MongoGate
) -> None:
    """The server finds no document to replace, and then one of the same id where it would insert."""
    older, newer = (make_batch(Record(at(i), "gauge", "g", i, own_id="o")) for i in range(2))
    backend.write(older)
    errors = [{"index": 0, "code": 11000, "errmsg": "duplicate key"}]
    said = iter([{"ok": 1, "n": 0, "nModified": 0, "writeErrors": errors}])
    gate.rule = lambda command: next(said, None) if "update" in command else None
    assert backend.write(newer) == ACCEPTED
    assert [record.value for record in backend.records(Query())] == [1]


def test_a_content_waits_when_the_newer_one_of_its_batch_was_not_stored(
    backend: MongodbBackend, gate: MongoGate
) -> None:
    records = [Record(at(i), "gauge", "g", i, own_id="o") for i in range(2)]
    errors = [{"index": 0, "code": 121, "errmsg": "failed validation"}]
    gate.rule = only("update", {"ok": 1, "n": 0, "nModified": 0, "writeErrors": errors})
    result = backend.write(make_batch(*records))
    assert (sorted(result.rejected), sorted(result.kept)) == ([1], [0])


def test_prune_forgets_in_small_deletes_also_what_is_of_one_moment(
    backend: MongodbBackend, gate: MongoGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongodb_care, "SLICE", 100)
    moments = [*range(-90, 0), *[0] * 250, *range(1, 170), *[10**9] * 5]
    backend.write(make_batch(*(Record(at(0) + moment, "gauge", "g", 1) for moment in moments)))
    sizes: list[int] = []

    def count(command: Command) -> None:
        if "delete" in command:
            sizes.append(len(ids(other)))

    other = MongodbBackend.from_url(f"{service('mongodb')}/{backend._database}")
    gate.rule = count
    assert backend.prune(at(1) / 1e9) == len(moments) - 5
    left = [*sizes, len(ids(other))]
    assert max(before - after for before, after in itertools.pairwise(left)) <= 100
    assert left[-1] == 5
    other.close()


# --- rights, indexes --------------------------------------------------------------------------------------------------


def test_without_the_right_to_make_indexes_the_script_is_printed_and_setup_no_does_without(gate: MongoGate) -> None:
    gate.rule = only("createIndexes", {"ok": 0, "code": 13, "errmsg": "not authorized to createIndexes"})
    url = url_of(gate.port, "ttl_days=30")
    with pytest.raises(Misconfigured, match="not authorized") as caught:
        MongodbBackend.from_url(url).open()
    script = str(caught.value).partition("\n")[2].splitlines()
    assert len(script) == 3
    assert all('.getCollection("tallystick").createIndex({' in line for line in script)
    assert '"expireAfterSeconds": 2592000' in script[2]
    backend = MongodbBackend.from_url(f"{url}&setup=no")
    write_once(backend, make_batch(*counters(3)))
    assert len(ids(backend)) == 3
    drop(backend)


def test_documents_leave_after_ttl_days_and_another_number_changes_the_index() -> None:
    port = urlsplit(service("mongodb")).port or 0
    url = url_of(port)
    backends = []
    for days, done in ((7, "created"), (30, "changed")):
        backend = MongodbBackend.from_url(f"{url}&ttl_days={days}")
        backend._ready, backend._looked = (
            True,
            time.monotonic(),
        )  # without the setup of the first opening, to see what setup says
        said = backend.setup()
        assert any(f"{done} the index timestamp_ttl" in line for line in said)
        assert backend.setup() == []
        index = backend._collection(backend._collection_name).index_information()["timestamp_ttl"]
        assert index["expireAfterSeconds"] == days * 86_400
        backends.append(backend)
    for backend in backends:
        drop(backend)


def test_the_indexes_of_a_collection_that_was_dropped_are_made_again(
    backend: MongodbBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_once(backend, make_batch(*counters(3)))
    backend._client.drop_database(backend._database)
    assert backend.write(make_batch(*counters(4))) == ACCEPTED
    monkeypatch.setattr(mongodb, "LOOK_SECONDS", 0.0)
    assert backend.write(make_batch(*counters(5))) == ACCEPTED
    monkeypatch.undo()
    assert all(line.ok for line in backend.check())
    assert len(ids(backend)) == 9


# --- several hosts, forks ---------------------------------------------------------------------------------------------


def test_of_several_hosts_one_that_answers_is_used() -> None:
    place = urlsplit(service("mongodb")).netloc
    name = f"access_{os.getpid()}_{next(_numbers)}"
    backend = MongodbBackend.from_url(f"mongodb://127.0.0.1:1,{place}/{name}?connect_timeout_seconds=3")
    write_once(backend, make_batch(*counters(3)))
    assert len(ids(backend)) == 3
    assert f"127.0.0.1:1,{place}" in backend.address
    drop(backend)
