"""The things that the calls are measured against, each set up as its documentation says, and our own `Metrics`.

Every contestant gets the same calls: `calls` walks through 20 pairs of tag values, all seen before the clock starts, so
what is measured is the steady state. What would slow a peer down without belonging to its call is left out:
OpenTelemetry has a reader that never exports, statsd's server does nothing with what it receives, and nothing collects
from Prometheus.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from time import perf_counter

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, Counter, Histogram, values
from statsd import StatsClient

from tallystick import Metrics
from tallystick.codec import decode_lines
from tallystick.spool.folder import Folder

PAIRS = list(product(("free", "pro", "team", "edu"), ("eu", "us", "asia", "africa", "oceania")))

Pairs = list[tuple[str, str]]
Call = Callable[[Pairs], None]


def calls(count: int) -> Pairs:
    return [PAIRS[i % len(PAIRS)] for i in range(count)]


def per_call(call: Call, count: int) -> Callable[[], float]:
    """A job for `take_turns`: the seconds that one call takes, the loop around it included."""
    pairs = calls(count)

    def job() -> float:
        began = perf_counter()
        call(pairs)
        return (perf_counter() - began) / count

    return job


@contextmanager
def spooling(home: Path) -> Iterator[Metrics]:
    """Metrics that record into a spool on the disk while nobody delivers. At the end every accepted record must be
    there.
    """
    metrics = Metrics(home=home, app="bench", deliver="off", spool_limit_bytes=64 << 30)
    yield metrics
    metrics.close()
    if metrics.dropped or metrics.refused:
        raise SystemExit(f"not every record was stored: {metrics.dropped} {metrics.refused}")


def stored(home: Path) -> int:
    """How many whole, readable records are in the spool."""
    total = 0
    for path in Folder(home).segments.glob("*.jsonl"):
        raw = path.read_bytes().rstrip(b"\0")
        first = raw.index(b"\n") + 1
        lines, _, damaged = decode_lines(raw[first:], first)
        if damaged or not raw.endswith(b"\n"):
            raise SystemExit(f"{path} has damaged lines: {damaged[:3]}")
        total += len(lines)
    return total


def prometheus_counter() -> Counter:
    counter = Counter("user_signup", "Signups", ["plan", "region"], registry=CollectorRegistry())
    for pair in PAIRS:
        counter.labels(*pair).inc()
    return counter


def prometheus_histogram() -> Histogram:
    histogram = Histogram("request_time", "Requests", ["plan", "region"], registry=CollectorRegistry())
    for pair in PAIRS:
        histogram.labels(*pair).observe(0.1)
    return histogram


def prometheus_multiprocess_counter(folder: Path) -> Counter:
    """A counter whose values are in a mapped file, as gunicorn's workers use it.

    The client chooses once, at its import, by this variable; its values are made when labels are first seen. So both
    modes can stand in one process when the choice is changed only while these values are made.
    """
    before = values.ValueClass
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue()
    try:
        return prometheus_counter()
    finally:
        values.ValueClass = before
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def opentelemetry_call() -> Call:
    counter = MeterProvider([InMemoryMetricReader()]).get_meter("bench").create_counter("user.signup")

    def add(pairs: Pairs) -> None:
        for plan, region in pairs:
            counter.add(1, {"plan": plan, "region": region})

    return add


STATSD_SERVER = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("127.0.0.1", 0))
    print(server.getsockname()[1], flush=True)
    while True:
        server.recv(65536)
"""


@contextmanager
def statsd_call() -> Iterator[Call]:
    """Over UDP to a process of this host that receives the packets and does nothing with them."""
    with subprocess.Popen([sys.executable, "-c", STATSD_SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        client = StatsClient("127.0.0.1", port)

        def incr(pairs: Pairs) -> None:
            for plan, region in pairs:
                client.incr(f"user.signup.{plan}.{region}")

        yield incr
        client.close()
        server.terminate()


@contextmanager
def logging_call(folder: Path) -> Iterator[Call]:
    """To a file, with time, level and logger's name in the line; the handler flushes each line to the kernel."""
    logger = logging.getLogger("bench.file")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    handler = logging.FileHandler(folder / "app.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger.addHandler(handler)

    def info(pairs: Pairs) -> None:
        for plan, region in pairs:
            logger.info("user.signup plan=%s region=%s", plan, region)

    yield info
    logger.removeHandler(handler)
    handler.close()
