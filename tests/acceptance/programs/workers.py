"""A master with workers: it makes its `Metrics`, records nothing, forks, and waits until all of them are dead.

    python -m tests.acceptance.programs.workers ACKNOWLEDGED WORKERS

Each worker records the numbers 1, 2, 3, … under its own place, and notes after each call that it has returned.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from pathlib import Path

from tests.acceptance.stage import Acknowledged

from tallystick import Metrics


def work(metrics: Metrics, place: int, cells: memoryview) -> None:
    tags = {"who": str(place)}
    for number in itertools.count(1):
        metrics.increment("worked", number, tags=tags)
        cells[place] = number
        time.sleep(0.002)


def main(acknowledged: Path, workers: int) -> None:
    metrics = Metrics(segment_bytes=65_536)
    cells = Acknowledged(acknowledged, workers).cells  # made once: the workers share the map
    pids = []
    for place in range(workers):
        pid = os.fork()
        if pid == 0:
            work(metrics, place, cells)
        pids.append(pid)
    print(*pids, flush=True)
    for _ in pids:
        os.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
