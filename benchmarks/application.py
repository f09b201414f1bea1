"""An application that does what it is told on standard input and says how long each piece of work took.

python application.py HOME thread|off
request 40      →  [1523417, …]     nanoseconds, one number a request
loop 10000      →  [612, …]         nanoseconds, one number a call of `increment`
"""

from __future__ import annotations

import json
import sys
import time
from time import perf_counter_ns

from tallystick import Metrics

ORDER = {
    "order": 83121,
    "customer": {"name": "Ada", "plan": "pro", "region": "eu"},
    "lines": [{"sku": f"A-{i:05}", "count": i % 4 + 1, "price": 9.99 * (i % 7 + 1)} for i in range(40)],
}
BODY = json.dumps(ORDER)


def request(metrics: Metrics) -> str:
    """About half a millisecond of work, three records, and a millisecond of waiting for something else."""
    with metrics.timed("request.time", tags={"route": "/orders", "method": "POST"}):
        order = json.loads(BODY)
        total = sum(line["count"] * line["price"] for line in order["lines"])
        metrics.increment("orders", tags={"plan": order["customer"]["plan"], "region": order["customer"]["region"]})
        metrics.gauge("orders.total", total, tags={"region": order["customer"]["region"]})
        time.sleep(0.001)
        return json.dumps({**order, "total": total})


def increment(metrics: Metrics) -> None:
    metrics.increment("user.signup", tags={"plan": "pro", "region": "eu"})


def main(home: str, deliver: str) -> None:
    works = {"request": request, "loop": increment}
    with Metrics(home=home, deliver=deliver, spool_limit_bytes=64 << 30, exit_timeout_seconds=0) as metrics:
        for command in sys.stdin:
            word, count = command.split()
            work, took = works[word], []
            for _ in range(int(count)):
                began = perf_counter_ns()
                work(metrics)
                took.append(perf_counter_ns() - began)
            print(json.dumps(took), flush=True)
    if metrics.dropped or metrics.refused:
        raise SystemExit(f"not every record was stored: {metrics.dropped} {metrics.refused}")


if __name__ == "__main__":
    main(*sys.argv[1:])
