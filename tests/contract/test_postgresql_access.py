"""PostgreSQL: who is let in and how, by TLS and certificates; what the server's refusals mean; several hosts; forks.

The server is real. What it cannot be brought to say at will (a full disk, a restart in the middle) a trigger of its own
raises, so the words and the wire are the server's.
"""

from __future__ import annotations

import itertools
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from tests.acceptance.stage import until
from tests.contract.faults import write_once, write_until_stored
from tests.contract.search_access import certificates
from tests.services import service

from tallystick.backends.base import ACCEPTED
from tallystick.backends.postgresql import PostgresqlBackend
from tallystick.errors import Misconfigured, SettingsError, Unavailable
from tallystick.queries import Query
from tallystick.records import Batch, Record
from tallystick.testing import at, counters, make_batch

pytestmark = pytest.mark.service("postgresql")

_numbers = itertools.count()


def new_name() -> str:
    return f"access_{os.getpid()}_{next(_numbers)}"


def run(*statements: str, url: str = "") -> None:
    with psycopg.connect(url or service("postgresql"), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def ids(backend: PostgresqlBackend) -> list[str]:
    return sorted(record.id for record in backend.records(Query()))


@pytest.fixture
def backend() -> Iterator[PostgresqlBackend]:
    made = PostgresqlBackend.from_url(f"{service('postgresql')}?schema={new_name()}&timeout_seconds=2")
    made.open()
    yield made
    made.close()
    run(f'DROP SCHEMA "{made._schema}" CASCADE')


# --- TLS, certificates, passwords -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, server.pem and client.pem with their keys; and stranger.pem, an authority that signed none of them."""
    folder = tmp_path_factory.mktemp("keys")
    certificates(folder)
    (folder / "other").mkdir()
    certificates(folder / "other")
    shutil.copy(folder / "other" / "ca.pem", folder / "stranger.pem")
    for key in folder.glob("*.key"):
        key.chmod(0o600)
    return folder


@pytest.fixture(scope="module")
def guarded(keys: Path) -> Iterator[str]:
    """`host:port/database` of a server with TLS, which asks `ada` for a password and `client` for a certificate."""
    url = service("postgresql", own=True)
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute("SHOW hba_file").fetchone()
        assert found is not None
        rules = Path(found[0])
        before = rules.read_text()
        statements = [f"ALTER SYSTEM SET ssl_{what}_file = '{keys / file}'" for what, file in FILES.items()]
        create = "CREATE ROLE {0} LOGIN PASSWORD 'right'", "GRANT CREATE ON DATABASE tallystick TO {0}"
        users = [text.format(user) for user in ("ada", "client") for text in create]
        rules.write_text(f"host all ada all scram-sha-256\nhostssl all client all cert\n{before}")
        run(*statements, "ALTER SYSTEM SET ssl = on", *users, "SELECT pg_reload_conf()", url=url)
    yield f"{urlsplit(url).netloc.rpartition('@')[2]}/tallystick"
    rules.write_text(before)
    run("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()", url=url)


FILES = {"cert": "server.pem", "key": "server.key", "ca": "ca.pem"}


def elsewhere(place: str) -> str:
    """The same server by a name that nobody can know to be this machine's."""
    return place.replace("127.0.0.1", "127.1")


def connected(url: str) -> tuple[bool, str]:
    """Whether the connection is encrypted, and the user, as the server sees it; after a batch was written."""
    made = PostgresqlBackend.from_url(f"{url}{'&' if '?' in url else '?'}schema={new_name()}")
    write_once(made, make_batch(*counters(3)))
    assert len(ids(made)) == 3
    sql = "SELECT ssl, current_user FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    encrypted, user = made._connection.execute(sql).fetchone()
    made._connection.execute(f'DROP SCHEMA "{made._schema}" CASCADE')
    made.close()
    return encrypted, user


def test_another_host_is_verified_by_default_and_one_with_an_unknown_authority_refused(guarded: str) -> None:
    with pytest.raises(Misconfigured, match="ca_file="):
        PostgresqlBackend.from_url(f"postgresql://postgres@{elsewhere(guarded)}").open()


def test_with_the_authority_named_the_server_is_verified_and_used(guarded: str, keys: Path) -> None:
    assert connected(f"postgresql://postgres@{guarded}?ca_file={keys / 'ca.pem'}") == (True, "postgres")


def test_a_server_of_another_authority_is_refused_with_the_remedy(guarded: str, keys: Path) -> None:
    with pytest.raises(Misconfigured, match="ca_file="):
        PostgresqlBackend.from_url(f"postgresql://postgres@{guarded}?ca_file={keys / 'stranger.pem'}").open()


def test_a_server_under_another_name_than_its_certificates_is_refused(guarded: str, keys: Path) -> None:
    named = guarded.replace("127.0.0.1", "localhost")
    with pytest.raises(Misconfigured, match="in the server's certificate"):
        PostgresqlBackend.from_url(f"postgresql://postgres@{named}?ca_file={keys / 'ca.pem'}").open()


def test_verification_is_given_up_only_by_saying_so(guarded: str, keys: Path) -> None:
    for option in ("insecure_tls=yes", "sslmode=require", f"insecure_tls=yes&ca_file={keys / 'stranger.pem'}"):
        assert connected(f"postgresql://postgres@{elsewhere(guarded)}?{option}") == (True, "postgres")


def test_a_client_certificate_lets_its_user_in_and_without_one_the_remedy_is_told(guarded: str, keys: Path) -> None:
    mine = f"cert_file={keys / 'client.pem'}&key_file={keys / 'client.key'}"
    url = f"postgresql://client@{guarded}?ca_file={keys / 'ca.pem'}"
    assert connected(f"{url}&{mine}") == (True, "client")
    with pytest.raises(Misconfigured, match="cert_file="):
        PostgresqlBackend.from_url(url).open()
    with pytest.raises(Misconfigured, match="PEM"):
        PostgresqlBackend.from_url(f"{url}&cert_file=/no/such.pem&key_file=/no/such.key").open()


def test_a_wrong_password_or_user_is_for_a_person_and_shown_nowhere(guarded: str) -> None:
    assert connected(f"postgresql://ada:right@{guarded}")[1] == "ada"
    for wrong in ("ada:hunter2", "nobody_knows:hunter2"):
        made = PostgresqlBackend.from_url(f"postgresql://{wrong}@{guarded}")
        with pytest.raises(Misconfigured, match="correct") as caught:
            made.open()
        assert "hunter2" not in f"{caught.value}{made!r}{made.address}"


def test_a_password_travels_unencrypted_to_another_host_only_by_saying_so() -> None:
    url = "postgresql://ada:hunter2@db.example.org/metrics"
    PostgresqlBackend.from_url(url)
    for mode in ("disable", "allow", "prefer"):
        with pytest.raises(SettingsError, match="unencrypted") as caught:
            PostgresqlBackend.from_url(f"{url}?sslmode={mode}")
        assert "hunter2" not in str(caught.value)
        PostgresqlBackend.from_url(f"{url}?sslmode={mode}&allow_plain_credentials=yes")


def test_a_missing_database_is_for_a_person_to_mend() -> None:
    with pytest.raises(Misconfigured, match="create the user or the database"):
        PostgresqlBackend.from_url(service("postgresql").replace("/tallystick", "/no_such_database")).open()


def test_an_unknown_option_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SettingsError, match="did you mean schema"):
        PostgresqlBackend.from_url("postgresql://localhost/db?shema=x")


