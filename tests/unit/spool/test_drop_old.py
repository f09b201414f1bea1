"""`drop_old` keeps the newest: a thread makes room ahead, and no more than is needed."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType

import pytest
from tests.unit.spool.conftest import write_segment

from tallystick.recorder.metrics import Metrics
from tallystick.spool import disk
from tallystick.spool.account import account
from tallystick.spool.folder import Folder

SEGMENT_BYTES = 65_536
LIMIT_BYTES = 600_000


def full_spool(home: Path) -> Metrics:
    return Metrics(
        home=home, deliver="off", segment_bytes=SEGMENT_BYTES, spool_limit_bytes=LIMIT_BYTES, when_full="drop_old"
    )


@pytest.mark.parametrize("threads", [1, 4])
def test_drop_old_never_drops_a_new_record_and_uses_nearly_all_of_the_limit(home: Path, threads: int) -> None:
    count = 20_000 // threads

    def record() -> None:
        for value in range(count):
            metrics.gauge("n", value, tags={"plan": "pro"})
            if value % 50 == 0:
                time.sleep(0.001 * threads)  # 50,000 a second; a loop that only records is quicker than any disk

    with full_spool(home) as metrics:
        workers = [threading.Thread(target=record) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert metrics.dropped == {}
        books = account(Folder(home))
    assert books.size_bytes <= LIMIT_BYTES + SEGMENT_BYTES
    assert books.imbalance() == {}
    kept, went = books.pending["n"], books.dropped["drop_old"]["n"]
    assert kept + went == count * threads
    line_bytes = len(b'[1763683200000000000,"gauge","n",12345,{"plan":"pro"}]\n')
    assert kept * line_bytes >= LIMIT_BYTES - 3 * SEGMENT_BYTES


def test_drop_old_gives_up_even_the_segment_that_this_process_has_just_filled(home: Path) -> None:
    """The limit has room for two segments; what another process counts leaves that for one."""
    folder = Folder(home).open()
    with Metrics(
        home=home, deliver="off", segment_bytes=SEGMENT_BYTES, spool_limit_bytes=131_072, when_full="drop_old"
    ) as metrics:
        (folder.segments / "other.tally").write_bytes(bytes(30_000))
        for value in range(5_000):
            metrics.increment("n", value)
            if value % 200 == 0:
                time.sleep(0.01)
        assert metrics.dropped == {}
        assert account(folder).dropped["drop_old"]["n"] > 2_000


def test_a_time_limit_ends_a_call_that_waits_for_room_and_leaves_no_lock_behind(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TooLate(TimeoutError):
        pass

    def too_late(number: int, frame: FrameType | None) -> None:
        raise TooLate("the application's own")

    def record(count: int) -> None:
        for value in range(count):
            metrics.increment("n", value)

    struck: list[bool] = []
    sleep = time.sleep

    def stricken(seconds: float) -> None:
        if not struck and threading.current_thread() is threading.main_thread():
            struck.append(True)
            signal.raise_signal(signal.SIGUSR1)
        sleep(seconds)

    before = signal.signal(signal.SIGUSR1, too_late)
    try:
        with full_spool(home) as metrics:
            monkeypatch.setattr(time, "sleep", stricken)
            with pytest.raises(TooLate):
                record(60_000)
            sleep(0.2)
            record(1)
            assert not disk.is_locked(Folder(home).delivering_lock)
            assert not metrics._spool._tender.absent  # type: ignore[union-attr]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_call_waits_milliseconds_for_a_lock_that_another_process_holds_and_does_not_move(home: Path) -> None:
    """A stopped agent or a backup tool holds it. New records are dropped, and counted."""
    with full_spool(home) as metrics:
        stopped = disk.LockFile(Folder(home).delivering_lock)
        assert stopped.acquire()
        slowest = 0.0
        while not metrics.dropped:
            began = time.perf_counter()
            metrics.increment("n", tags={"plan": "pro"})
            slowest = max(slowest, time.perf_counter() - began)
        assert slowest < 0.1, "it took 2.5 s"
        stopped.release()


def test_a_segment_that_may_not_be_read_holds_up_no_other(home: Path) -> None:
    folder = Folder(home).open()
    folder.segment("0").mkdir()
    for name in "123456789":
        write_segment(folder, name, bytes(SEGMENT_BYTES - 200))
    with full_spool(home) as metrics:
        for value in range(5_000):
            metrics.increment("n", value)
            if value % 200 == 0:
                time.sleep(0.01)
        assert metrics.dropped == {}
