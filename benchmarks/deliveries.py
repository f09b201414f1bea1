"""What the benchmarks of the databases share: a running server, the lines of a spool, and their delivery."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tallystick.backends import Backend
from tallystick.codec import Reader, encode_header, record_line
from tallystick.records import COUNTER, TIMING, Header, Record

SERVICES = Path(__file__).resolve().parent.parent / "scripts" / "services"
BATCH = 5_000
START_NS = 1_749_988_800_000_000_000

Piece = tuple[bytes, int]


@contextmanager
def server(name: str) -> Iterator[str]:
    """The URL of a running server, which is stopped afterwards if this has started it."""
    script = str(SERVICES / name)
    running = subprocess.run([script, "status"], check=False, capture_output=True).returncode == 0
    url = subprocess.run([script, "start"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
    try:
        yield url
    finally:
        if not running:
            subprocess.run([script, "stop"], check=True)


def spool(count: int) -> tuple[Header, list[Piece]]:
    """A segment's lines in pieces of a batch, each with its place: two tags, a hundred series, a timing in four."""
    header = Header(1, "0198f3aa5b0c7d1e8f00112233445566", "web-1", 4242, "shop", START_NS, {"env": "prod"})
    place = len(encode_header(header))
    pieces = []
    for first in range(0, count, BATCH):
        raw = b"".join(record_line(record(index), header.tags) for index in range(first, min(first + BATCH, count)))
        pieces.append((raw, place))
        place += len(raw)
    return header, pieces


def record(index: int) -> Record:
    plan, route = ("free", "pro", "team", "trial", "gone")[index % 5], f"/route/{index * 7 % 20}"
    tags = {"env": "prod", "plan": plan, "route": route}
    if index % 4 == 0:
        return Record(START_NS + index * 50_000, TIMING, "request.time", index % 997 / 1000, tags)
    return Record(START_NS + index * 50_000, COUNTER, "hits", 1, tags)


def deliver(backend: Backend, header: Header, pieces: list[Piece]) -> float:
    """Seconds to decode all lines and write them into a backend that is open."""
    reader = Reader(header)
    began = time.perf_counter()
    for raw, start in pieces:
        batch, damaged = reader.batch(raw, start)
        result = backend.write(batch)
        if damaged or result.rejected or result.kept:
            raise SystemExit("records were damaged, rejected or kept")
    return time.perf_counter() - began