def test_a_server_without_tls_is_not_believed_to_have_it() -> None:
    with pytest.raises(Misconfigured, match="ssl = on"):
        PostgresqlBackend.from_url(f"{service('postgresql')}?sslmode=require").open()


def test_a_changed_password_in_its_file_needs_no_restart(guarded: str, tmp_path: Path) -> None:
    administrator = f"postgresql://postgres@{guarded}"
    file = tmp_path / "password"
    file.write_text("right\n")
    made = PostgresqlBackend.from_url(f"postgresql://ada@{guarded}?schema={new_name()}&password_file={file}")
    write_once(made, make_batch(*counters(3)))
    end = f"SELECT pg_terminate_backend({made._connection.info.backend_pid}, 5000)"
    run("ALTER ROLE ada PASSWORD 'changed'", end, url=administrator)
    batch = make_batch(*counters(3))
    try:
        for _ in range(2):  # the connection has gone, and then the old password no longer lets in
            with pytest.raises(Unavailable):
                write_once(made, batch)
        file.write_text("changed\n")
        write_once(made, batch)
        assert len(ids(made)) == 6
        made.close()
    finally:
        run("ALTER ROLE ada PASSWORD 'right'", url=administrator)


# --- what the server says ---------------------------------------------------------------------------------------------


def raise_at(backend: PostgresqlBackend, state: str, name: str = "hits", table: str = "points") -> None:
    """Let the server refuse each row of this name with this SQLSTATE."""
    place = f'"{backend._schema}"'
    raising = f"BEGIN IF NEW.name = '{name}' THEN RAISE EXCEPTION 'said {state}' USING ERRCODE = '{state}'; END IF;"
    run(
        f"CREATE FUNCTION {place}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ {raising} RETURN NEW; END $$",
        f"CREATE TRIGGER refuse BEFORE INSERT ON {place}.{table} FOR EACH ROW EXECUTE FUNCTION {place}.refuse()",
    )


