"""Counts that a dead process cannot take along."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.spool import disk, tally
from tallystick.spool.tally import SLOT_BYTES, SLOTS, Tally


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.tally"


def test_there_is_no_file_before_there_is_something_to_count(path: Path) -> None:
    counts = Tally(path)
    assert not path.exists()
    counts.add("dropped", "disk_full", "n")
    assert disk.is_locked(path)
    counts.close()
    assert not disk.is_locked(path)


def test_what_is_counted_is_read_back(path: Path) -> None:
    counts = Tally(path)
    for number in range(100):
        counts.add("dropped" if number % 2 else "refused", f"r{number % 3}", f"größe-{number % 5}", number)
        assert tally.read(path) == counts.counts
    counts.close()
    assert tally.read(path) == counts.counts


def test_kill_9_takes_no_count_along(path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from tallystick.spool.tally import Tally\n"
        "t = Tally(Path(sys.argv[1]))\n"
        "for n in range(1000): t.add('dropped', 'spool_limit', f'n{n % 7}')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)]).returncode == -signal.SIGKILL
    assert sum(tally.read(path).values()) == 1000


def test_more_names_than_slots_are_counted_together(path: Path) -> None:
    counts = Tally(path)
    for number in range(1000):
        counts.add("dropped", "disk_full", f"n{number}")
        counts.add("refused", "nan", f"n{number}")
    found = tally.read(path)
    assert sum(count for (what, _, _), count in found.items() if what == "dropped") == 1000
    assert sum(count for (what, _, _), count in found.items() if what == "refused") == 1000
    assert found["dropped", "other", "*"] > 800
    assert len(found) <= SLOTS
    counts.close()


@pytest.mark.parametrize("name", ["\x01" * 500, "🦊" * 500, "\\" * 500, '"' * 500, ""])
def test_the_longest_names_fit_their_slots(path: Path, name: str) -> None:
    counts = Tally(path)
    counts.add("refused", "a_long_reason_for_it", name)
    counts.add("dropped", "disk_full", "next")
    assert tally.read(path) == counts.counts
    counts.close()


def test_without_room_it_counts_in_memory_and_writes_all_down_when_there_is_some(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, room = disk.allocate, threading.Event()

    def allocate(fd: int, size_bytes: int) -> None:
        if not room.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        real(fd, size_bytes)

    monkeypatch.setattr(disk, "allocate", allocate)
    monkeypatch.setattr(tally, "AGAIN_SECONDS", 0.0)
    counts = Tally(path)
    for _ in range(5):
        counts.add("dropped", "disk_full", "a")
    assert not path.exists()
    assert not list(path.parent.iterdir())
    room.set()
    counts.add("dropped", "disk_full", "b")
    assert tally.read(path) == {("dropped", "disk_full", "a"): 5, ("dropped", "disk_full", "b"): 1}
    counts.close()


def test_the_reserve_gives_room_for_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def with_reserve(write: Callable[[], None]) -> None:
        tries.append(1)
        write()

    counts = Tally(path, with_reserve)
    counts.add("dropped", "disk_full", "a")
    assert tries == [1]
    assert path.exists()
    counts.close()


def test_a_full_disk_is_not_asked_at_every_count(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def full(fd: int, size_bytes: int) -> None:
        asked.append(size_bytes)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "allocate", full)
    monkeypatch.setattr(tally, "AGAIN_SECONDS", 1000.0)
    counts = Tally(path)
    for _ in range(100):
        counts.add("dropped", "disk_full", "a")
    assert len(asked) == 1
    assert counts.counts == {("dropped", "disk_full", "a"): 100}


def test_a_signal_handler_may_count_in_the_middle_of_a_count(path: Path) -> None:
    counts = Tally(path)
    previous = signal.signal(signal.SIGUSR1, lambda *_: counts.add("refused", "nan", "handler"))
    try:
        with counts.lock:
            os.kill(os.getpid(), signal.SIGUSR1)  # handled before the next line
            counts.add("refused", "nan", "main")
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert tally.read(path) == {("refused", "nan", "handler"): 1, ("refused", "nan", "main"): 1}
    counts.close()


def test_threads_lose_no_count(path: Path) -> None:
    counts = Tally(path)

    def work() -> None:
        for number in range(2_000):
            counts.add("dropped", "spool_limit", f"n{number % 10}")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts.close()
    assert tally.read(path) == Counter({("dropped", "spool_limit", f"n{n}"): 800 for n in range(10)})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, SLOT_BYTES * 3), st.binary(min_size=1, max_size=20)), max_size=5))
def test_a_damaged_slot_is_passed_over_and_never_counts_absurdly(path: Path, damage: list[tuple[int, bytes]]) -> None:
    counts = Tally(path)
    for name in ("a", "b", "c", "d"):
        counts.add("dropped", "disk_full", name, 3)
    counts.close()
    data = bytearray(path.read_bytes())
    for place, what in damage:
        data[place : place + len(what)] = what
    path.write_bytes(data)
    found = tally.read(path)
    assert found["dropped", "disk_full", "d"] == 3 or any(place > SLOT_BYTES * 3 - 20 for place, _ in damage)
    assert all(0 <= count <= tally.MOST for count in found.values())
