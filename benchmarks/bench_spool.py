"""The spool on the disk: the bytes of a record, and a start with five million records waiting.

*Bytes a record*: 60,000 counts with two tags each, recorded as the other benchmarks do; the size of the sealed
segments, headers included, by the number of their records.

*Start with a backlog*, as an application with a delivering thread and as `tallystick agent`, each a fresh process, and
each round with an empty spool, too, for comparison:

- ready: from before `Metrics(…)` to after its first `increment`. An agent process has no such moment.
- first delivery: from the same moment (for the agent from its command's start, imports and all) until SQLite shows the
  first row to another connection.
- extra memory: the largest resident size in the first seconds of delivery, less that of the same process with an empty
  spool.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from backlog import environment, fill, start_agent
from contestants import PAIRS, calls, spooling, stored
from harness import Figure, Options, main, temporary_folder

from tallystick.spool.folder import Folder

RECORDS = 60_000
BACKLOG = 5_000_000
WATCHED_SECONDS = 3.0
ROUNDS = 7

APPLICATION = """
import sys, time
from tallystick import Metrics
began = time.time()
metrics = Metrics(spool_limit_bytes=64 << 30, exit_timeout_seconds=0)
metrics.increment("start", tags={"plan": "pro", "region": "eu"})
print(began, time.time() - began, flush=True)
sys.stdin.read()
"""


def bytes_a_record() -> Figure:
    with temporary_folder() as folder:
        with spooling(folder) as metrics:
            for plan, region in calls(RECORDS):
                metrics.increment("user.signup", tags={"plan": plan, "region": region})
        size = sum(path.stat().st_size for path in Folder(folder).segments.glob("*.jsonl"))
        found = stored(folder)
    if found != RECORDS:
        raise SystemExit(f"{RECORDS} records were recorded and {found} are in the spool")
    return Figure("bytes a record in the spool, two tags", size / found, 90, note="sealed segments, headers included")


def first_row(database: Path, timeout_seconds: float = 60.0) -> float:
    """The moment (epoch seconds) at which the first row of a delivered record is there to be read."""
    deadline = time.time() + timeout_seconds
    while time.time() < deadline:
        if database.exists():
            connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=0.1)
            try:
                if connection.execute("SELECT 1 FROM records LIMIT 1").fetchone():
                    return time.time()
            except sqlite3.OperationalError:  # not made yet
                pass
            finally:
                connection.close()
        time.sleep(0.005)
    raise SystemExit(f"nothing was delivered into {database} within {timeout_seconds} s")


def largest_bytes(process: subprocess.Popen[str], seconds: float) -> int:
    """The largest resident size so far, after so many more seconds."""
    time.sleep(seconds)
    status = Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def application(home: Path, watched_seconds: float) -> tuple[float, float, int]:
    """Seconds until it was ready, seconds until its first delivery, largest bytes."""
    with subprocess.Popen(
        [sys.executable, "-c", APPLICATION],
        env=environment(home),
        cwd=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        delivered = first_row(Folder(home).database)
        began, ready = map(float, process.stdout.readline().split())
        memory = largest_bytes(process, watched_seconds)
        process.kill()
    return ready, delivered - began, memory


def agent(home: Path, watched_seconds: float) -> tuple[float, int]:
    """Seconds until the first delivery, largest bytes."""
    began = time.time()
    with start_agent(home) as process:
        delivered = first_row(Folder(home).database)
        memory = largest_bytes(process, watched_seconds)
        process.kill()
    return delivered - began, memory


def snapshot(home: Path, folder: Path) -> Path:
    """Another home with the same segments, by hard links: what is delivered from it is still in the first."""
    source, copy = Folder(home), Folder(folder).open()
    for identity in source.segment_ids():
        os.link(source.segment(identity), copy.segment(identity))
    return folder


def backlog_figures(options: Options) -> Iterator[Figure]:
    count = options.scaled(BACKLOG)
    watched = WATCHED_SECONDS / (3 if options.quick else 1)
    what = f"backlog of {count / 1e6:g} M"
    ready, application_first, application_memory, agent_first, agent_memory = [], [], [], [], []
    with temporary_folder() as folder:
        fill(folder / "full", count)
        fill(folder / "empty", len(PAIRS))
        for number in range(min(options.rounds, ROUNDS)):
            homes = [snapshot(folder / kind, folder / f"{kind} {number}") for kind in ("full", "empty")]
            full, empty = (application(home, watched) for home in homes)
            ready.append(full[0])
            application_first.append(full[1])
            application_memory.append(full[2] - empty[2])
            for home in homes:
                shutil.rmtree(home)
            homes = [snapshot(folder / kind, folder / f"{kind} {number}") for kind in ("full", "empty")]
            first, memory = agent(homes[0], watched)
            agent_first.append(first)
            agent_memory.append(memory - agent(homes[1], watched)[1])
            for home in homes:
                shutil.rmtree(home)
    yield figure(f"{what}, application: ready", ready, 1.0, " s")
    yield figure(f"{what}, application: first delivery", application_first, 2.0, " s")
    yield figure(f"{what}, application: extra memory", [size / 1e6 for size in application_memory], 64, " MB")
    yield figure(f"{what}, agent process: first delivery", agent_first, 2.0, " s")
    yield figure(f"{what}, agent process: extra memory", [size / 1e6 for size in agent_memory], 64, " MB")


def figure(name: str, found: list[float], goal: float, unit: str) -> Figure:
    return Figure(name, statistics.median(found), goal, unit=unit, low=min(found), high=max(found))


def measure(options: Options) -> Iterator[Figure]:
    yield bytes_a_record()
    yield from backlog_figures(options)


if __name__ == "__main__":
    main("the spool on the disk", measure)
