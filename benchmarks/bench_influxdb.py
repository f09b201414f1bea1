"""Spool to InfluxDB against the same lines ready-made, and against the official client's batching writer.

The peer of the delivery is the same HTTP sending the same bodies, made beforehand: nothing is read from a spool and no
line is made.
End to end is from the call that records to the moment when all is on the server: ours by `Metrics` into a spool and
then by an agent as `tallystick agent` runs it, one after the other; the client's by `Point`s through `WriteApi` as it
batches by itself, which records and sends at the same time.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from itertools import count as numbers
from urllib.parse import urlsplit

from deliveries import BATCH, deliver, server, spool
from harness import Figure, Options, compare, main, take_turns, temporary_folder
from influxdb_client import InfluxDBClient, Point

from tallystick import Metrics
from tallystick.backends.influxdb import InfluxdbBackend
from tallystick.backends.influxdb.influxql import identifier
from tallystick.backends.influxdb.lines import Native
from tallystick.backends.influxdb.servers import Server1, Server2
from tallystick.codec import Reader
from tallystick.pipelines.agents import spool_agent
from tallystick.spool.folder import Folder

BATCHES = 10
END_TO_END = 50_000
TOKEN = "tallystick-token"
PLANS = ("free", "pro", "team", "trial", "gone")

_names = numbers()


def url_of(version: int, server_url: str) -> str:
    """A database that does not exist yet."""
    port = urlsplit(server_url).port
    name = f"bench-{time.time_ns():x}-{next(_names)}"
    options = "" if version == 1 else "?org=tallystick&token_env=TALLYSTICK_BENCH_TOKEN"
    return f"influxdb{'' if version == 1 else version}://127.0.0.1:{port}/{name}{options}"


def opened(version: int, server_url: str) -> InfluxdbBackend:
    backend = InfluxdbBackend.from_url(url_of(version, server_url))
    backend.open()
    return backend


def drop(backend: InfluxdbBackend, count: int) -> None:
    stored = sum(index["records"] for index in backend.indices())
    if stored != count:
        raise SystemExit(f"{count} records were delivered and {stored} are there")
    backend.open()
    place = backend._server
    if isinstance(place, Server1):
        place.ask([f"DROP DATABASE {identifier(place.database)}"])
    elif isinstance(place, Server2):
        place._api("DELETE", f"buckets/{place._place['bucket']}", {})
    backend.close()


def delivery(version: int, server_url: str, options: Options) -> Figure:
    header, pieces = spool(options.scaled(BATCH * BATCHES))
    count = sum(raw.count(b"\n") for raw, _ in pieces)
    shape, reader = Native(), Reader(header)
    bodies = ["\n".join(shape.lines(reader.batch(raw, start)[0])[0]).encode() for raw, start in pieces]

    def ours() -> float:
        backend = opened(version, server_url)
        seconds = deliver(backend, header, pieces)
        drop(backend, count)
        return seconds / count

    def ready() -> float:
        backend = opened(version, server_url)
        assert backend._server is not None
        began = time.perf_counter()
        for body in bodies:
            if not backend._server.write(body).ok:
                raise SystemExit("lines were refused")
        seconds = time.perf_counter() - began
        drop(backend, count)
        return seconds / count

    took = take_turns(options.rounds, {"ours": ours, "ready": ready})
    us = {job: statistics.median(took[job]) * 1e6 for job in took}
    size = sum(map(len, bodies)) / count
    return compare(
        f"spool to InfluxDB {version} / the same lines ready-made, records a second",
        took["ready"],
        took["ours"],
        0.65,
        better="higher",
        note=f"{us['ours']:.1f} us a record against {us['ready']:.1f} us, {size:.0f} bytes a line",
    )


def end_to_end(server_url: str, options: Options) -> Figure:
    count = options.scaled(END_TO_END)

    def ours() -> float:
        url = url_of(2, server_url)
        backend = InfluxdbBackend.from_url(url)
        with temporary_folder() as home:
            began = time.perf_counter()
            with Metrics(url, home=home, deliver="off", exit_timeout_seconds=0, tags={"env": "prod"}) as metrics:
                for index in range(count):
                    metrics.increment("hits", tags={"plan": PLANS[index % 5], "route": f"/route/{index % 20}"})
            (pipeline,) = home.iterdir()
            if not spool_agent(Folder(home, pipeline.name), backend).run("empty"):
                raise SystemExit("not all was delivered")
            seconds = time.perf_counter() - began
        drop(backend, count)
        return seconds / count

    def client() -> float:
        backend = opened(2, server_url)
        place = urlsplit(url_of(2, server_url))
        began = time.perf_counter()
        with InfluxDBClient(url=f"http://{place.netloc}", token=TOKEN, org="tallystick") as client:
            with client.write_api() as writer:
                for index in range(count):
                    point = Point("hits").tag("env", "prod").tag("plan", PLANS[index % 5])
                    point.tag("route", f"/route/{index % 20}").field("value", 1.0).time(time.time_ns())
                    writer.write(backend._url.name, record=point)
            seconds = time.perf_counter() - began
        assert backend._server is not None
        counted = backend._server.ask(['SELECT count("value") FROM "hits"'])[0][0].values[0][1]
        if counted < count * 0.99:  # equal points of one nanosecond are one
            raise SystemExit(f"the client lost {count - counted} of {count} points")
        drop(backend, 0)
        return seconds / count

    took = take_turns(options.rounds, {"ours": ours, "client": client})
    return compare(
        "end to end to InfluxDB 2 against influxdb-client's batching writer",
        took["client"],
        took["ours"],
        5,
        better="higher",
        note=f"{statistics.median(took['ours']) * 1e6:.1f} us a record"
        f" against {statistics.median(took['client']) * 1e6:.1f} us",
    )


def measure(options: Options) -> Iterator[Figure]:
    os.environ["TALLYSTICK_BENCH_TOKEN"] = TOKEN
    with server("influxdb1") as url:
        yield delivery(1, url, options)
    with server("influxdb2") as url:
        yield delivery(2, url, options)
        yield end_to_end(url, options)


if __name__ == "__main__":
    main("InfluxDB", measure)