def relent(backend: PostgresqlBackend) -> None:
    run(f'DROP FUNCTION "{backend._schema}".refuse() CASCADE')


PASSING = {
    "53100": "disk full",
    "53200": "out of memory",
    "53300": "too many connections",
    "55P03": "lock not available",
    "57014": "canceled",
    "57P01": "shutting down",
    "57P02": "a crash",
    "57P03": "starting up",
    "40001": "not serializable",
    "40P01": "a deadlock",
    "58030": "input/output error",
    "XX000": "an error of its own",
    "08P01": "a pooler's word",
    "0A000": "not supported",
    "26000": "a prepared statement of another session",
    "25P02": "a transaction that failed",
    "34000": "a cursor of another session",
    "38000": "a procedure of another's",
    "53400": "a limit of the configuration",
    "55000": "not in the right state",
    "72000": "a snapshot too old",
    "F0000": "a configuration file",
    "HV000": "a foreign server",
}


@pytest.mark.parametrize("state", PASSING, ids=PASSING.get)
def test_a_server_in_trouble_is_waited_for_and_nothing_is_lost(backend: PostgresqlBackend, state: str) -> None:
    batch = make_batch(*counters(20))
    raise_at(backend, state)
    with pytest.raises(Unavailable, match=f"said {state}") as caught:
        write_once(backend, batch)
    assert type(caught.value) is Unavailable
    relent(backend)
    write_once(backend, batch)
    assert len(ids(backend)) == 20


@pytest.mark.parametrize("state", ["25006", "28000", "28P01", "3D000", "42501", "42703", "42804"])
def test_what_a_person_must_mend_keeps_everything(backend: PostgresqlBackend, state: str) -> None:
    batch = make_batch(*counters(20))
    raise_at(backend, state)
    with pytest.raises(Misconfigured, match=f"said {state}"):
        write_once(backend, batch)
    relent(backend)
    write_once(backend, batch)
    assert len(ids(backend)) == 20


BLAMING = ["22001", "22003", "22P02", "22P05", "23502", "23505", "23514", "44000", "54000", "P0001"]


@pytest.mark.parametrize("state", BLAMING)
@pytest.mark.parametrize("own_id", [None, "mine"])
def test_a_type_conflict_rejects_the_conflicting_records_alone(
    backend: PostgresqlBackend, state: str, own_id: str | None
) -> None:
    bad = Record(at(0), "gauge", "bad", 1, own_id=own_id)
    batch = make_batch(*counters(10), bad, *counters(10), bad, Record(at(0), "gauge", "good", 1, own_id="yours"))
    raise_at(backend, state, name="bad", table="points" if own_id is None else "documents")
    result = backend.write(batch)
    assert sorted(result.rejected) == [10, 21]
    assert all(f"said {state}" in reason for reason in result.rejected.values())
    assert len(ids(backend)) == 21


def test_a_batch_without_records_stores_nothing(backend: PostgresqlBackend) -> None:
    batch = make_batch(*counters(1))
    assert backend.write(Batch(batch.header, batch.start, batch.end, [])) == ACCEPTED
    assert ids(backend) == []
    write_once(backend, batch)
    assert len(ids(backend)) == 1


def test_a_connection_that_the_server_ends_is_made_again(backend: PostgresqlBackend) -> None:
    first, second = make_batch(*counters(5)), make_batch(*counters(5))
    write_once(backend, first)
    run(f"SELECT pg_terminate_backend({backend._connection.info.backend_pid}, 5000)")
    with pytest.raises(Unavailable, match="terminat"):  # 57P01
        write_once(backend, second)
    write_once(backend, second)
    assert len(ids(backend)) == 10


def test_a_table_locked_by_somebody_is_a_hung_server_within_twice_the_timeout(backend: PostgresqlBackend) -> None:
    batch = make_batch(*counters(5))
    with psycopg.connect(service("postgresql")) as connection:
        connection.execute(f'LOCK TABLE "{backend._schema}".points')
        began = time.monotonic()
        with pytest.raises(Unavailable):
            write_once(backend, batch)
        assert time.monotonic() - began < 4
    write_until_stored(backend, batch)
    assert len(ids(backend)) == 5


