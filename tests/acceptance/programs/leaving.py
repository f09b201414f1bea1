"""Records quickly, says when it has recorded the last one, and leaves in one of many ways.

It delivers in a thread of its own to a database that answers after some seconds (`inf`: never).
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from pathlib import Path

from tests.acceptance.programs.databases import OwnDatabase

from tallystick import Metrics
from tallystick.contracts import Delivery
from tallystick.spool.source import SpoolSource


def look_slowly() -> threading.Event:
    """Set when the agent has found nothing to deliver, for the first time and for a while not knowing more."""
    receive = SpoolSource.receive
    looked = threading.Event()

    def slowly(source: SpoolSource, limit: int, timeout_seconds: float = 0.0) -> Delivery | None:
        found = receive(source, limit, timeout_seconds)
        if found is None:
            looked.set()
            time.sleep(0.3)
        return found

    SpoolSource.receive = slowly  # type: ignore[method-assign, assignment]
    return looked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database", type=Path)
    parser.add_argument("how", choices=["end", "sigterm", "sigterm and handler", "exception", "thread", "interrupt"])
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--pipeline", default="own")
    parser.add_argument("--run", default="0")
    parser.add_argument("--slow-look", action="store_true", help="the agent is slow when it has found nothing")
    options = parser.parse_args()
    looked = look_slowly() if options.slow_look else None
    if options.how == "sigterm and handler":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    metrics = Metrics(OwnDatabase(options.database, seconds=options.seconds), pipeline=options.pipeline)

    def record() -> None:
        tags = {"run": options.run}
        for number in range(1, options.count + 1):
            metrics.increment("left", number, tags=tags)
            if number == 1 and looked is not None:
                looked.wait()
        print("recorded", time.monotonic(), flush=True)
        if options.how == "thread":
            sys.exit("this thread leaves, and with it the process")

    if options.how == "thread":
        thread = threading.Thread(target=record)
        thread.start()
        thread.join()
    else:
        record()
    if options.how == "exception":
        raise RuntimeError("nobody catches this")
    if options.how.startswith("sigterm") or options.how == "interrupt":
        while True:
            time.sleep(0.1)  # a signal right before it waits would find `signal.pause` deaf


if __name__ == "__main__":
    main()
