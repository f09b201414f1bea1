"""The SQLite store beyond the contract: what stands in the file, trouble and its remedy, several processes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tallystick.backends.base import Managed, Readable
from tallystick.backends.sqlite import SqliteBackend
from tallystick.backends.sqlite import care as sqlite_care
from tallystick.backends.sqlite import rows as sqlite_rows
from tallystick.backends.sqlite import schema as sqlite_schema
from tallystick.errors import Misconfigured, QueryError, SettingsError, Unavailable
from tallystick.queries import Query
from tallystick.records import COUNTER, GAUGE, Record
from tallystick.testing import at, counters, make_batch
from tallystick.testing.builders import by_id


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SqliteBackend]:
    backend = SqliteBackend(tmp_path / "records.db", busy_timeout_seconds=0.2)
    backend.open()
    yield backend
    backend.close()


def rows(backend: SqliteBackend, sql: str, *parameters: Any) -> list[Any]:
    """What any program sees in the file."""
    with closing(sqlite3.connect(backend.path)) as connection:
        return connection.execute(sql, parameters).fetchall()


def total(backend: SqliteBackend, name: str = "hits") -> int:
    series = backend.query(Query(name, aggregate="count"))
    return int(series[0].points[0][1]) if series else 0


def test_the_view_is_readable_by_anything(backend: SqliteBackend) -> None:
    batch = make_batch(
        Record(at(0) + 5, GAUGE, "depth", 17, {"q": "m"}, unit="jobs", metadata={"by": "a"}),
        Record(-1, GAUGE, "before.1970", True),
        Record(at(1), "xml", "hotel", {"status": "ok"}, own_id="2B75"),
        host="web-1",
        app="shop",
    )
    backend.write(batch)
    first, place = batch.records[0].id, ("web-1", "shop", 4242)
    columns = "time, name, kind, value, unit, tags, metadata, host, app, pid, id"
    assert rows(backend, f"SELECT {columns} FROM records ORDER BY timestamp_ns") == [
        ("1969-12-31T23:59:59.999999999Z", "before.1970", GAUGE, 1, None, "{}", None, *place, batch.records[1].id),
        ("2025-06-15T12:00:00.000000005Z", "depth", GAUGE, 17, "jobs", '{"q":"m"}', '{"by":"a"}', *place, first),
        ("2025-06-15T12:00:01.000000000Z", "hotel", "xml", '{"status":"ok"}', None, "{}", None, *place, "2B75"),
    ]


def test_it_has_the_optional_powers(backend: SqliteBackend) -> None:
    assert isinstance(backend, Managed)
    assert isinstance(backend, Readable)
    assert not backend.inline


# URLs


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///metrics.db", "{cwd}/metrics.db"),
        ("sqlite:///data/metrics.db", "{cwd}/data/metrics.db"),
        ("sqlite:////var/lib/shop/metrics.db", "/var/lib/shop/metrics.db"),
        ("sqlite:////tmp/a%20b%3F%23.db", "/tmp/a b?#.db"),
    ],
)
def test_urls_follow_sqlalchemys_convention(
    url: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    backend = SqliteBackend.from_url(url)
    assert str(backend.path) == path.format(cwd=tmp_path)
    assert SqliteBackend.from_url(backend.address).path == backend.path


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("sqlite:///:memory:", "memory://"),
        ("sqlite://", "sqlite:///relative"),
        ("sqlite:///", "memory://"),
        ("sqlite://metrics.db", "sqlite:///relative"),
        ("sqlite:///metrics.db?timeout=3", "%3F"),
        ("sqlite:///metrics.db#x", "%23"),
    ],
)
def test_urls_that_name_no_file_are_refused_with_the_remedy(url: str, remedy: str) -> None:
    with pytest.raises(SettingsError, match=remedy):
        SqliteBackend.from_url(url)


def test_a_path_with_odd_characters_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "a b%20?#&=ü.db"
    backend = SqliteBackend(path)
    backend.write(make_batch(*counters(3)))
    backend.close()
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == [path.name]
    assert total(SqliteBackend.from_url(backend.address)) == 3


# Files that are not ours, or not of our time


def test_a_newer_schema_is_refused_and_left_alone(backend: SqliteBackend) -> None:
    backend.write(make_batch(*counters(3)))
    backend.close()
    with closing(sqlite3.connect(backend.path)) as connection, connection:
        connection.execute("UPDATE meta SET value = 7 WHERE key = 'schema'")
    with pytest.raises(Misconfigured, match=r"schema 7.*up to 1.*upgrade tallystick"):
        backend.open()
    assert rows(backend, "SELECT value FROM meta WHERE key = 'schema'") == [(7,)]
    assert any("newer" in line.what for line in backend.check() if not line.ok)


def test_an_older_schema_is_upgraded_step_by_step(backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    backend.write(make_batch(*counters(3)))
    backend.close()
    monkeypatch.setattr(sqlite_schema, "SCHEMA", 3)
    steps = {1: ("ALTER TABLE segments ADD COLUMN zone TEXT",), 2: ("CREATE TABLE more (x)", "DROP TABLE more")}
    monkeypatch.setattr(sqlite_schema, "_UPGRADES", steps)
    assert next(line for line in backend.check() if not line.ok).remedy.startswith("run `tallystick setup`")
    done = backend.setup()
    assert [text.partition("from")[2] for text in done] == [" schema 1 to 2", " schema 2 to 3"]
    assert rows(backend, "SELECT zone FROM segments") == [(None,)]
    assert total(backend) == 3
    assert backend.setup() == []


def test_an_upgrade_that_fails_changes_nothing(backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    backend.close()
    monkeypatch.setattr(sqlite_schema, "SCHEMA", 2)
    monkeypatch.setattr(sqlite_schema, "_UPGRADES", {1: ("CREATE TABLE half (x)", "CREATE TABLE series (x)")})
    with pytest.raises(Misconfigured, match="series"):
        backend.open()
    assert rows(backend, "SELECT value FROM meta WHERE key = 'schema'") == [(1,)]
    assert rows(backend, "SELECT name FROM sqlite_master WHERE name = 'half'") == []


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
        connection.execute("CREATE TABLE orders (id)")
    with pytest.raises(Misconfigured, match=r"shop\.db.*'orders'.*file of its own"):
        SqliteBackend(tmp_path / "shop.db").open()


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to look at\n" * 200, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(Misconfigured, match=r"notes\.txt"):
        SqliteBackend(path).open()
    assert path.read_bytes() == content


def test_a_path_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match=r"file/records\.db.*folder"):
        SqliteBackend(tmp_path / "file" / "records.db").open()
    with pytest.raises(Misconfigured, match="folder"):
        SqliteBackend(tmp_path).open()


def test_a_question_to_a_file_that_is_not_there_makes_none(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "none.db")
    with pytest.raises(Misconfigured, match=r"none\.db"):
        backend.query(Query())
    assert not backend.path.exists()
    assert [line.ok for line in backend.check()] == [False]


def test_check_names_what_was_changed_by_hand(backend: SqliteBackend) -> None:
    with closing(sqlite3.connect(backend.path)) as connection, connection:
        connection.execute("DROP INDEX points_own_id")
    assert [line.what for line in backend.check() if not line.ok] == [
        "CREATE UNIQUE INDEX points_own_id ON points is not as we make it"
    ]


# Segments that lost their row


def change(backend: SqliteBackend, sql: str) -> None:
    with closing(sqlite3.connect(backend.path)) as connection:
        connection.executescript(sql)


@pytest.mark.parametrize("mark", ["kept", "of a store from before the mark"])
@pytest.mark.parametrize("also", ["", "DELETE FROM ledger;", "DELETE FROM points;"])
def test_a_number_that_ledger_or_points_know_is_never_given_again(backend: SqliteBackend, also: str, mark: str) -> None:
    """A new segment under the number of a lost one would find its own records in the ledger, and store none."""
    backend.write(make_batch(*counters(100, "before")))
    change(backend, "DELETE FROM segments;" + also)
    if mark != "kept":
        change(backend, "DELETE FROM meta WHERE key = 'segments'")
    other = SqliteBackend(backend.path)
    other.write(make_batch(*counters(100, "after")))
    other.close()
    assert total(backend, "after") == 100
    old = list(backend.records(Query("before")))
    assert {record.header.segment for record in old}.isdisjoint(
        r.header.segment for r in backend.records(Query("after"))
    )
    assert len(old) == (0 if "points" in also else 100)


@pytest.mark.parametrize("which", ["id > 1", "id = 2"])
def test_a_number_is_not_given_again_when_only_some_rows_went_away(backend: SqliteBackend, which: str) -> None:
    for name in ("one", "two", "three"):
        backend.write(make_batch(*counters(10, name)))
    change(backend, f"DELETE FROM segments WHERE {which}; DELETE FROM ledger WHERE segment > 1;")
    backend.write(make_batch(*counters(10, "four")))
    segments = {
        name: {r.header.segment for r in backend.records(Query(name))} for name in ("one", "two", "three", "four")
    }
    assert len(set().union(*segments.values())) == 4


def test_a_writer_goes_on_when_the_row_of_its_segment_goes_away(backend: SqliteBackend) -> None:
    whole = make_batch(*counters(100))
    first, second = whole.split(50)
    backend.write(first)
    change(backend, "DELETE FROM segments")
    backend.write(second)
    assert total(backend) == 100
    stored = {record.offset: record.header.segment for record in backend.records(Query())}
    assert [stored[record.offset] == whole.segment for record in whole.records] == [False] * 50 + [True] * 50
    assert rows(backend, "SELECT count(*) FROM records") == [(50,)]


@pytest.mark.parametrize("also", ["", "DELETE FROM ledger;", "DELETE FROM points;"])
def test_check_tells_of_lost_segments_and_setup_gives_them_a_row(backend: SqliteBackend, also: str) -> None:
    backend.write(make_batch(*counters(100), Record(at(0), GAUGE, "own", 1, own_id="mine")))
    change(backend, "DELETE FROM segments;" + also)
    backend.write(make_batch(*counters(5)))
    (line,) = [line for line in backend.check() if not line.ok]
    assert "1 segment(s) lost their row" in line.what
    assert "tallystick setup" in line.remedy
    before = by_id(backend.records(Query()))
    assert len(backend.setup()) == 1
    assert [line for line in backend.check() if not line.ok] == []
    assert by_id(backend.records(Query())) == before
    assert rows(backend, "SELECT count(*) FROM records") == [(5 if "points" in also else 106,)]
    assert backend.setup() == []


def test_lost_segments_of_two_files_are_not_taken_for_one(backend: SqliteBackend, tmp_path: Path) -> None:
    found: list[Record] = []
    for number in range(2):
        one = SqliteBackend(tmp_path / f"{number}.db")
        one.write(make_batch(*counters(10)))
        change(one, "DELETE FROM segments")
        found += one.records(Query())
        one.close()
    assert len(by_id(found)) == 20


def test_a_commit_reaches_the_disk_before_it_is_acknowledged(backend: SqliteBackend) -> None:
    assert backend._connection is not None
    assert backend._connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
    assert rows(backend, "PRAGMA journal_mode") == [("wal",)]


# Trouble that passes


def test_a_locked_file_keeps_the_batch_and_the_next_try_stores_it(backend: SqliteBackend) -> None:
    batch = make_batch(*counters(10))
    with closing(sqlite3.connect(backend.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(Unavailable, match="locked"):
            backend.write(batch)
        assert 0.1 < time.monotonic() - began < 5
        assert total(backend) == 0, "questions do not wait"
        other.execute("ROLLBACK")
    backend.write(batch)
    assert total(backend) == 10


def test_a_full_disk_stores_nothing_of_the_batch_and_spoils_nothing(backend: SqliteBackend) -> None:
    assert backend._connection is not None
    (pages,) = backend._connection.execute("PRAGMA page_count").fetchone()
    backend._connection.execute(f"PRAGMA max_page_count = {pages + 3}")
    batch = make_batch(*(Record(at(i), COUNTER, "hits", 1, {"user": f"u{i}"}) for i in range(500)))
    with pytest.raises(Unavailable, match="full") as caught:
        backend.write(batch)
    assert not isinstance(caught.value, Misconfigured)
    assert total(backend) == 0
    assert rows(backend, "SELECT count(*) FROM series") == rows(backend, "SELECT count(*) FROM ledger") == [(0,)]
    backend._connection.execute("PRAGMA max_page_count = 1000000")
    backend.write(batch)
    assert by_id(backend.records(Query())) == by_id(batch.records)


def test_a_rolled_back_batch_leaves_no_series_in_the_cache(backend: SqliteBackend) -> None:
    tags = {"plan": "pro"}
    batch = make_batch(Record(at(2), COUNTER, "hits", 1, tags))
    with closing(sqlite3.connect(backend.path, isolation_level=None)) as other:
        other.execute("CREATE TRIGGER refuse BEFORE UPDATE ON segments BEGIN SELECT missing(); END")
        with pytest.raises(Unavailable, match="missing"):
            backend.write(batch)  # after its series was made
        other.execute("DROP TRIGGER refuse")
    assert rows(backend, "SELECT count(*) FROM series") == [(0,)]
    backend.write(batch)
    assert [record.tags for record in backend.records(Query())] == [tags]


def test_a_rejected_record_is_rejected_again_and_its_place_stays_open(backend: SqliteBackend) -> None:
    batch = make_batch(*counters(3), Record(at(3), GAUGE, "g", float("nan")), *counters(3))
    for _ in range(3):
        assert backend.write(batch).rejected == {3: "ValueError: value: nan is not finite"}
    place = batch.records[3].offset
    assert rows(backend, "SELECT start, stop FROM ledger ORDER BY start") == [
        (batch.start, place),
        (place + 1, batch.end),
    ]
    mended = make_batch(Record(at(3), GAUGE, "g", 1), segment=batch.segment, start=place)
    mended.end = batch.records[4].offset
    backend.write(mended)
    assert rows(backend, "SELECT start, stop FROM ledger") == [(batch.start, batch.end)]
    assert len(list(backend.records(Query()))) == 7


def test_a_file_that_is_moved_while_it_is_written_keeps_all_that_was_written_to_it(backend: SqliteBackend) -> None:
    backend.write(make_batch(*counters(5)))
    old = SqliteBackend(backend.path.rename(backend.path.with_name("old.db")))
    backend.write(make_batch(*counters(3)))
    assert (total(old), total(backend)) == (5, 3)


def test_a_moved_file_is_whole_when_its_writer_closes(backend: SqliteBackend) -> None:
    backend.write(make_batch(*counters(5)))
    old = SqliteBackend(backend.path.rename(backend.path.with_name("old.db")))
    backend.close()
    backend.open()
    assert (total(old), total(backend)) == (5, 0)


def test_a_log_that_a_moved_file_left_behind_is_not_thrown_away(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from tallystick.testing import counters, make_batch;"
        "from tallystick.backends.sqlite import SqliteBackend;"
        "SqliteBackend(sys.argv[1]).write(make_batch(*counters(5))); os.kill(os.getpid(), signal.SIGKILL)"
    )
    backend = SqliteBackend(tmp_path / "records.db")
    subprocess.run([sys.executable, "-c", script, str(backend.path)], check=False)
    old = SqliteBackend(backend.path.rename(tmp_path / "old.db"))
    with pytest.raises(Misconfigured, match=r"records.db-wal.*move it after that file"):
        backend.write(make_batch(*counters(3)))
    with pytest.raises(Misconfigured, match="move it after that file"):
        backend.check()
    (tmp_path / "records.db-wal").rename(tmp_path / "old.db-wal")
    backend.write(make_batch(*counters(3)))
    assert (total(old), total(backend)) == (5, 3)
    backend.close()


@pytest.mark.parametrize("how", ["moved", "removed", "replaced"])
def test_a_file_that_goes_away_under_the_writer_is_made_anew(backend: SqliteBackend, how: str) -> None:
    backend.write(make_batch(*counters(5)))
    for file in list(backend.path.parent.glob("records.db*")):
        if how == "moved":
            file.rename(file.with_name(f"old-{file.name}"))
        else:
            file.unlink()
    if how == "replaced":
        other = SqliteBackend(backend.path)
        other.write(make_batch(*counters(3)))
        other.close()
    backend.write(make_batch(*counters(11)))
    assert total(backend) == (14 if how == "replaced" else 11)


def test_a_reader_in_the_middle_sees_what_was_there_when_it_began(backend: SqliteBackend) -> None:
    batch = make_batch(*(Record(at(i), COUNTER, f"hits.{i}", i) for i in range(50)))
    backend.write(batch)
    for newest in (None, 50):
        reading = backend.records(Query(), newest=newest)
        first = next(reading)
        assert SqliteBackend(backend.path).prune(at(100) / 1e9) == 50
        assert by_id([first, *reading]) == by_id(batch.records)
        assert list(backend.records(Query())) == []
        with closing(sqlite3.connect(backend.path)) as connection, connection:
            connection.execute("DELETE FROM ledger")
        backend.write(batch)


def test_a_question_with_too_many_texts_says_so(backend: SqliteBackend) -> None:
    with pytest.raises(QueryError, match="more texts than SQLite takes"):
        backend.query(Query("hits", where={"user": [str(number) for number in range(300_000)]}))


# Several processes

WRITE_FOREVER = """
import sys
from tallystick.backends.sqlite import SqliteBackend
from tallystick.records import COUNTER, Record
from tallystick.testing import make_batch
records = [Record(i, COUNTER, "hits", 1, {"n": str(i % 7)}) for i in range(4000)]
batch = make_batch(*records, segment=sys.argv[2], start=100)
backend = SqliteBackend(sys.argv[1], busy_timeout_seconds=30)
print("ready", flush=True)
sys.stdin.readline()
while len(batch) > 40:
    first, batch = batch.split(40)
    backend.write(first)
    print(first.end, flush=True)
