"""Records so many numbered events and dies of kill -9 with all of them in the spool."""

from __future__ import annotations

import os
import signal
import sys

from tallystick import Metrics


def main() -> None:
    metrics = Metrics(deliver="off")
    for number in range(1, int(sys.argv[1]) + 1):
        metrics.event("event", str(number))
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
