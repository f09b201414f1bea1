"""Delivery does not depend on this process having recorded, and what `flush` says is true."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.recorder.metrics import Metrics
from tallystick.spool.account import account
from tallystick.spool.folder import Folder

KILLED = (
    "import os; from tallystick import Metrics; m = Metrics(deliver='off'); m.increment('a'); os.kill(os.getpid(), 9)"
)
NEXT = "from tallystick import Metrics; m = Metrics(); "
LATE = """
import atexit, logging, threading, time
def last(name):
    metrics.increment(name)
atexit.register(last, "atexit")
class Handler(logging.Handler):
    def close(self):
        last("logging")
        super().close()
handler = Handler()
from tallystick import Metrics
metrics = Metrics()
metrics.increment("first")
class Last:
    def __del__(self):
        last("del")
kept = Last()
"""


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


@pytest.mark.parametrize("asks", ["print(m.flush(20))", "m.close(20)", "pass"])
def test_a_process_that_records_nothing_delivers_what_waits(asks: str, home: Path) -> None:
    run(KILLED)
    assert account(Folder(home)).pending.total() == 1
    assert run(NEXT + asks) == ("True\n" if "flush" in asks else "")
    assert account(Folder(home)).delivered == {"a": 1}


def test_flush_is_not_true_while_records_of_a_dead_process_wait(home: Path) -> None:
    run(KILLED)
    with Metrics(home=home, deliver="off") as metrics:
        assert not metrics.flush(0)


def test_flush_is_not_true_when_a_record_was_dropped(home: Path) -> None:
    with Metrics(home=home, segment_bytes=65_536, spool_limit_bytes=65_536 * 2) as metrics:
        metrics.increment("n")
        assert metrics.flush(30)
        metrics.event("too large", "x" * 20_000)
        metrics._spool.tally.add("dropped", "spool_limit", "n")
        assert not metrics.flush(30)
        assert metrics.flush(30)


def test_records_of_the_last_moments_are_kept_for_the_next_process(home: Path) -> None:
    """Only `close` ends recording, not the interpreter's exit."""
    assert run(LATE) == ""
    books = account(Folder(home))
    assert books.delivered == {"first": 1}
    assert {"atexit", "logging"} <= set(books.pending)
    assert not books.dropped
    run(NEXT)
    assert not account(Folder(home)).pending