backend.write(batch)
print("done", flush=True)
"""


def writer(path: Path, segment: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOREVER, str(path), segment],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_processes_that_make_and_fill_a_file_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "records.db"
    processes = [writer(path, segment) for segment in ("a", "b", "same", "same")]
    for process in processes:
        go(process)
    assert [process.communicate(timeout=120)[0].splitlines()[-1] for process in processes] == ["done"] * 4
    backend = SqliteBackend(path)
    assert total(backend) == 12_000
    assert rows(backend, "SELECT count(*) FROM series") == [(7,)]
    assert len(rows(backend, "SELECT * FROM ledger")) == 3


@pytest.mark.parametrize("batches", [1, 5, 23])
def test_a_killed_writer_leaves_whole_batches_and_a_redelivery_completes_them(tmp_path: Path, batches: int) -> None:
    backend = SqliteBackend(tmp_path / "records.db")
    process = writer(backend.path, "killed")
    go(process)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline() for _ in range(batches)]
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    stored = total(backend)
    assert stored >= 40 * len(acknowledged)
    assert stored % 40 == 0
    records = [Record(i, COUNTER, "hits", 1, {"n": str(i % 7)}) for i in range(4000)]
    whole = make_batch(*records, segment="killed", start=100)
    backend.write(whole)
    backend.close()
    assert total(backend) == 4000
    assert by_id(backend.records(Query())).keys() == by_id(whole.records).keys()


def test_a_forked_child_has_a_connection_of_its_own(backend: SqliteBackend) -> None:
    backend.write(make_batch(*counters(5)))
    child = os.fork()
    if child == 0:
        try:
            backend.write(make_batch(*counters(7)))
            backend.close()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    backend.write(make_batch(*counters(11)))
    assert total(backend) == 23
    assert rows(backend, "PRAGMA integrity_check") == [("ok",)]


# Retention and what is remembered


def test_a_writer_learns_that_another_process_removed_a_series(backend: SqliteBackend) -> None:
    tags = {"plan": "pro"}
    backend.write(make_batch(Record(at(0), COUNTER, "hits", 1, tags), Record(at(50), COUNTER, "other", 1, tags)))
    other = SqliteBackend(backend.path)
    assert other.prune(at(10) / 1e9) == 1
    assert rows(backend, "SELECT name FROM series") == [("other",)]
    assert rows(backend, "SELECT count(*) FROM series_tags") == [(1,)]
    backend.write(make_batch(Record(at(60), COUNTER, "new", 1), Record(at(60), COUNTER, "hits", 2, tags)))
    assert [(r.name, r.value, r.tags) for r in backend.records(Query("hits"))] == [("hits", 2, tags)]


def test_pruned_records_do_not_come_back_with_a_late_redelivery(backend: SqliteBackend) -> None:
    batch = make_batch(*counters(20))
    backend.write(batch)
    assert backend.prune(at(10) / 1e9) == 10
    backend.write(batch)
    assert total(backend) == 10


def test_prune_goes_in_slices_and_takes_all(backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_care, "_SLICE_ROWS", 10)
    monkeypatch.setattr(sqlite_care, "_SLICE_SECONDS", 0.0)
    same_moment = [Record(at(5), COUNTER, "same", 1) for _ in range(50)]
    backend.write(make_batch(*counters(100), *same_moment, *counters(100, "more")))
    assert backend.prune(at(90) / 1e9) == 90 + 50 + 90
    assert total(backend) == 10


def test_the_ledger_forgets_a_segment_only_long_after_its_records(backend: SqliteBackend) -> None:
    batch = make_batch(*counters(5))
    backend.write(batch)

    def age(days: float) -> None:
        with closing(sqlite3.connect(backend.path)) as connection, connection:
            connection.execute("UPDATE segments SET written = ?", (int(time.time() - days * 86_400),))

    age(days=91)
    assert backend.prune(at(3) / 1e9) == 3
    assert len(rows(backend, "SELECT * FROM ledger")) == 1, "two of its records are still there"
    age(days=89)
    assert backend.prune(at(100) / 1e9) == 2
    assert len(rows(backend, "SELECT * FROM ledger")) == 1, "it may come again"
    age(days=91)
    assert backend.prune(at(100) / 1e9) == 0
    assert rows(backend, "SELECT * FROM ledger") == rows(backend, "SELECT * FROM segments") == []
    backend.write(batch)
    assert total(backend) == 5, "to the store it is new now"


def test_without_its_ledger_a_batch_still_is_not_stored_twice(backend: SqliteBackend) -> None:
    batch = make_batch(*counters(10), Record(at(3), "xml", "doc", {"a": 1}), Record(at(4), GAUGE, "own", 1, own_id="x"))
    backend.write(batch)
    with closing(sqlite3.connect(backend.path)) as connection, connection:
        connection.execute("DELETE FROM ledger")
    backend.write(batch)
    assert by_id(backend.records(Query())) == by_id(batch.records)


def test_the_cache_of_series_is_bounded(backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_rows, "_KNOWN_AT_MOST", 20)
    batches = [make_batch(*(Record(at(i), COUNTER, "hits", 1, {"u": f"{b}.{i}"}) for i in range(15))) for b in range(8)]
    for batch in batches:
        backend.write(batch)
    assert backend._writer is not None
    assert len(backend._writer._series) <= 35
    assert len(backend._writer._held) <= 35
    assert by_id(backend.records(Query())) == by_id(r for batch in batches for r in batch.records)


def test_series_are_told_apart_by_what_their_tags_say_now(backend: SqliteBackend) -> None:
    """The cache goes by the identity of tags: other tags at the same address must not be taken for them."""
    for number in range(300):
        tags = {"number": str(number)}
        backend.write(make_batch(Record(at(number), COUNTER, "hits", number, tags)))
        del tags
    assert all(record.tags == {"number": str(record.value)} for record in backend.records(Query()))
    assert total(backend) == 300


def test_records_that_share_their_tags_are_told_apart_by_all_else(backend: SqliteBackend) -> None:
    tags = {"a": "true", "b": "true"}
    batch = make_batch(
        Record(at(0), COUNTER, "n", 1, tags),
        Record(at(0), COUNTER, "n", 2, tags, ("a", "b")),
        Record(at(0), COUNTER, "n", 3, tags, ("b", "a")),
        Record(at(0), COUNTER, "n", 4, tags, sample_rate=0.5),
        Record(at(0), COUNTER, "n", 5, tags, unit="s"),
        Record(at(0), GAUGE, "n", 6, tags),
        Record(at(0), COUNTER, "m", 7, tags),
    )
    backend.write(batch)
    assert by_id(backend.records(Query())) == by_id(batch.records)
    assert rows(backend, "SELECT count(*) FROM series") == [(7,)]


def test_the_order_of_tags_makes_no_other_series(backend: SqliteBackend) -> None:
    backend.write(
        make_batch(
            Record(at(0), COUNTER, "n", 1, {"a": "1", "b": "2"}), Record(at(0), COUNTER, "n", 1, {"b": "2", "a": "1"})
        )
    )
    assert rows(backend, "SELECT count(*) FROM series") == [(1,)]


def test_a_query_may_group_by_more_tags_than_sqlite_joins_tables(backend: SqliteBackend) -> None:
    tags = {f"t{i}": "x" for i in range(100)}
    backend.write(make_batch(Record(at(0), COUNTER, "hits", 2, tags)))
    (series,) = backend.query(Query("hits", by=list(tags), where=dict.fromkeys(list(tags)[:50], "x")))
    assert series.tags == tags


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o640), (0o002, 0o660), (0o077, 0o600)])
def test_a_new_database_is_for_owner_and_group_as_the_spool_is_and_the_umask_narrows_it(
    umask: int, mode: int, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        with closing(SqliteBackend(tmp_path / "new.db")) as backend:
            backend.open()
            backend.write(make_batch(*counters(3)))
            found = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert found == dict.fromkeys(("new.db", "new.db-wal", "new.db-shm"), mode)


def test_a_database_that_was_there_keeps_the_rights_that_its_owner_gave_it(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    path.touch()
    path.chmod(0o644)
    with closing(SqliteBackend(path)) as backend:
        backend.open()
    assert path.stat().st_mode & 0o777 == 0o644
