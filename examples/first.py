"""Every way to record, and a question. Run it twice: the counts go on."""

from __future__ import annotations

import time

from tallystick import Metrics, Query

metrics = Metrics(app="first-example")

metrics.increment("user.signup", tags={"plan": "pro"})
metrics.increment("cart.items", 3, tags={"plan": "pro"})
metrics.gauge("queue.depth", 17)
metrics.timing("search.time", 0.042)  # seconds
metrics.timing("render.time", 42, unit="ms")
metrics.event("deploy", "v42 is out", tags=["release"])
metrics.custom("hotel.response", "xml", {"status": "ok", "size": 1834}, id_="2B75D750")  # the same id again replaces

with metrics.timed("import.time", tags={"source": "csv"}):
    time.sleep(0.01)


@metrics.timed()  # named module.function
def handler() -> int:
    return sum(range(100_000))


handler()

signups = metrics.counter("user.signup", tags={"plan": "free"})  # a handle, for hot loops
for _ in range(1_000):
    signups.inc()

metrics.flush(timeout_seconds=5)
for series in metrics.query(Query("user.signup", by=["plan"], last="24h")):
    print(series.tags, series.points)
