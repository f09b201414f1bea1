"""gevent and eventlet, patched before or after the import: delivery is a thread of the operating system, so that a
database that stands still stops no greenlet.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

PROGRAM = """
import faulthandler, os, sys, time
library, when = sys.argv[1:]
def patch():
    if library == "gevent":
        from gevent import monkey
        monkey.patch_all()
    else:
        import eventlet
        eventlet.monkey_patch()
if when == "before":
    patch()
import sqlite3
from tallystick import Metrics
metrics = Metrics(exit_timeout_seconds=5)
metrics.increment("boot")
assert metrics.flush(10)
if when == "after":
    patch()
import importlib
sleep = importlib.import_module(library).sleep
faulthandler.dump_traceback_later(20, exit=True)
database = os.path.join(metrics.settings.home, "default", "records.db")
lock = sqlite3.connect(database, isolation_level=None)
lock.execute("BEGIN IMMEDIATE")                     # for 1 s SQLite is another's
longest, began = 0.0, time.monotonic()
while time.monotonic() - began < 1:
    before = time.monotonic()
    metrics.increment("hits")
    sleep(0.01)
    longest = max(longest, time.monotonic() - before)
lock.execute("ROLLBACK")
lock.close()
before, turns = time.monotonic(), []
importlib.import_module(library).spawn(lambda: [turns.append(sleep(0.01)) for _ in range(5)])
assert metrics.flush(10), "flush"                   # other greenlets go on meanwhile
sleep(0.1)
assert len(turns) == 5, turns
print(longest)
metrics.close()
"""


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_no_greenlet_stands_still_while_the_database_does(library: str, when: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, library, when],
        env={"TALLYSTICK_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout) < 0.5
    with closing(sqlite3.connect(tmp_path / "default" / "records.db")) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")]
    assert tables
