"""What could not be counted on disk at once, or is counted late, is in the books all the same."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.acceptance.stage import until
from tests.unit.spool.conftest import line

from tallystick.recorder.metrics import Metrics
from tallystick.spool import disk, tally
from tallystick.spool.account import account
from tallystick.spool.folder import Folder
from tallystick.spool.source import SpoolSource
from tallystick.spool.spool import Spool
from tallystick.spool.tally import Tally

MakeSpool = Callable[..., Spool]

AT_EXIT = """
import atexit
atexit.register(lambda: metrics.increment("late"))
from tallystick import Metrics
metrics = Metrics(deliver="{deliver}")
metrics.increment("work")
"""
DUNDER_DEL = """
from tallystick import Metrics
metrics = Metrics(deliver="{deliver}")
metrics.increment("work")
class Last:
    def __init__(self): self.metrics = metrics
    def __del__(self): self.metrics.increment("late")
last = Last()
"""


@pytest.mark.parametrize("deliver", ["off", "thread"])
@pytest.mark.parametrize("program", [AT_EXIT, DUNDER_DEL], ids=["atexit", "__del__"])
def test_what_is_recorded_after_the_exit_hook_ran_is_kept_and_in_the_books(
    home: Path, program: str, deliver: str
) -> None:
    environment = {**os.environ, "TALLYSTICK_HOME": str(home)}
    subprocess.run([sys.executable, "-c", program.format(deliver=deliver)], env=environment, check=True)
    books = account(Folder(home))
    assert not books.imbalance()
    assert books.accepted == {"work": 1, "late": 1}
    assert books.dropped == {}


def test_threads_that_record_while_another_closes_lose_no_count(home: Path) -> None:
    started, stop = threading.Semaphore(0), threading.Event()
    calls: list[int] = []

    def work() -> None:
        done = 0
        while not stop.is_set():
            metrics.increment("n")
            done += 1
            if done == 100:
                started.release()
        calls.append(done)

    with Metrics(home=home, deliver="off", segment_bytes=65_536) as metrics:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert started.acquire(timeout=30)
        metrics.close()
        assert until(lambda: metrics.dropped.total() > 100)
        stop.set()
        for thread in threads:
            thread.join()
        books = account(Folder(home))
        assert books.accepted["n"] == sum(calls)
        assert books.dropped == {"closed": {"n": metrics.dropped["closed", "n"]}}


def test_an_agent_counts_what_came_before_close_and_after_it_once(
    folder: Folder, make_spool: MakeSpool, source: SpoolSource
) -> None:
    spool = make_spool()
    spool.tally.add("refused", "nan", "n", 3)
    spool.close()
    assert not any(disk.is_locked(path) for path in folder.segments.iterdir())
    source.tidy()
    assert folder.tally_ids() == []
    spool.append(line(1), "n")
    spool.tally.add("refused", "nan", "n")
    source.tidy()
    books = account(folder)
    assert (books.refused, books.dropped) == ({"nan": {"n": 4}}, {"closed": {"n": 1}})
    spool.close()
    source.tidy()
    books = account(folder)
    assert (books.refused, books.dropped) == ({"nan": {"n": 4}}, {"closed": {"n": 1}})
    assert folder.tally_ids() == []


def test_spools_that_were_closed_and_forgotten_leave_no_descriptors(folder: Folder) -> None:
    before = len(os.listdir("/proc/self/fd"))
    spool: Spool | None = None
    for number in range(20):
        spool = Spool(folder, segment_bytes=4096)
        spool.append(line(number), "n")
        spool.append(b"x" * 2000, "n")
        spool.close()
        spool.append(line(number), "n")
    spool = None
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert not any(disk.is_locked(path) for path in folder.segments.iterdir())
    assert account(folder).dropped == {"too_large": {"n": 20}, "closed": {"n": 20}}


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Nothing can be allocated until the function that is returned is called."""
    room, real = threading.Event(), disk.allocate

    def allocate(fd: int, size_bytes: int) -> None:
        if not room.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        real(fd, size_bytes)

    monkeypatch.setattr(disk, "allocate", allocate)
    monkeypatch.setattr(tally, "AGAIN_SECONDS", 1000.0)
    return room.set


def test_counts_held_while_the_disk_was_full_are_written_at_close(
    folder: Folder, make_spool: MakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_room = fill_disk(monkeypatch)
    spool = make_spool()
    assert not spool.append(line(1), "n")
    spool.tally.add("refused", "nan", "n", 2)
    assert not folder.tally_ids()
    make_room()
    spool.close()
    books = account(folder)
    assert (books.dropped, books.refused) == ({"disk_full": {"n": 1}}, {"nan": {"n": 2}})


def test_counts_held_while_the_disk_was_full_are_written_with_the_next_segment(
    folder: Folder, make_spool: MakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_room = fill_disk(monkeypatch)
    monkeypatch.setattr(tally, "AGAIN_SECONDS", 0.0)
    spool = make_spool()
    monkeypatch.setattr(spool._tender, "wake", lambda: None)
    assert not spool.append(line(1), "n")
    assert not folder.tally_ids()
    make_room()
    spool._patience.full_until = 0.0
    assert spool.append(line(2), "n")
    assert account(folder).dropped == {"disk_full": {"n": 1}}


def test_counts_held_while_the_disk_was_full_are_written_by_who_makes_segments(
    folder: Folder, make_spool: MakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_room = fill_disk(monkeypatch)
    spool = make_spool()
    monkeypatch.setattr(spool._tender, "wake", lambda: None)
    assert not spool.append(line(1), "n")
    make_room()
    spool.tally._next_try = 0.0
    spool._tender.tend_once()
    assert account(folder).dropped == {"disk_full": {"n": 1}}


class Interrupted(dict[tuple[str, str, str], int]):
    """A signal strikes when a new label is about to get its slot."""

    strikes = True

    def __setitem__(self, label: tuple[str, str, str], slot: int) -> None:
        if self.strikes:
            self.strikes = False
            signal.raise_signal(signal.SIGUSR1)
        super().__setitem__(label, slot)


def test_a_label_that_a_signal_handler_brings_while_another_gets_its_slot_has_one_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.tally"
    counts = Tally(path)
    counts.add("refused", "nan", "first")
    assert counts._file is not None
    counts._file.slots = Interrupted(counts._file.slots)
    previous = signal.signal(signal.SIGUSR1, lambda *_: counts.add("refused", "nan", "handler"))
    try:
        counts.add("refused", "nan", "main")
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert tally.read(path) == Counter({("refused", "nan", name): 1 for name in ("first", "main", "handler")})
    counts.close()


def test_a_count_does_not_wait_for_the_disk_of_another_thread(tmp_path: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slowly(write: Callable[[], None]) -> None:
        asked.set()
        assert go_on.wait(30)
        write()

    path = tmp_path / "a.tally"
    counts = Tally(path, slowly)
    thread = threading.Thread(target=counts.add, args=("dropped", "disk_full", "a"))
    thread.start()
    assert asked.wait(30)
    counts.add("dropped", "disk_full", "b")  # would wait for ever
    go_on.set()
    thread.join()
    assert tally.read(path) == Counter({("dropped", "disk_full", "a"): 1, ("dropped", "disk_full", "b"): 1})
    counts.close()
