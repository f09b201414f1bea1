"""The writers of test_spool_limit.py: `… fill_spool WHEN_FULL LIMIT_BYTES COUNT NAME…` records COUNT of each name.

Each line on its standard input makes it do that once ("again N": N instead of COUNT) and say what it has dropped.
"""

from __future__ import annotations

import json
import sys
from typing import Any, cast

from tallystick import Metrics


def main(when_full: str, limit_bytes: int, count: int, names: list[str]) -> None:
    metrics = Metrics(
        deliver="off",
        segment_bytes=65_536,
        spool_limit_bytes=limit_bytes,
        when_full=cast("Any", when_full),
        block_timeout_seconds=0.3,
        app="limit",
    )
    print("ready", flush=True)
    while line := sys.stdin.readline():
        word, _, number = line.strip().partition(" ")
        if word == "close":
            metrics.close()
            print("closed", flush=True)
            return
        for index in range(int(number or count)):
            for name in names:
                metrics.increment(name, index, tags={"plan": "pro"})
        dropped = [[reason, name, found] for (reason, name), found in metrics.dropped.items()]
        print(f"recorded {json.dumps(dropped)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