def test_a_locked_table_of_one_schema_holds_up_no_other(backend: PostgresqlBackend) -> None:
    """Its first batch waits for the table and holds our advisory lock meanwhile."""
    waiting = (
        "SELECT FROM pg_locks JOIN pg_class c ON c.oid = relation WHERE NOT granted AND relnamespace = %s::regnamespace"
    )
    patient = PostgresqlBackend.from_url(f"{service('postgresql')}?schema={backend._schema}&timeout_seconds=60")
    other = PostgresqlBackend.from_url(f"{service('postgresql')}?schema={new_name()}&timeout_seconds=10")
    with ThreadPoolExecutor(1) as threads, psycopg.connect(service("postgresql")) as connection:
        connection.execute(f'LOCK TABLE "{backend._schema}".points')
        first = threads.submit(write_once, patient, make_batch(*counters(5)))
        try:
            assert until(lambda: connection.execute(waiting, (backend._schema,)).fetchone() is not None)
            write_once(other, make_batch(*counters(3)))
            assert not first.done()
        finally:
            connection.rollback()
        first.result()
    assert len(ids(backend)) == 5
    for one in (patient, other):
        one.close()
    run(f'DROP SCHEMA "{other._schema}" CASCADE')


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ledger", "documents", "points_other", "points_name", "records"])
def test_a_part_of_the_schema_that_was_lost_is_noticed_and_mended(backend: PostgresqlBackend, name: str) -> None:
    kind = "VIEW" if name == "records" else "INDEX" if name == "points_name" else "TABLE"
    write_once(backend, make_batch(*counters(3), Record(at(0), "gauge", "own", 1, own_id="mine")))
    run(f'DROP {kind} "{backend._schema}".{name} CASCADE')
    assert any(name in line.what and "setup" in line.remedy for line in backend.check())
    assert any(name in done for done in backend.setup())
    assert [line for line in backend.check() if not line.ok] == []
    assert backend.setup() == []
    write_once(backend, make_batch(*counters(3), Record(at(0), "gauge", "own", 2, own_id="mine")))


def test_a_schema_that_went_away_is_made_again(backend: PostgresqlBackend) -> None:
    write_once(backend, make_batch(*counters(3)))
    run(f'DROP SCHEMA "{backend._schema}" CASCADE')
    batch = make_batch(*counters(5))
    with pytest.raises(Misconfigured, match="CREATE TABLE"):
        write_once(backend, batch)
    write_once(backend, batch)
    assert len(ids(backend)) == 5


def test_two_that_make_the_tables_at_once_make_them_once() -> None:
    url = f"{service('postgresql')}?schema={new_name()}"
    backends = [PostgresqlBackend.from_url(url) for _ in range(4)]
    start = threading.Barrier(4)
    failures: list[BaseException] = []

    def make(one: PostgresqlBackend) -> None:
        try:
            start.wait(timeout=30)
            one.open()
            assert one.write(make_batch(*counters(3))) == ACCEPTED
            one.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=make, args=(one,)) for one in backends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert len(ids(backends[0])) == 12
    run(f'DROP SCHEMA "{backends[0]._schema}" CASCADE')


def test_the_printed_script_is_all_that_an_administrator_must_run() -> None:
    schema, role = new_name(), new_name()
    run(f"CREATE ROLE {role} LOGIN")
    try:
        url = f"{service('postgresql').replace('postgres@', f'{role}@')}?schema={schema}"
        with pytest.raises(Misconfigured, match="permission denied") as caught:
            PostgresqlBackend.from_url(url).open()
        script = str(caught.value).partition("\n")[2]
        poor = PostgresqlBackend.from_url(f"{url}&setup=no")
        with pytest.raises(Misconfigured, match="there are no tables") as caught:
            poor.open()
        assert script == str(caught.value).partition("\n")[2]
        run(script)
        write_once(poor, make_batch(*counters(5), Record(time.time_ns(), "gauge", "own", 1, own_id="mine")))
        assert len(ids(poor)) == 6
        assert [line for line in poor.check() if not line.ok] == []
        assert poor.prune(time.time() + 1) == 6
        poor.close()
    finally:
        run(f"DROP OWNED BY {role}", f"DROP ROLE {role}", f"DROP SCHEMA IF EXISTS {schema} CASCADE")


# --- several hosts, forks ---------------------------------------------------------------------------------------------


def test_of_several_hosts_the_one_that_answers_and_may_be_written_to_is_used(guarded: str) -> None:
    """The first is down, the second a server that is only to be read."""
    readable = guarded.partition("/")[0]
    url = f"postgresql://postgres@{readable}/tallystick"
    place = urlsplit(service("postgresql")).netloc.rpartition("@")[2]
    run("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()", url=url)
    try:
        several = PostgresqlBackend.from_url(
            f"postgresql://postgres@127.0.0.1:1,{readable},{place}/tallystick?schema={new_name()}"
        )
        write_once(several, make_batch(*counters(3)))
        assert f"127.0.0.1:1,{readable},{place}" in several.address
        assert several._connection.info.port == int(place.rpartition(":")[2])
        several.close()
        run(f'DROP SCHEMA "{several._schema}" CASCADE')
    finally:
        run(
            "SET default_transaction_read_only = off",
            "ALTER SYSTEM RESET default_transaction_read_only",
            "SELECT pg_reload_conf()",
            url=url,
        )
