"""The Parquet folder against the contract, and what a folder of files must keep besides."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tallystick.agent.attempt import Attempt
from tallystick.agent.delivery import Deliverer
from tallystick.agent.report import Report
from tallystick.backends._rows import Native
from tallystick.backends.base import ACCEPTED, Backend, Foreign
from tallystick.backends.parquet import ParquetBackend
from tallystick.backends.parquet import folder as folders
from tallystick.backends.parquet import merging as parquet_merging
from tallystick.backends.parquet.connection import Engine
from tallystick.backends.parquet.folder import locked
from tallystick.errors import Misconfigured, QueryError, SettingsError, Unavailable
from tallystick.plugins import backend_from_url
from tallystick.queries import Query
from tallystick.records import COUNTER, GAUGE, Header, Record
from tallystick.spool import disk
from tallystick.spool.folder import Folder
from tallystick.testing import BackendContract, at, counters, make_batch
from tallystick.testing.hostile import poison

DAY = 86_400


class TestParquet(BackendContract):
    def make_backend(self, tmp_path: Path) -> Backend:
        return ParquetBackend(tmp_path / "it's [a] f*lder?")

    def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, ParquetBackend)
        return ParquetBackend(backend.path)


@pytest.fixture
def backend(tmp_path: Path) -> ParquetBackend:
    backend = ParquetBackend(tmp_path / "store")
    backend.open()
    return backend


def ids(backend: ParquetBackend) -> list[str]:
    return sorted(record.id for record in backend.records(Query()))


def in_child(run: Callable[[], None]) -> int:
    """The signal or exit code with which a forked child ends that runs this."""
    pid = os.fork()
    if pid == 0:
        try:
            run()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_first_writers_that_come_at_once_all_find_the_folder_made(tmp_path: Path) -> None:
    for turn in range(20):
        backends = [ParquetBackend(tmp_path / str(turn)) for _ in range(4)]
        together = threading.Barrier(len(backends))

        def first(backend: ParquetBackend, together: threading.Barrier = together) -> None:
            together.wait()
            folders.ensure(backend.path, 10)

        with ThreadPoolExecutor(len(backends)) as pool:
            list(pool.map(first, backends))
        assert sorted(path.name for path in backends[0].path.iterdir()) == [".lock", folders.MARKER]


def test_a_text_of_many_megabytes_is_stored_and_so_are_its_neighbours(backend: ParquetBackend) -> None:
    texts = ["y" * 20_000_000, "z" * 9_000_000, '"' * 9_000_000]
    batch = make_batch(*counters(3), *(Record(at(0), GAUGE, "long", text) for text in texts), *counters(3))
    assert backend.write(batch) == ACCEPTED
    assert [record.value for record in backend.records(Query("long"))] == texts
    assert len(ids(backend)) == 9


def three_days() -> list[Record]:
    """Of each day two points and one document."""
    records = []
    for day in range(3):
        records += [Record(at(day * DAY + i), COUNTER, "hits", i) for i in range(2)]
        records.append(Record(at(day * DAY), GAUGE, "order", day, own_id=f"order-{day}"))
    return records


def test_a_crash_between_any_two_steps_of_a_batch_loses_none_and_doubles_none(
    backend: ParquetBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer is killed before each of its syncs and renames in turn; then the batch comes again."""
    steps = 0
    stored_parts = set()
    while True:
        batch = make_batch(*three_days())
        before = set(ids(ParquetBackend(backend.path)))

        def write_and_die(fatal: int = steps, batch: Any = batch) -> None:
            done = 0

            def fragile(function: Callable[..., Any]) -> Callable[..., Any]:
                def step(*arguments: Any) -> Any:
                    nonlocal done
                    if done == fatal:
                        os.kill(os.getpid(), signal.SIGKILL)
                    done += 1
                    return function(*arguments)

                return step

            for name in ("sync", "rename"):
                monkeypatch.setattr(disk, name, fragile(getattr(disk, name)))
            ParquetBackend(backend.path).write(batch)

        ended = in_child(write_and_die)
        found = set(ids(backend)) - before
        stored_parts.add(len(found))
        assert backend.write(batch) == ACCEPTED
        own = {f"order-{day}" for day in range(3)}
        everything = ids(backend)
        assert len(everything) == len(set(everything)), "none twice"
        assert set(everything) == before | own | {record.id for record in batch.records}
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        steps += 1
    assert steps >= 18, "six files, each with a sync, a rename and a sync of its folder"
    assert len(stored_parts) > 3, "some crashes came between two files"


