"""PostgreSQL: tables that a person changed, and segments that lost their row. Nothing is lost, and the remedy works."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.contract.faults import write_once
from tests.services import service

from tallystick.backends.postgresql import PostgresqlBackend
from tallystick.backends.postgresql import schema as schemas
from tallystick.errors import Misconfigured
from tallystick.queries import Query
from tallystick.records import Record
from tallystick.testing import at, counters, make_batch
from tallystick.testing.builders import by_id

pytestmark = pytest.mark.service("postgresql")

_numbers = itertools.count()


def run(*statements: str) -> None:
    with psycopg.connect(service("postgresql"), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def rows(sql: str) -> list[Any]:
    with psycopg.connect(service("postgresql")) as connection:
        return connection.execute(sql).fetchall()


def again(backend: PostgresqlBackend) -> PostgresqlBackend:
    """As another process would open it."""
    return PostgresqlBackend(backend._url)


def total(backend: PostgresqlBackend, name: str = "hits") -> int:
    series = backend.query(Query(name, aggregate="count"))
    return int(series[0].points[0][1]) if series else 0


def wrong(backend: PostgresqlBackend) -> list[Any]:
    return [line for line in backend.check() if not line.ok]


@pytest.fixture
def backend() -> Iterator[PostgresqlBackend]:
    made = PostgresqlBackend.from_url(f"{service('postgresql')}?schema=tables_{os.getpid()}_{next(_numbers)}")
    made.open()
    yield made
    made.close()
    run(f"DROP SCHEMA IF EXISTS {made._schema} CASCADE", f"DROP SCHEMA IF EXISTS {made._schema}_old CASCADE")


# --- segments that lost their row -------------------------------------------------------------------------------------

LOSSES = {
    "dropped": "DROP TABLE {s}.segments CASCADE",
    "deleted": "DELETE FROM {s}.segments",
    "truncated": "TRUNCATE {s}.segments RESTART IDENTITY",
    "truncated, and the ledger": "TRUNCATE {s}.segments, {s}.ledger RESTART IDENTITY",
    "begun anew": "ALTER TABLE {s}.segments ALTER id RESTART",
    "begun anew, some deleted": "DELETE FROM {s}.segments WHERE id < 3; ALTER TABLE {s}.segments ALTER id RESTART",
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_number_that_is_known_to_any_table_is_never_given_again(backend: PostgresqlBackend, loss: str) -> None:
    """A new segment under the number of a lost one would find its own records in the ledger, and store none."""
    for name in ("one", "two", "three"):
        write_once(backend, make_batch(*counters(10, name), Record(at(0), "gauge", name, 1, own_id=name)))
    run(LOSSES[loss].format(s=backend._schema))
    other = again(backend)
    for name in ("four", "five"):
        write_once(other, make_batch(*counters(10, name)))
    other.close()
    assert [total(backend, name) for name in ("one", "two", "three", "four", "five")] == [11, 11, 11, 10, 10]
    segments: dict[str, set[str]] = {}
    for record in backend.records(Query()):
        segments.setdefault(record.name, set()).add(record.header.segment)
    assert len(set().union(*segments.values())) == 5, "each has a segment of its own"


def test_several_that_come_first_after_a_loss_get_numbers_of_their_own(backend: PostgresqlBackend) -> None:
    write_once(backend, make_batch(*counters(10, "old")))
    run(f"TRUNCATE {backend._schema}.segments RESTART IDENTITY")
    others = [again(backend) for _ in range(4)]
    start = threading.Barrier(4)
    failures: list[BaseException] = []

    def write(one: PostgresqlBackend) -> None:
        try:
            one.open()
            start.wait(timeout=30)
            for _ in range(3):
                write_once(one, make_batch(*counters(10, "new")))
            one.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(one,)) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert total(backend, "new") == 120
    assert len({record.header.segment for record in backend.records(Query())}) == 13


@pytest.mark.parametrize("loss", ["deleted", "truncated"])
def test_a_writer_goes_on_when_the_row_of_its_segment_goes_away(backend: PostgresqlBackend, loss: str) -> None:
    whole = make_batch(*counters(100))
    first, second = whole.split(50)
    write_once(backend, first)
    run(LOSSES[loss].format(s=backend._schema))
    write_once(backend, second)
    write_once(backend, second)
    assert total(backend) == 100
    stored = {record.offset: record.header.segment for record in backend.records(Query())}
    assert [stored[record.offset] == whole.segment for record in whole.records] == [False] * 50 + [True] * 50
    assert rows(f"SELECT count(*) FROM {backend._schema}.records") == [(50,)]


@pytest.mark.parametrize("loss", ["dropped", "deleted", "truncated", "truncated, and the ledger"])
def test_check_tells_of_lost_segments_and_setup_gives_them_a_row(backend: PostgresqlBackend, loss: str) -> None:
    write_once(backend, make_batch(*counters(100), Record(at(0), "gauge", "own", 1, own_id="mine")))
    run(LOSSES[loss].format(s=backend._schema))
    other = again(backend)
    write_once(other, make_batch(*counters(5)))
    (line,) = wrong(backend)
    assert "1 segment(s) lost their row" in line.what
    assert "tallystick setup" in line.remedy
    before = by_id(backend.records(Query()))
    assert len(before) == 106
    assert len(backend.setup()) == 1
    assert wrong(backend) == []
    assert by_id(backend.records(Query())) == before
    assert rows(f"SELECT count(*) FROM {backend._schema}.records") == [(106,)]
    assert backend.setup() == []
    write_once(other, make_batch(*counters(5)))
    other.close()


def test_lost_segments_of_two_stores_are_not_taken_for_one(backend: PostgresqlBackend) -> None:
    second = PostgresqlBackend.from_url(f"{service('postgresql')}?schema={backend._schema}_old")
    found: list[Record] = []
    for one in (backend, second):
        write_once(one, make_batch(*counters(10)))
        run(LOSSES["deleted"].format(s=one._schema))
        found += one.records(Query())
    second.close()
    assert len(by_id(found)) == 20


def test_a_segment_that_takes_a_delivery_while_its_store_is_pruned_is_not_forgotten(backend: PostgresqlBackend) -> None:
    first, second = make_batch(*counters(10)).split(5)
    write_once(backend, first)
    run(f"UPDATE {backend._schema}.segments SET written = now() - interval '91 days'")
    pruned = threading.Thread(target=again(backend).prune, args=(at(100) / 1e9,))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%stale%'"
    with backend._connection.transaction():  # around the one of the batch, as if that took long
        write_once(backend, second)
        pruned.start()
        deadline = time.monotonic() + 30
        while rows(waiting) == [(0,)] and pruned.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
    pruned.join()
    assert wrong(backend) == []
    assert (total(backend), rows(f"SELECT count(*) FROM {backend._schema}.records")) == (5, [(5,)])


# --- columns ----------------------------------------------------------------------------------------------------------

CHANGES = {
    "a column dropped": ("ALTER TABLE {s}.points DROP COLUMN extra CASCADE", "points: the column extra is missing"),
    "one of documents": ("ALTER TABLE {s}.documents DROP COLUMN unit CASCADE", "documents: the column unit is missing"),
    "one that no row is without": (
        "ALTER TABLE {s}.points DROP COLUMN tags CASCADE",
        "points: the column tags is missing",
    ),
    "one of segments": ("ALTER TABLE {s}.segments DROP COLUMN host CASCADE", "segments: the column host is missing"),
    "another type": (
        "DROP VIEW {s}.everything CASCADE; ALTER TABLE {s}.points ALTER COLUMN value TYPE text",
        "points: the column value is text, not double precision",
    ),
    "JSON for a number": (
        "ALTER TABLE {s}.segments ALTER started TYPE jsonb USING to_jsonb(started)",
        "segments: the column started is jsonb, not bigint",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_check_names_a_column_that_is_missing_or_different_and_its_remedy_works(
    backend: PostgresqlBackend, change: str
) -> None:
    batch = make_batch(*counters(10), Record(at(0), "gauge", "own", 1, {"a": "b"}, own_id="mine", metadata={"by": "a"}))
    write_once(backend, batch)
    statement, said = CHANGES[change]
    run(statement.format(s=backend._schema))
    other = again(backend)
    with pytest.raises(Misconfigured, match=r"tallystick check"):
        other.write(make_batch(*counters(3), Record(at(0), "gauge", "own", 1, own_id="yours")))
    (line,) = [line for line in wrong(backend) if "column" in line.what]
    assert said in line.what
    mend = line.remedy.removeprefix("as the owner run ").removesuffix(" and then `tallystick setup`")
    assert mend != line.remedy
    run(mend)
    backend.setup()
    assert wrong(backend) == []
    write_once(other, make_batch(*counters(7, "later")))
    assert total(backend, "later") == 7
    other.close()


def test_a_store_as_it_is_made_has_the_columns_that_check_expects(backend: PostgresqlBackend) -> None:
    assert wrong(backend) == []


# --- rights -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def poor() -> Iterator[tuple[str, str]]:
    """The URL of a user who may create nothing, and the script for an administrator."""
    name = f"poor_{os.getpid()}_{next(_numbers)}"
    run(f"CREATE ROLE {name} LOGIN")
    url = f"{service('postgresql').replace('postgres@', f'{name}@')}?schema={name}"
    yield url, schemas.script(name, name)
    run(f"DROP OWNED BY {name}", f"DROP ROLE {name}", f"DROP SCHEMA IF EXISTS {name} CASCADE")


def test_the_printed_script_may_be_run_again_and_changes_nothing_then(poor: tuple[str, str]) -> None:
    url, script = poor
    run(script)
    backend = PostgresqlBackend.from_url(url)
    write_once(backend, make_batch(*counters(5)))
    run(script)
    write_once(backend, make_batch(*counters(5)))
    assert (total(backend), wrong(backend)) == (10, [])
    backend.close()


@pytest.mark.parametrize("option", ["", "&setup=no"])
def test_where_all_is_there_nobody_needs_the_right_to_create(poor: tuple[str, str], option: str) -> None:
    url, script = poor
    backend = PostgresqlBackend.from_url(url + option)
    with pytest.raises(Misconfigured, match="CREATE SCHEMA"):
        backend.open()
    run(script)
    near = Record(time.time_ns(), "gauge", "hits", 1)  # its day would have a partition
    write_once(backend, make_batch(near, *counters(5), Record(near.timestamp_ns, "gauge", "own", 1, own_id="mine")))
    assert (total(backend), wrong(backend), backend.setup()) == (6, [], [])
    run(f"TRUNCATE {backend._schema}.segments RESTART IDENTITY")
    write_once(backend, make_batch(near))
    assert total(backend) == 7
    backend.close()
