"""A main thread that records, interrupted many times by a signal handler that records, too.

Both come again and again to the places where a lock is taken: new tags, refusals, the end of a segment, a flush.
"""

from __future__ import annotations

import argparse
import math
import signal
from pathlib import Path
from types import FrameType

from tests.acceptance.stage import Acknowledged

from tallystick import Metrics

LONG = "x" * 15_000
"""A few of these fill a segment."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("acknowledged", type=Path)
    parser.add_argument("interruptions", type=int)
    options = parser.parse_args()
    metrics = Metrics(segment_bytes=65_536)
    cells = Acknowledged(options.acknowledged, 2).cells

    def record(who: int) -> None:
        number = cells[who] + 1
        metrics.increment("fresh", number, tags={"who": str(who), "number": str(number)})
        cells[who] = number
        if number % 3 == 0:
            metrics.gauge("impossible", math.nan)
        if number % 4 == 0:
            metrics.event("long", LONG)
        if number % 10 == 0:
            metrics.flush(0.0)

    def interrupt(number: int, frame: FrameType | None) -> None:
        record(1)
        signal.setitimer(signal.ITIMER_REAL, 0.0003)  # only now, or a slow machine would do nothing else

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.0003)
    while cells[1] < options.interruptions:
        record(0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)  # one that is on its way would set the next


if __name__ == "__main__":
    main()
