"""The writer of test_disk_full.py, run where a small disk is mounted: `… full_disk DISK COUNT`.

Prints what it found as JSON; it asserts nothing.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.acceptance.latency import Latencies

from tallystick.backends.base import WriteResult
from tallystick.backends.memory import MemoryBackend
from tallystick.pipelines.agents import spool_agent
from tallystick.recorder.metrics import Metrics
from tallystick.records import Batch
from tallystick.spool.account import account
from tallystick.spool.dead import DeadLetters
from tallystick.spool.folder import Folder
from tallystick.spool.positions import Positions
from tallystick.spool.source import SpoolSource

NAMES = ("order.placed", "order.paid", "order.bad")
SEGMENT_BYTES = 1 << 16


class Elsewhere(MemoryBackend):
    """A database that needs nothing of this disk; "order.bad" is rejected."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[str, tuple[str, Any]] = {}

    def write(self, batch: Batch) -> WriteResult:
        rejected = {i: "bad" for i, record in enumerate(batch.records) if record.name == "order.bad"}
        for i, record in enumerate(batch.records):
            if i not in rejected:
                self.stored.setdefault(record.id, (record.name, record.value))
        return WriteResult(rejected)


def fill(path: Path) -> None:
    """Take all room there is, to the last byte."""
    with open(path, "ab", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue


def free_bytes(path: Path) -> int:
    room = os.statvfs(path)
    return room.f_bavail * room.f_frsize


class Writer:
    """Records numbered values, and knows how many of which name it asked for."""

    def __init__(self, home: Path) -> None:
        self.metrics = Metrics(home=home, deliver="off", segment_bytes=SEGMENT_BYTES, fsync="never", app="shop")
        self.asked: Counter[str] = Counter()
        self.latencies = Latencies()

    def write(self, count: int) -> None:
        for index in range(count):
            name = NAMES[2] if index % 1000 == 999 else NAMES[index % 2]
            self.asked[name] += 1
            self.latencies.call(self.metrics.increment, name, sum(self.asked.values()), tags={"plan": "pro"})


def main(disk: Path, count: int) -> None:
    filler, folder, backend = disk / "filler", Folder(disk / "home").open(), Elsewhere()
    writer = Writer(disk / "home")
    writer.write(1_000)
    filler.write_bytes(bytes(max(0, free_bytes(disk) - (2 << 20))))
    writer.write(count)  # far more than two MiB
    dropped_when_full = sum(writer.metrics.dropped.values())
    segments_when_full = len(folder.segment_ids())

    fill(filler)
    free_before = free_bytes(disk)
    source = SpoolSource(folder, DeadLetters(folder))
    received = 0
    for _ in range(3):
        delivery = source.receive(400)
        assert delivery is not None
        received += len(delivery.batch)
        source.settle(delivery, backend.write(delivery.batch).rejected)
        source.save()
    notes = {
        "free_before": free_before,
        "received": received,
        "positions": sum(Positions(folder).delivered.values()),
        "dead": len(DeadLetters(folder).state().letters),
        "reserve_bytes": folder.reserve.stat().st_size if folder.reserve.exists() else 0,
    }
    writer.write(1_000)  # the room of the reserve is not for records
    notes["segments_more"] = len(folder.segment_ids()) - segments_when_full
    source.close()

    filler.unlink()
    dropped_before = sum(writer.metrics.dropped.values())
    writer.metrics.close()
    writer.metrics = Metrics(home=disk / "home", deliver="off", segment_bytes=SEGMENT_BYTES, fsync="never", app="shop")
    writer.write(2_000)
    dropped_after = sum(writer.metrics.dropped.values())
    writer.metrics.close()
    done = spool_agent(folder, backend).run("passed")
    books = account(folder)
    json.dump(
        {
            "figures": writer.latencies.figures(),
            "asked": dict(writer.asked),
            "dropped_when_full": dropped_when_full,
            "dropped_before": dropped_before,
            "dropped_after": dropped_after,
            "notes": notes,
            "done": done,
            "stored": dict(Counter(name for name, _ in backend.stored.values())),
            "stored_twice": len(backend.stored) - len(set(backend.stored.values())),
            "accepted": dict(books.accepted),
            "delivered": dict(books.delivered),
            "dead": dict(books.dead),
            "dropped": {reason: dict(names) for reason, names in books.dropped.items()},
            "pending": dict(books.pending),
            "imbalance": books.imbalance(),
            "reserve_again": folder.reserve.exists(),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
