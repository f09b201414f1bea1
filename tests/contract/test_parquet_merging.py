"""Many small Parquet files become few: at every moment, and after a crash at any moment, each record is there once."""

from __future__ import annotations

import glob
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tallystick.backends.base import ACCEPTED
from tallystick.backends.parquet import ParquetBackend
from tallystick.backends.parquet import folder as parquet_folder
from tallystick.backends.parquet import merging as parquet_merging
from tallystick.queries import Query
from tallystick.records import COUNTER, GAUGE, Batch, Record
from tallystick.spool import disk
from tallystick.testing import at, make_batch

DAY = 86_400
FAN = 4


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merges of few files show the same in less time."""
    assert 2 * FAN < parquet_merging.FAN
    monkeypatch.setattr(parquet_merging, "FAN", FAN)


@pytest.fixture
def backend(tmp_path: Path) -> ParquetBackend:
    backend = ParquetBackend(tmp_path / "it's [a] f*lder?")
    backend.open()
    return backend


def deliveries(count: int, moment: int = 0) -> list[Batch]:
    """Each of a segment of its own, with two points and a document."""
    return [
        make_batch(
            *(Record(at(moment + i), COUNTER, f"hits.{i % 3}", i) for _ in range(2)),
            Record(at(moment + i), GAUGE, "order", i, own_id=f"order-{moment}-{i}"),
        )
        for i in range(count)
    ]


def write(backend: ParquetBackend, *batches: Batch) -> None:
    for batch in batches:
        assert backend.write(batch) == ACCEPTED


def ids(backend: ParquetBackend) -> list[str]:
    return sorted(record.id for record in backend.records(Query()))


def ids_of(*batches: Batch) -> list[str]:
    return sorted(record.id for batch in batches for record in batch.records)


def as_others_read(backend: ParquetBackend) -> list[str]:
    """By a pattern that finds all files, without our journal. A record's place is enough here, as its id."""
    pattern = f"{glob.escape(str(backend.path))}/*/*.parquet"
    sql = "SELECT coalesce(own_id, segment || '-' || place) FROM read_parquet(?)"
    return sorted(found for (found,) in duckdb.connect().execute(sql, [pattern]).fetchall())


def names(backend: ParquetBackend) -> list[str]:
    return sorted(path.name for path in backend.path.glob("*/*.parquet"))


