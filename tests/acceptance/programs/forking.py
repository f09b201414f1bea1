"""Processes that fork in the ways that applications do. Each process records the numbers 1, 2, 3, … under its own name.

python -m tests.acceptance.programs.forking SCENARIO [COUNT]
"""

from __future__ import annotations

import functools
import math
import multiprocessing
import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.programs.calls import calls
from tests.acceptance.stage import Acknowledged

from tallystick import Metrics
from tallystick.spool import disk

EACH = 100


@functools.cache
def metrics() -> Metrics:
    return Metrics(segment_bytes=65_536)


def record(who: str, start: int = 1, count: int = EACH) -> None:
    ways = calls(metrics(), {"who": who})
    for number in range(start, start + count):
        ways[number % len(ways)](number)


def forked(work: Callable[[], None]) -> int:
    """The process id of a child that does this and leaves by os._exit: nothing is closed, nothing is delivered."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def wait_for(*children: int) -> None:
    for child in children:
        _, status = os.waitpid(child, 0)
        assert status == 0, f"child {child} ended with {status}"


def os_fork(count: int) -> None:
    record("parent")
    children = [forked(functools.partial(record, f"child {number}")) for number in range(count)]
    record("parent", start=1 + EACH)
    wait_for(*children)
    record("parent", start=1 + 2 * EACH)


def fork_before_any_record(count: int) -> None:
    metrics()
    wait_for(*[forked(functools.partial(record, f"child {number}")) for number in range(count)])
    record("parent")


def child_of_a_child(count: int) -> None:
    def generation(number: int) -> None:
        record(f"generation {number}")
        if number < count:
            child = forked(lambda: generation(number + 1))
            record(f"generation {number}", start=1 + EACH)
            wait_for(child)

    generation(1)


def with_multiprocessing(method: str, count: int) -> None:
    context = multiprocessing.get_context(method)
    record("parent")
    children = [context.Process(target=record, args=(f"child {number}",)) for number in range(count)]  # type: ignore[attr-defined]
    for child in children:
        child.start()
    record("parent", start=1 + EACH)
    for child in children:
        child.join()
        assert child.exitcode == 0


class Busy:
    """Threads that record without a pause, in ways that take every lock there is: new tags, refusals, rotation."""

    def __init__(self, cells: memoryview, threads: int) -> None:
        self._stopping = threading.Event()
        self._begun = threading.Barrier(threads + 1)
        self._threads = [threading.Thread(target=self._record, args=(cells, cell)) for cell in range(threads)]
        for thread in self._threads:
            thread.start()
        self._begun.wait()

    def _record(self, cells: memoryview, cell: int) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            record_with_all_locks(f"thread {cell}", number)
            cells[cell] = number
            if number == 1:
                self._begun.wait()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()


def record_with_all_locks(who: str, number: int) -> None:
    metrics().increment("fresh", number, tags={"who": who, "number": str(number)})
    if number % 5 == 0:
        metrics().gauge(f"impossible {number % 50}", math.nan)


def slow_disk() -> None:
    """Room for a segment takes a while, so that a rotation is mostly under way."""
    allocate = disk.allocate

    def slowly(fd: int, size_bytes: int) -> None:
        time.sleep(0.01)
        allocate(fd, size_bytes)

    disk.allocate = slowly


def while_threads_record(count: int) -> None:
    cells = Acknowledged(Path("acknowledged"), 2).cells
    busy = Busy(cells, 2)
    for burst in range(0, count, 10):
        children = []
        for number in range(burst, min(burst + 10, count)):
            work = functools.partial(record_fresh, f"child {number}")
            children.append(forked(work))
            time.sleep(random.uniform(0, 0.002))  # at any moment of what the threads do
        wait_for(*children)
    busy.stop()


def record_fresh(who: str) -> None:
    for number in range(1, EACH + 1):
        record_with_all_locks(who, number)


def while_threads_fork(count: int) -> None:
    """Several threads fork at once, and wait for each other and for the thread that records and rotates."""

    slow_disk()

    def fork(thread: int) -> None:
        for number in range(count):
            time.sleep(0.03 - time.monotonic() % 0.03)  # all of them at the same tick
            wait_for(forked(functools.partial(record, f"child {thread}-{number}", count=5)))

    cells = Acknowledged(Path("acknowledged"), 1).cells
    busy = Busy(cells, 1)
    threads = [threading.Thread(target=fork, args=(thread,)) for thread in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    busy.stop()


def while_the_first_record_is_made(count: int) -> None:
    """In another thread, which imports and starts the agent just then. Only once a process: `count` is of no matter."""
    metrics()
    thread = threading.Thread(target=record, args=("parent",))
    thread.start()
    time.sleep(random.uniform(0, 0.03))
    wait_for(forked(lambda: record("child 0")))
    thread.join()


def outliving(count: int) -> None:
    """Children that wait for their parent's death, forked while threads record and deliver. They record afterwards."""
    slow_disk()
    cells = Acknowledged(Path("acknowledged"), 2).cells
    Busy(cells, 2)

    def outlive(number: int) -> None:
        with open("parent is dead"):  # a fifo: opening waits for the other end
            record(f"child {number}")

    for number in range(count):
        forked(functools.partial(outlive, number))
        time.sleep(random.uniform(0, 0.005))
    print("forked", flush=True)
    threading.Event().wait()


SCENARIOS: dict[str, Callable[[int], None]] = {
    "os.fork": os_fork,
    "before any record": fork_before_any_record,
    "child of a child": child_of_a_child,
    **{method: functools.partial(with_multiprocessing, method) for method in ("fork", "spawn", "forkserver")},
    "while threads record": while_threads_record,
    "while threads fork": while_threads_fork,
    "while the first record is made": while_the_first_record_is_made,
    "outliving": outliving,
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](int(sys.argv[2]))
