"""What the benchmarks of Elasticsearch and OpenSearch share: records, ready bulk bodies, rounds against a real server.

The peer of the delivery is the driver's own `bulk` with the body of the same documents made beforehand: nothing is
read from a spool, no document is made, and the server does the same work for both. Ours does all of it from the spool's
bytes on. A bulk call's answer says of each item what became of it; the driver's is asked for whole, as people get it,
and once more cut down to the statuses, as ours is.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count as numbers
from typing import Any

import msgspec
from deliveries import BATCH, record, spool
from harness import Figure, Options, compare, take_turns

from tallystick.backends.search.backend import SearchBackend
from tallystick.backends.search.bulk import PARAMETERS
from tallystick.codec import Reader, record_line

BATCHES = 10
ONE_BY_ONE = 300


@dataclass(frozen=True)
class Peer:
    """How the driver does it: `bulk(index, body, parameters)` and `index_one(index, id, document)`; true when all went
    well."""

    name: str
    bulk: Callable[[str, bytes, dict[str, str]], bool]
    index_one: Callable[[str, str, dict[str, Any]], bool]


def figures(options: Options, make: Callable[[str], SearchBackend], peer: Peer) -> Iterator[Figure]:
    header, pieces = spool(options.scaled(BATCH * BATCHES))
    count = sum(raw.count(b"\n") for raw, _ in pieces)
    turns = numbers()

    def fresh() -> SearchBackend:
        """An empty store of its own whose index of the day is there already."""
        backend = make(f"bench-{time.time_ns():x}-{next(turns)}")
        backend.open()
        first, _ = Reader(header).batch(record_line(record(0), header.tags), 10**9)
        assert not backend.write(first).rejected
        return backend

    def drop(backend: SearchBackend) -> None:
        backend._opened().ask("POST", f"/{backend.index}/_refresh")
        stored = sum(index["records"] for index in backend.indices())
        assert stored == 1 + count, f"{stored} documents of {count} and the first one"
        for index in backend.indices():
            backend._opened().ask("DELETE", f"/{index['name']}")
        backend._opened().ask("DELETE", f"/_index_template/{backend.index}")
        backend.close()

    def ours() -> float:
        backend = fresh()
        reader = Reader(header)
        began = time.perf_counter()
        for raw, start in pieces:
            batch, damaged = reader.batch(raw, start)
            result = backend.write(batch)
            assert not damaged
            assert not result.rejected
            assert not result.kept
        seconds = time.perf_counter() - began
        drop(backend)
        return seconds / count

    def ready_made(parameters: dict[str, str]) -> float:
        backend = fresh()
        bodies = []
        for raw, start in pieces:
            index, lines, _, _ = backend.shape.lines(Reader(header).batch(raw, start)[0])
            bodies.append((index, "".join(lines).encode()))
        began = time.perf_counter()
        for index, body in bodies:
            assert peer.bulk(index, body, parameters)
        seconds = time.perf_counter() - began
        drop(backend)
        return seconds / count

    def one_by_one() -> float:
        backend = fresh()
        index, lines, _, _ = backend.shape.lines(Reader(header).batch(*pieces[0])[0])
        documents = [document(line) for line in lines[: options.scaled(ONE_BY_ONE)]]
        began = time.perf_counter()
        for number, body in enumerate(documents):
            assert peer.index_one(index, f"one-{number}", body)
        seconds = time.perf_counter() - began
        for name in (i["name"] for i in backend.indices()):
            backend._opened().ask("DELETE", f"/{name}")
        backend._opened().ask("DELETE", f"/_index_template/{backend.index}")
        backend.close()
        return seconds / len(documents)

    statuses = dict([PARAMETERS.split("=", 1)])
    jobs = {
        "ours": ours,
        "whole": lambda: ready_made({}),
        "statuses": lambda: ready_made(statuses),
        "one": one_by_one,
    }
    times = take_turns(options.rounds, jobs)

    def against(what: str, peers: str, goal: float) -> Figure:
        us = {job: statistics.median(times[job]) * 1e6 for job in ("ours", peers)}
        note = f"{us['ours']:.1f} us a record against {us[peers]:.1f} us"
        name = f"spool to {peer.name} against {what}"
        return compare(name, times[peers], times["ours"], goal, better="higher", note=note)

    yield against("its ready-made bulk", "whole", 0.80)
    yield against("the same, answered by statuses alone", "statuses", 0.80)
    yield against("one index() a record", "one", 60)


def document(lines: str) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(lines.split("\n")[1])
    return decoded