def in_child(run: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            run()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextmanager
def fragile(fatal: int, end: Callable[[], None]) -> Iterator[list[int]]:
    """`end` comes before the step of this number: before any sync, rename or removal."""
    done = [0]

    def stepwise(function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            if done[0] == fatal:
                end()
            done[0] += 1
            return function(*arguments)

        return step

    with pytest.MonkeyPatch.context() as patch:
        for name in ("sync", "rename", "remove"):
            patch.setattr(disk, name, stepwise(getattr(disk, name)))
        yield done


def test_many_deliveries_leave_few_files_and_all_records(backend: ParquetBackend) -> None:
    batches = deliveries(FAN * FAN + 3)
    write(backend, *batches)
    assert ids(backend) == ids_of(*batches)
    assert as_others_read(backend) == ids_of(*batches)
    kinds = [name.partition("-")[0] for name in names(backend)]
    assert kinds.count("points") <= FAN
    assert kinds.count("documents") <= FAN
    assert f"points-@{2 * FAN * FAN}-" in "".join(names(backend)), "merged files are merged in their turn"
    counted = backend.query(Query("hits.*", aggregate="count"))
    assert sum(series.points[0][1] for series in counted) == 2 * len(batches)


def test_what_was_merged_and_comes_again_adds_nothing(backend: ParquetBackend) -> None:
    batches = deliveries(2 * FAN)
    write(backend, *batches)
    before = names(backend)
    for again in (backend, ParquetBackend(backend.path)):
        write(again, *batches, *(batch.split(1)[1] for batch in batches))
        assert names(backend) == before
    assert ids(backend) == ids_of(*batches)


def test_one_segment_delivered_in_many_pieces_is_trimmed_where_it_overlaps_merged_ones(backend: ParquetBackend) -> None:
    batch = make_batch(*(Record(at(i), COUNTER, "hits", i) for i in range(4 * FAN)))
    rest: Batch | None = batch
    for _ in range(FAN + 1):
        assert rest is not None
        piece, rest = rest.split(2)
        write(backend, piece)
    assert any("-@" in name for name in names(backend))
    write(backend, batch)
    assert ids(backend) == ids_of(batch)


def test_a_merge_that_is_killed_at_any_step_loses_none_and_doubles_none(tmp_path: Path) -> None:
    """A writer is killed before each sync, rename and removal of a write that merges. Our readers see each record once
    right after it, other readers when a writer of ours has come, and what comes again adds nothing."""
    *before, last = deliveries(FAN)
    write(ParquetBackend(tmp_path / "before"), *before)
    broken_off = 0
    fatal = 0
    while True:
        backend = ParquetBackend(tmp_path / str(fatal))
        shutil.copytree(tmp_path / "before", backend.path)

        def die() -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        def write_and_die(fatal: int = fatal, path: Path = backend.path) -> None:
            with fragile(fatal, die):
                ParquetBackend(path).write(last)

        ended = in_child(write_and_die)
        seen = ids(backend)
        assert len(seen) == len(set(seen)), f"twice after step {fatal}"
        assert set(ids_of(*before)) <= set(seen) <= set(ids_of(*before, last))
        broken_off += parquet_merging.unfinished(backend.path)
        again = ParquetBackend(backend.path)
        again.open()
        assert not parquet_merging.unfinished(backend.path)
        assert as_others_read(again) == seen
        write(again, last, *before)
        assert ids(again) == as_others_read(again) == ids_of(*before, last)
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        fatal += 1
    assert fatal >= 30, "two files, and for each a merge with all its steps"
    assert broken_off >= 2 * FAN, "some crashes came between the journal and the last removal"


class PowerFailure(BaseException):
    """Nothing catches it, as nothing runs on after one."""


def test_a_power_failure_that_undoes_a_rename_loses_none(
    backend: ParquetBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal lasted, the new file did not: the files that it was to replace are all there, and are what counts."""
    *before, last = deliveries(FAN)
    write(backend, *before)
    plain = disk.rename

    def rename(old: Path, new: Path) -> None:
        if "-@" in new.name:
            raise PowerFailure
        plain(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "rename", rename)
        with pytest.raises(PowerFailure):
            backend.write(last)
    assert parquet_merging.unfinished(backend.path)
    (backend.path / ".merged.new").unlink()
    points = [record.id for record in last.records if record.own_id is None]
    assert ids(backend) == sorted([*ids_of(*before), *points]), "the merge came before the documents' turn"
    again = ParquetBackend(backend.path)
    again.open()
    assert not parquet_merging.unfinished(backend.path)
    write(again, last)
    assert ids(backend) == as_others_read(backend) == ids_of(*before, last)


def test_readers_see_every_record_once_while_others_merge(backend: ParquetBackend) -> None:
    """What was written before a question is in its answer, and nothing twice, all the time that merges go on."""
    batches = deliveries(25 * FAN)
    written = [0]
    ended = threading.Event()

    def go_on() -> None:
        other = ParquetBackend(backend.path)
        for batch in batches:
            write(other, batch)
            written[0] += 1
        ended.set()

    writer = threading.Thread(target=go_on)
    writer.start()
    questions = 0
    while not ended.is_set():
        least = written[0]
        seen = ids(backend)
        most = written[0] + 1
        assert len(seen) == len(set(seen))
        assert set(ids_of(*batches[:least])) <= set(seen) <= set(ids_of(*batches[:most]))
        held = sum(entry["records"] for entry in backend.indices())
        assert 3 * least <= held <= 3 * len(batches)
        questions += 1
    writer.join()
    assert questions > 5
    assert ids(backend) == ids_of(*batches)


def test_a_reader_that_lists_while_files_are_swapped_sees_each_record_once(
    backend: ParquetBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole merges happen between the listing and the second look into the journal."""
    batches = deliveries(FAN - 1)
    write(backend, *batches)
    *more, last = deliveries(FAN + 1, moment=1_000)
    plain = parquet_folder.files
    in_between: list[Callable[[], None]] = []

    def files(root: Path, day: str) -> Any:
        found = plain(root, day)
        if in_between and threading.current_thread() is threading.main_thread():
            in_between.pop()()
        return found

    def elsewhere(batches: list[Batch]) -> Callable[[], None]:
        def run() -> None:
            thread = threading.Thread(target=lambda: write(ParquetBackend(backend.path), *batches))
            thread.start()
            thread.join()

        return run

    monkeypatch.setattr(parquet_folder, "files", files)
    in_between.append(elsewhere(more))
    seen = ids(backend)
    assert not in_between
    assert seen == ids_of(*batches, *more)
    in_between.append(elsewhere([last]))
    assert set(ids_of(*batches, *more)) <= set(ids(backend)) <= set(ids_of(*batches, *more, last))


def test_a_merge_that_begins_behind_a_readers_back_shows_it_nothing_twice(
    backend: ParquetBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader has read the journal; then the new file gets its name, and the old ones stay, as the writer died."""
    *before, last = deliveries(FAN)
    write(backend, *before)
    plain = parquet_folder.files
    behind_its_back: list[Callable[[], None]] = []

    def files(root: Path, day: str) -> Any:
        if behind_its_back:
            behind_its_back.pop()()
        return plain(root, day)

    def remove(path: Path) -> None:
        raise PowerFailure

    def half_a_merge() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(disk, "remove", remove)
            with pytest.raises(PowerFailure):
                ParquetBackend(backend.path).write(last)

    monkeypatch.setattr(parquet_folder, "files", files)
    behind_its_back.append(half_a_merge)
    points = [record.id for record in last.records if record.own_id is None]
    for _ in range(2):
        assert ids(backend) == sorted([*ids_of(*before), *points])
    assert len(as_others_read(backend)) > len(ids(backend)), "other readers see both for as long as it lasts"


def test_two_processes_that_write_and_merge_store_each_record_once(backend: ParquetBackend) -> None:
    batches = deliveries(3 * FAN)

    def run(order: list[Batch]) -> Callable[[], None]:
        return lambda: write(ParquetBackend(backend.path), *order)

    ended: list[int] = []
    orders = [batches, batches[::-1]]
    threads = [threading.Thread(target=lambda order=order: ended.append(in_child(run(order)))) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == [0, 0]
    assert ids(backend) == as_others_read(backend) == ids_of(*batches)


def test_what_was_pruned_out_of_a_merged_file_may_come_again(backend: ParquetBackend) -> None:
    """Its file gets the name that was replaced once, and is not taken for replaced."""
    batches = deliveries(FAN)
    write(backend, *batches)
    assert any("-@" in name for name in names(backend))
    assert backend.prune(at(FAN // 2) / 1e9) == 3 * FAN // 2
    assert ids(backend) == ids_of(*batches[FAN // 2 :])
    write(backend, *batches)
    assert ids(backend) == as_others_read(backend) == ids_of(*batches)
    write(backend, *batches)
    assert ids(backend) == ids_of(*batches)


def test_prune_leaves_one_file_of_each_kind_of_the_days_that_have_been(backend: ParquetBackend) -> None:
    old = [batch for day in range(3) for batch in deliveries(3, moment=day * DAY)]
    today = (time.time_ns() - at(0)) // 10**9
    new = deliveries(3, moment=today)
    write(backend, *old, *new)
    assert backend.prune(at(DAY) / 1e9 - 1) == 9
    kept = [*old[3:], *new]
    assert ids(backend) == as_others_read(backend) == ids_of(*kept)
    assert len(names(backend)) == 2 * 2 + 6


def test_setup_merges_what_is_there_in_many_small_files(
    backend: ParquetBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = deliveries(2 * FAN + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_merging, "ripe", lambda _: [])
        write(backend, *batches)
    assert len(names(backend)) == 2 * len(batches)
    assert ParquetBackend(backend.path).setup() == ["merges of small files: 4"]
    assert len(names(backend)) == 6
    assert ids(backend) == ids_of(*batches)
    assert backend.setup() == []


def test_a_merge_that_fails_harms_no_record_and_says_so_once(
    backend: ParquetBackend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    batches = deliveries(FAN + 3)
    write(backend, *batches[: FAN - 1])
    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(parquet_merging, "_note", lambda root, _: disk.sync_file(root / "no such file"))
        write(backend, *batches[FAN - 1 :])
    assert [message for message in caplog.messages if "not merged" in message] == caplog.messages
    assert len(caplog.messages) == 1
    assert not (backend.path / ".merged.new").exists()
    assert ids(backend) == ids_of(*batches)
    assert ParquetBackend(backend.path).setup() != []
    assert ids(backend) == as_others_read(backend) == ids_of(*batches)


def test_large_files_are_let_alone_and_no_more_are_merged_than_make_one(
    backend: ParquetBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_merging, "LARGE_ROWS", 2 * FAN)
    batches = deliveries(5 * FAN)
    write(backend, *batches)
    assert sum(f"points-@{2 * FAN}-" in name for name in names(backend)) == 5
    monkeypatch.setattr(parquet_merging, "LARGE_ROWS", 6 * FAN)
    assert backend.setup() == ["merges of small files: 1"]
    assert sum(f"points-@{6 * FAN}-" in name for name in names(backend)) == 1, "three of five are enough"
    assert ids(backend) == ids_of(*batches)