def test_two_processes_that_send_the_same_store_it_once(backend: ParquetBackend) -> None:
    batch = make_batch(*counters(400))
    pieces = [batch.split(200)[0], batch, batch.split(100)[1]]

    def write() -> None:
        other = ParquetBackend(backend.path)
        for piece in pieces:
            assert other.write(piece) == ACCEPTED

    def child() -> None:
        assert in_child(write) == 0

    threads = [threading.Thread(target=child) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ids(backend) == sorted(record.id for record in batch.records)


def test_a_writer_waits_for_another_only_so_long(backend: ParquetBackend) -> None:
    hasty = ParquetBackend(backend.path, timeout_seconds=0.05)
    with locked(backend.path, 1.0), pytest.raises(Unavailable, match="other writers held"):
        hasty.write(make_batch(*counters(1)))
    assert hasty.write(make_batch(*counters(1))) == ACCEPTED


def test_plain_duckdb_reads_the_folder(backend: ParquetBackend) -> None:
    backend.write(make_batch(*(Record(at(i), COUNTER, "hits", i, {"plan": "pro"}) for i in range(4))))
    sql = "SELECT day, name, tags['plan'], sum(value) FROM read_parquet(?, hive_partitioning = true) GROUP BY ALL"
    (row,) = duckdb.connect().execute(sql, [f"{backend.path}/*/*.parquet"]).fetchall()
    assert tuple(map(str, row)) == ("2025-06-15", "hits", "pro", "6.0")


@pytest.mark.parametrize("reader", ["pandas", "polars", "pyarrow"])
def test_what_people_read_parquet_with_reads_the_folder(
    backend: ParquetBackend, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merged files, the journal and what crashes left aside are no trouble."""
    module: Any = import_module(reader if reader != "pyarrow" else "pyarrow.parquet")
    monkeypatch.setattr(parquet_merging, "FAN", 4)
    for _ in range(6):
        assert backend.write(make_batch(*three_days())) == ACCEPTED
    assert (backend.path / "_merged.json").exists()
    for left in (backend.path / ".merged.new", backend.path / "day=2025-06-15" / ".points-x-0-1.parquet.new"):
        left.write_bytes(b"half")
    match reader:
        case "pandas":
            values = module.read_parquet(backend.path)["value"].tolist()
        case "polars":
            values = module.read_parquet(f"{backend.path}/*/*.parquet")["value"].to_list()
        case _:
            values = module.read_table(backend.path)["value"].to_pylist()
    assert len(values) == 6 * 9
    assert sum(values) == 6 * (3 * 1 + 3)


def test_prune_drops_days_and_cuts_into_the_day_of_the_limit(backend: ParquetBackend) -> None:
    batch = make_batch(*three_days())
    backend.write(batch)
    assert backend.prune(at(DAY) / 1e9 + 0.5) == 5
    left = [record for record in batch.records if record.timestamp_ns > at(DAY)]
    assert ids(backend) == sorted(record.id for record in left)
    assert sorted(os.listdir(backend.path)) == [
        ".lines.new",
        ".lock",
        "_tallystick.json",
        "day=2025-06-16",
        "day=2025-06-17",
    ]


def test_what_comes_again_after_a_prune_overwrites_nothing_that_was_left(backend: ParquetBackend) -> None:
    """The first and the last record of the file are pruned, so the same two make a file of the same range."""
    batch = make_batch(*(Record(at(moment), COUNTER, "hits", 1) for moment in (0, 100, 1)))
    backend.write(batch)
    assert backend.prune(at(50) / 1e9) == 2
    assert ids(backend) == [batch.records[1].id]
    assert backend.write(batch) == ACCEPTED
    assert ids(backend) == sorted(record.id for record in batch.records)


def test_a_question_of_the_past_is_not_answered_with_content_that_was_replaced_later(backend: ParquetBackend) -> None:
    backend.write(
        make_batch(Record(at(0), GAUGE, "order", 1, own_id="a"), Record(at(0), GAUGE, "order", 2, own_id="b"))
    )
    backend.write(make_batch(Record(at(5 * DAY), GAUGE, "order", 3, own_id="a")))
    of_the_first_day = Query("order", start=at(-60) / 1e9, end=at(60) / 1e9)
    assert [point for series in backend.query(of_the_first_day) for point in series.points] == [(at(-60) / 1e9, 2.0)]


@pytest.mark.parametrize("shape", range(14))
def test_one_bad_record_in_a_thousand_harms_no_other(backend: ParquetBackend, tmp_path: Path, shape: int) -> None:
    batch = make_batch(*counters(500), poison()[shape], *counters(499))
    folder = Folder(tmp_path / "agent").open()
    attempt = Attempt(folder)

    def pause(seconds: float) -> bool:
        raise AssertionError(f"nothing of this is to be waited for, {seconds} s")

    Deliverer(backend, attempt, Report(folder, backend.address, "thread"), pause).deliver(batch)
    attempt.close()
    good = {record.offset for index, record in enumerate(batch.records) if index != 500}
    assert {record.offset for record in backend.records(Query("hits"))} == good


class Shouting(Native):
    """Names in capitals, as some other system might keep them."""

    def writer(self) -> Callable[[Record], str]:
        plain = super().writer()
        return lambda record: plain(record).replace(f'"name":"{record.name}"', f'"name":"{record.name.upper()}"')

    def record(self, row: tuple[Any, ...], header: Header) -> Record:
        return super().record((*row[:3], row[3].lower(), *row[4:]), header)


def test_another_shape_says_what_stands_in_the_columns(backend: ParquetBackend) -> None:
    other = ParquetBackend(backend.path, shape=Shouting())
    assert other.write(make_batch(Record(at(0), COUNTER, "hits", 1))) == ACCEPTED
    assert [record.name for record in other.records(Query())] == ["hits"]
    assert [record.name for record in backend.records(Query())] == ["HITS"]


def test_files_of_others_answer_questions(backend: ParquetBackend) -> None:
    target = str(backend.path / "orders.parquet").replace("'", "''")
    duckdb.connect().execute(
        "COPY (SELECT TIMESTAMPTZ '2025-06-15 12:00:00+00' + to_seconds(i) AS placed, '2025-06-15T12:00:00Z' AS text,"
        f" i % 2 AS shop, i AS total FROM range(6) t(i)) TO '{target}' (FORMAT parquet)"
    )
    query = Query("orders.parquet", by="shop", start=at(1) / 1e9)
    foreign = Foreign(source="orders.parquet", time="placed", value="total", tags={"shop": "shop"})
    answered = {series.tags["shop"]: series.points[0][1] for series in backend.query_foreign(query, foreign)}
    assert answered == {"0": 6.0, "1": 9.0}
    iso = Foreign(source="*.parquet", time="text", time_unit="iso", value="total")
    assert backend.query_foreign(Query(start=at(0) / 1e9), iso)[0].points[0][1] == 15.0
    for wrong in (
        Foreign(source="none*.parquet", time="placed", value="total"),
        Foreign(source="orders.parquet", time="placed", value='no"column'),
    ):
        with pytest.raises(QueryError, match="correct the source"):
            backend.query_foreign(Query(), wrong)


def test_a_folder_that_cannot_be_or_is_too_new_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match="may write"):
        ParquetBackend(tmp_path / "file" / "store").open()
    backend = ParquetBackend(tmp_path / "new")
    assert [line.ok for line in backend.check()] == [False]
    backend.open()
    (backend.path / "_tallystick.json").write_text('{"parquet": 99}')
    with pytest.raises(Misconfigured, match="upgrade"):
        ParquetBackend(backend.path).setup()
    assert [line.ok for line in backend.check()] == [False]


def test_urls_name_a_folder_and_nothing_else(tmp_path: Path) -> None:
    backend = backend_from_url(f"parquet:///{tmp_path}/a%3Fb")
    assert backend.path == tmp_path / "a?b"
    assert backend_from_url(backend.address).path == backend.path
    for url in ("parquet://host/x", "parquet:///", "parquet:///x?timeout=5", "parquet:///x#y"):
        with pytest.raises(SettingsError):
            backend_from_url(url)


def test_duckdb_spills_into_a_folder_of_its_own_that_nobody_else_reads_and_that_goes_with_it() -> None:
    engine = Engine("zstd")
    (spill,) = engine.cursor().execute("SELECT current_setting('temp_directory')").fetchone()
    assert Path(spill).stat().st_mode & 0o077 == 0
    other = Engine("zstd")
    assert other.cursor().execute("SELECT current_setting('temp_directory')").fetchone() != (spill,)
    engine.close()
    other.close()
    assert not Path(spill).exists()
