"""Records waiting in a spool, and who delivers them: for the benchmarks that need something to deliver."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from contestants import PAIRS, spooling

from tallystick.agent import report
from tallystick.spool.folder import Folder

RECORD_BYTES = 85
"""About what a record of `fill` takes in the spool."""


def fill(home: Path, count: int) -> None:
    """Record `count` counts with two tags, delivered by nobody."""
    with spooling(home) as metrics:
        handles = [metrics.counter("backlog.item", tags={"plan": plan, "region": region}) for plan, region in PAIRS]
        for _ in range(count // len(handles)):
            for handle in handles:
                handle.inc()


def pending_bytes(home: Path) -> int:
    """What the segments take on the disk; one that is being written, or read, counts whole."""
    return Folder(home).size_bytes()


def delivered_since(home: Path, moment: float) -> bool:
    """Whether an agent wrote to its backend after this moment (epoch seconds). It says so once a second."""
    heartbeat = report.read(Folder(home))
    return heartbeat is not None and heartbeat.last_delivered > moment


def wait_for_delivery(home: Path, since: float, timeout_seconds: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not delivered_since(home, since):
        if time.monotonic() > deadline:
            raise SystemExit(f"nobody delivered from {home} within {timeout_seconds} s")
        time.sleep(0.01)


def environment(home: Path) -> dict[str, str]:
    """For a process of ours: this home, and no settings of whoever runs the benchmark."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TALLYSTICK_")}
    return {**kept, "TALLYSTICK_HOME": str(home)}


def start_agent(home: Path) -> subprocess.Popen[str]:
    """`tallystick agent` for this home."""
    command = [sys.executable, "-m", "tallystick", "agent"]
    return subprocess.Popen(command, env=environment(home), cwd=home, stderr=subprocess.DEVNULL, text=True)
