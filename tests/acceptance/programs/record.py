"""Records numbers from several threads, for ever or so many, and notes after each call that it has returned."""

from __future__ import annotations

import argparse
import itertools
import math
import os
import signal
import threading
import time
from pathlib import Path

from tests.acceptance.programs.calls import calls
from tests.acceptance.programs.databases import OwnDatabase
from tests.acceptance.stage import Acknowledged

from tallystick import Metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("acknowledged", type=Path)
    parser.add_argument("--run", default="0")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--count", type=int, default=0, help="so many a thread; without it, for ever")
    parser.add_argument("--pace", type=float, default=math.inf, help="at most so many a second and thread")
    parser.add_argument("--segment-bytes", type=int, default=65_536)
    parser.add_argument("--own-database", type=Path, help="an OwnDatabase there, pipeline own")
    parser.add_argument("--deliver", default="thread")
    parser.add_argument("--then", choices=["leave", "die", "stay"], default="leave")
    options = parser.parse_args()

    own = OwnDatabase(options.own_database) if options.own_database else None
    pipeline = "default" if own is None else "own"
    metrics = Metrics(own, pipeline=pipeline, segment_bytes=options.segment_bytes, deliver=options.deliver)
    cells = Acknowledged(options.acknowledged, options.threads).cells
    start = threading.Barrier(options.threads + 1)

    def record(thread: int) -> None:
        ways = calls(metrics, {"run": options.run, "thread": str(thread)})
        start.wait()
        for number in range(1, options.count + 1) if options.count else itertools.count(1):
            ways[number % len(ways)](number)
            cells[thread] = number
            if number % 20 == 0 and options.pace < math.inf:
                time.sleep(20 / options.pace)

    threads = [threading.Thread(target=record, args=(number,)) for number in range(options.threads)]
    for thread in threads:
        thread.start()
    print("recording", flush=True)
    start.wait()
    for thread in threads:
        thread.join()
    if options.then == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if options.then == "stay":
        print("recorded", flush=True)
        input()


if __name__ == "__main__":
    main()
