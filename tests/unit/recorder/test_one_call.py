"""What one call does besides appending a line: nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tallystick.backends import BaseBackend
from tallystick.recorder.metrics import Metrics
from tallystick.records import Value
from tallystick.spool.disk import LockFile

PROBE = """
import json, os, sys, threading, time
from tallystick import Metrics

metrics = Metrics(segment_bytes=8 << 20)
handle = metrics.counter("handle", tags={"plan": "pro"})

def calls():
    metrics.increment("n", tags={"plan": "pro"})
    metrics.gauge("depth", 17)
    metrics.timing("time", 0.25, metadata={"user": "7"})
    metrics.event("deploy", "v42", tags=["release"])
    metrics.custom("hotel", "xml", {"status": "ok"}, id_="2B75")
    metrics.increment("never", float("nan"))
    with metrics.timed("block"):
        handle.inc()

seen, here = [], threading.get_ident()

def hook(event, arguments):
    if threading.get_ident() == here:
        seen.append(event)

calls()  # opens the segment and starts the agent, which starts its sign of life
while "tallystick-pulse" not in {thread.name for thread in threading.enumerate()}:
    time.sleep(0.001)
threads = len(os.listdir("/proc/self/task"))
sys.addaudithook(hook)
for _ in range(1000):
    calls()
during = sorted(set(seen))
os.close(os.open(os.devnull, os.O_RDONLY))
print(json.dumps([during, "open" in seen, len(os.listdir("/proc/self/task")) - threads]))
"""


def test_a_call_opens_no_file_reaches_no_network_and_starts_no_thread(home: Path) -> None:
    """By the interpreter's own audit events, of the thread that calls; another one delivers meanwhile."""
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    during, hook_works, more_threads = json.loads(done.stdout)
    assert during == []
    assert hook_works
    assert more_threads <= 0  # the thread that started the agent's may have ended


class Hanging(BaseBackend):
    """A database that never answers, until the test lets it."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.answer = threading.Event()

    def report(self, name: str, kind: str, value: Value, tags: dict[str, str], id: str) -> None:
        self.asked.set()
        self.answer.wait()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    backend = Hanging()
    yield backend
    backend.answer.set()


CALLS: dict[str, Callable[[Metrics, int], None]] = {
    "the short way": lambda metrics, number: metrics.increment("n", number),
    "the long way": lambda metrics, number: metrics.increment("n", number, metadata={"user": "7"}),
    "a document": lambda metrics, number: metrics.custom("n", "xml", {"number": number}),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_waits_for_no_lock_that_is_held_during_input_or_output(
    home: Path, hanging: Hanging, call: Callable[[Metrics, int], None]
) -> None:
    """The database hangs, and so does whoever rotates, settles or elects: each with its lock in hand."""
    metrics = Metrics(hanging, home=home, pipeline="stuck", segment_bytes=8 << 20)
    metrics.increment("first")
    assert hanging.asked.wait(30)
    folder = metrics._spool.folder  # type: ignore[union-attr]
    recorded = threading.Event()

    def record() -> None:
        for number in range(1000):
            call(metrics, number)
        recorded.set()

    delivering = LockFile(folder.delivering_lock)
    with metrics._spool._lock, metrics._spool.tally.lock:  # type: ignore[union-attr]
        assert delivering.acquire()
        threading.Thread(target=record, daemon=True).start()
        assert recorded.wait(30), "a call waits for a lock"
        delivering.release()
    (segment,) = folder.segment_ids()
    assert folder.segment(segment).read_bytes().rstrip(b"\0").count(b"\n") == 1 + 1 + 1000  # header and first, too
    hanging.answer.set()
    metrics.close(timeout_seconds=0)
