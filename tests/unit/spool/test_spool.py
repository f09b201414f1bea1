"""The writing end of a spool: rotation, limits, closing; and the folder and the disk below it."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.spool.conftest import deliver_all, line, write_segment

from tallystick.errors import SettingsError, SpoolError, SpoolUnsupported
from tallystick.spool import disk
from tallystick.spool.account import account
from tallystick.spool.dead import DeadLetters
from tallystick.spool.folder import RESERVE_BYTES, RESERVE_PARTS, Folder, new_segment_id, pipelines
from tallystick.spool.positions import Positions
from tallystick.spool.source import SpoolSource
from tallystick.spool.spool import Spool

MakeSpool = Callable[..., Spool]


def test_no_record_is_lost_or_doubled_over_many_rotations(make_spool: MakeSpool, source: SpoolSource) -> None:
    spool = make_spool()
    assert all(spool.append(line(value), "n") for value in range(1_000))
    spool.close()
    assert deliver_all(source) == list(range(1_000))
    assert len(spool.folder.segment_ids()) > 5


def test_threads_that_rotate_at_once_lose_nothing(make_spool: MakeSpool, source: SpoolSource) -> None:
    spool = make_spool()

    def work(number: int) -> None:
        for value in range(300):
            text = line(number * 1000 + value)
            try:
                spool.write(text)
            except ValueError:
                assert spool.append(text, "n")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spool.close()
    found = deliver_all(source)
    assert sorted(found) == sorted(number * 1000 + value for number in range(8) for value in range(300))
    for number in range(8):
        own = [value for value in found if value // 1000 == number]
        assert own == sorted(own), "a thread's records keep their order"


def test_a_line_too_long_for_a_segment_is_counted_and_not_tried_for_ever(make_spool: MakeSpool) -> None:
    spool = make_spool()
    assert not spool.append(b"x" * 1025, "n")
    assert spool.tally.counts == {("dropped", "too_large", "n"): 1}


def test_after_close_what_is_recorded_is_counted_as_dropped(make_spool: MakeSpool) -> None:
    spool = make_spool()
    spool.append(line(1), "n")
    spool.close()
    spool.close()
    assert not spool.append(line(2), "n")
    with pytest.raises(ValueError, match=r"."):
        spool.write(line(3))
    assert spool.tally.counts == {("dropped", "closed", "n"): 1}


def test_a_closed_spool_leaves_sealed_segments_and_no_locks(make_spool: MakeSpool) -> None:
    spool = make_spool()
    for value in range(200):
        spool.append(line(value), "n")
    spool.close()
    for identity in spool.folder.segment_ids():
        assert not disk.is_locked(spool.folder.segment(identity))
        assert spool.folder.segment(identity).read_bytes().endswith(b"\n")


def test_fsync_always_syncs_each_record_and_the_folder_of_each_segment(
    make_spool: MakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real_sync, real_folder = disk.sync, disk.sync_folder

    def sync(fd: int) -> None:
        synced.append("record")
        real_sync(fd)

    def sync_folder(path: Path) -> None:
        synced.append("folder")
        real_folder(path)

    monkeypatch.setattr(disk, "sync", sync)
    monkeypatch.setattr(disk, "sync_folder", sync_folder)
    spool = make_spool(fsync="always")
    spool.append(line(0), "n")
    assert synced[0] == "folder"
    assert synced[-1] == "record"
    for value in range(5):
        before = synced.count("record")
        spool.write(line(value))
        assert synced.count("record") > before
    never = make_spool(fsync="never")
    never._tender.wake = lambda: None  # type: ignore[method-assign]
    synced.clear()
    never.append(line(0), "n")
    assert synced == []


def test_the_limit_counts_all_processes_files(folder: Folder, make_spool: MakeSpool) -> None:
    write_segment(folder, "other", bytes(6_000))
    spool = make_spool(limit_bytes=8_000)
    assert not spool.append(line(1), "n")
    assert spool.tally.counts == {("dropped", "spool_limit", "n"): 1}


def test_a_folder_taken_away_loses_counts_to_memory_and_never_raises(make_spool: MakeSpool) -> None:
    spool = make_spool()
    os.rename(spool.folder.path, spool.folder.path.with_name("away"))
    spool.folder.path.write_text("in the way")
    for value in range(3):
        assert not spool.append(line(value), "n")
    assert spool.tally.counts == {("dropped", "spool_error", "n"): 3}


def test_where_this_process_stands_is_known_for_waiting(make_spool: MakeSpool, source: SpoolSource) -> None:
    spool = make_spool()
    assert spool.written() == []
    for value in range(200):
        spool.append(line(value), "n")
    targets = spool.written()
    assert len(targets) > 1
    deliver_all(source)
    source.save()
    assert all(Positions(spool.folder).at[segment] == end for segment, end in targets)


def test_opening_a_full_spool_with_drop_old_makes_room_for_the_first_record(
    folder: Folder, make_spool: MakeSpool
) -> None:
    for name in "abc":
        write_segment(folder, name, bytes(4_000))
    spool = make_spool(limit_bytes=13_000, when_full="drop_old")
    assert spool.append(line(1), "n")


def test_without_the_whole_reserve_no_segment_is_begun(
    folder: Folder, make_spool: MakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Folder, "keep_reserve", lambda _: False)
    spool = make_spool()
    assert not spool.append(line(1), "n")
    assert folder.segment_ids() == []
    assert spool.tally.counts == {("dropped", "disk_full", "n"): 1}


# --- the reserve ---


def test_the_reserve_is_given_away_in_parts_and_kept_again(folder: Folder) -> None:
    assert folder.keep_reserve()
    full = OSError(errno.ENOSPC, "No space left on device")
    sizes = []
    while folder.free_reserve(full):
        sizes.append(folder.reserve.stat().st_size if folder.reserve.exists() else 0)
    assert len(sizes) == RESERVE_PARTS
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0
    assert folder.keep_reserve()
    assert folder.reserve.stat().st_size == RESERVE_BYTES
    assert folder.reserve.stat().st_blocks * 512 >= RESERVE_BYTES


def test_other_errors_free_nothing(folder: Folder) -> None:
    folder.keep_reserve()
    assert not folder.free_reserve(OSError(errno.EIO, "Input/output error"))
    assert folder.reserve.stat().st_size == RESERVE_BYTES


def test_a_write_is_tried_as_long_as_the_reserve_has_something_to_give(folder: Folder) -> None:
    folder.keep_reserve()
    tries: list[int] = []

    def write() -> None:
        tries.append(1)
        if len(tries) < 4:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    folder.with_reserve(write)
    assert len(tries) == 4

    def never() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        folder.with_reserve(never)


def test_a_reserve_that_a_crash_left_empty_is_none(folder: Folder) -> None:
    folder.reserve.write_bytes(b"")
    assert folder.keep_reserve()
    assert folder.reserve.stat().st_size == RESERVE_BYTES


# --- the folder ---


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", ".a", "a\0", "ä", "a" * 101, "a b"])
def test_a_pipelines_name_is_a_plain_file_name(home: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="pipeline"):
        Folder(home, name)


def test_pipelines_of_a_home_are_found_by_their_segments(home: Path) -> None:
    assert pipelines(home) == []
    for name in ("b", "a"):
        Folder(home, name).open()
    (home / "else").mkdir()
    (home / "file").write_text("")
    assert [found.name for found in pipelines(home)] == ["a", "b"]


def test_ids_are_24_digits_sort_by_age_and_do_not_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [new_segment_id() for _ in range(1_000)]
    assert ids == sorted(set(ids))
    now = time.time()
    monkeypatch.setattr(time, "time_ns", lambda: int((now - 3600) * 1e9))  # a clock that is put back
    assert new_segment_id() > ids[-1]
    assert all(len(identity) == 24 and int(identity, 16) for identity in ids)


def test_what_a_pipeline_is_for_is_said_and_read(folder: Folder) -> None:
    assert folder.description() == {}
    folder.describe(backend="sqlite:///x")
    assert folder.description() == {"tallystick": 1, "backend": "sqlite:///x"}
    folder.about.write_bytes(b"[1")
    assert folder.description() == {}


def test_files_are_for_the_user_and_the_group_only(folder: Folder, make_spool: MakeSpool) -> None:
    previous = os.umask(0)
    try:
        made = Folder(folder.home, "other").open()
        spool = Spool(made, segment_bytes=4096)
        spool.append(line(1), "n")
        spool.append(b"x" * 2000, "n")
        spool.close()
        paths = [path for path in made.path.rglob("*") if path.is_file()]
        assert paths
        assert all(stat.S_IMODE(path.stat().st_mode) & 0o007 == 0 for path in (*paths, made.path, made.segments))
    finally:
        os.umask(previous)


# --- the disk ---


def test_a_home_that_is_a_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(SpoolError, match=r"set home \(TALLYSTICK_HOME\) to a folder"):
        Folder(tmp_path / "home").open()


def test_new_folders_are_synced_into_their_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(disk, "sync_folder", synced.append)
    disk.make_folder(tmp_path / "a" / "b" / "c")
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    synced.clear()
    disk.make_folder(tmp_path / "a" / "b" / "c")
    assert synced == []


@pytest.mark.parametrize(
    ("asked", "done"), [({}, []), ({"whole": True}, ["file"]), ({"durable": True}, ["file", "folder"])]
)
def test_a_replaced_file_is_synced_as_far_as_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, bool], done: list[str]
) -> None:
    order: list[str] = []
    monkeypatch.setattr(disk, "sync", lambda _: order.append("file"))
    monkeypatch.setattr(disk, "sync_folder", lambda _: order.append("folder"))
    disk.replace_file(tmp_path / "a", b"old", **asked)
    disk.replace_file(tmp_path / "a", b"new", **asked)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert order == done * 2
    assert os.listdir(tmp_path) == ["a"]


def test_a_lock_has_one_holder_and_ends_with_it(tmp_path: Path) -> None:
    first, second = disk.LockFile(tmp_path / "lock"), disk.LockFile(tmp_path / "lock")
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    assert disk.is_locked(tmp_path / "lock")
    first.release()
    assert not disk.is_locked(tmp_path / "lock")
    assert second.acquire()
    second.release()


def test_a_lock_whose_file_was_replaced_is_not_held(tmp_path: Path) -> None:
    first, second = disk.LockFile(tmp_path / "lock"), disk.LockFile(tmp_path / "lock")
    first.acquire()
    (tmp_path / "lock").unlink()
    assert not first.held
    assert second.acquire()
    assert not first.acquire()
    second.release()
    assert not disk.is_locked(tmp_path / "missing")


def test_a_platform_without_locks_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "fcntl", None)
    with pytest.raises(SpoolUnsupported, match="no flock"):
        disk.LockFile(tmp_path / "lock").acquire()


# --- the books ---


def test_the_books_say_where_every_record_is(folder: Folder, make_spool: MakeSpool) -> None:
    spool = make_spool()
    for value in range(10):
        spool.append(line(value, f"n{value % 2}"), f"n{value % 2}")
    spool.append(b"x" * 2000, "n0")
    source = SpoolSource(folder, DeadLetters(folder))
    delivery = source.receive(4)
    assert delivery is not None
    source.settle(delivery, {0: "no"})
    found = account(folder)
    assert found.imbalance() == {}
    assert found.accepted == {"n0": 6, "n1": 5}
    assert found.delivered == {"n0": 1, "n1": 2}
    assert found.dead == {"n0": 1}
    assert found.pending == {"n0": 3, "n1": 3}
    assert found.dropped == {"too_large": {"n0": 1}}
    assert found.line() == "11 accepted = 3 delivered + 6 pending + 1 dead + 1 dropped"
    assert found.oldest_pending_seconds > 0
    source.close()


def test_the_books_notice_what_is_missing(folder: Folder) -> None:
    positions = Positions(folder)
    positions.count_accepted({"n": 5})
    positions.count_delivered({"n": 3})
    positions.save(durable=False)
    found = account(folder)
    assert found.imbalance() == {"n": 2}
    assert "≠" in found.line()


def test_a_person_who_drops_or_retries_letters_keeps_the_books(folder: Folder, source: SpoolSource) -> None:
    write_segment(folder, "a", *(line(value, "bad") for value in range(3)))
    deliver_all(source, lambda _: True)
    source.tidy()
    dead = DeadLetters(folder)
    first, second, third = dead.state().letters
    dead.drop([first])
    dead.retry([second, third])
    for rejected in ({}, {0: "no"}):
        delivery = source.receive(1)
        assert delivery is not None
        source.settle(delivery, rejected)
    found = account(folder)
    assert found.imbalance() == {}
    assert (found.delivered, found.dead, found.dropped) == ({"bad": 1}, {"bad": 1}, {"dead_letter": {"bad": 1}})
