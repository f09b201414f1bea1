"""Records good things, things that the database will reject, and things that are refused; says how many of each, and
dies of kill -9 with all of them in the spool.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections import Counter

from tests.acceptance.programs.calls import calls

from tallystick import Metrics


def main() -> None:
    run, count = sys.argv[1], int(sys.argv[2])
    metrics = Metrics(deliver="off", segment_bytes=65_536)
    ways = calls(metrics, {"run": run})
    recorded: Counter[str] = Counter()
    for number in range(1, count + 1):
        ways[number % len(ways)](number)
        recorded["good"] += 1
        if number % 90 == 0 and number <= count // 2:  # each makes the agent save, which hides something
            metrics.increment("bad", number)
            recorded["bad"] += 1
        if number % 70 == 0:
            metrics.gauge("impossible", math.nan)
            recorded["refused"] += 1
    print(json.dumps(recorded), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
