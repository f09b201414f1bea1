"""A process that merely ended is not held against the records that it was delivering."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.agent.attempt import Attempt
from tallystick.spool.folder import Folder

PROGRAM = """
import os, signal, sys, time
from tallystick import Metrics
from tallystick.backends.memory import MemoryBackend
home, way = sys.argv[1:]
class Hangs(MemoryBackend):
    inline = False
    address = "hangs"
    def write(self, batch):
        ready.write("x")
        ready.close()
        time.sleep(60)
end, start = os.pipe()
ready = os.fdopen(start, "w")
if way == "child" and (child := os.fork()):
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
metrics = Metrics(Hangs(), home=home, pipeline="hangs")
metrics.increment("n")
os.read(end, 1)
if way == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
os._exit(7)
"""


@pytest.mark.parametrize("way", ["exit", "child", "kill"])
def test_a_process_that_leaves_by_os_exit_accuses_no_record(way: str, home: Path) -> None:
    """One that dies by a signal does."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(home), way], timeout=60)
    assert done.returncode == (-signal.SIGKILL if way == "kill" else 7)
    attempt = Attempt(Folder(home, "hangs"))
    assert bool(attempt._suspects) == (way == "kill")


def test_os_exit_is_replaced_once() -> None:
    from tallystick.agent import leaving

    before = os._exit
    try:
        leaving.watch(lambda: None)
        replaced = os._exit
        leaving.watch(lambda: None)
        assert os._exit is replaced
    finally:
        os._exit = before
